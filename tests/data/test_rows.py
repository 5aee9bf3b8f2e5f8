"""Rows of the Hub's data sets, from the lines of the publisher's file."""

from pathlib import Path

import numpy as np
import pytest

from gpt2eval import demo, evaluate
from gpt2eval.config.loader import load_task
from gpt2eval.data.corpus import load_corpus
from gpt2eval.data.formats import parse
from gpt2eval.models import registry
from gpt2eval.planning.task_plan import plan_task


@pytest.mark.parametrize(
    ("task", "text", "rows"),
    [
        ("wikitext2/mdlm", " = A = \n \n b \n", [" = A = \n", "", " b \n"]),
        ("wikitext2/mdlm", "\t\n\n a\n", ["", "", " a\n"]),  # the Hub strips any white space
        ("ptb/mdlm", " a b \n\tc  \n", ["a b", "c"]),
        ("lm1b/mdlm", "a b \n\n c\n", ["a b ", "", " c"]),
        ("lambada/mdlm", '{"text": " a\\nb "}\n{"text": ""}\n', [" a\nb ", ""]),
    ],
)
def test_rows_are_those_of_the_hub(task: str, text: str, rows: list[str]) -> None:
    assert [record.text for record in parse(load_task(task), text, "file")] == rows


def test_an_end_of_text_in_a_row_is_one_token_as_loaders_read_it(tmp_path: Path) -> None:
    path = tmp_path / "lm1b.txt"
    path.write_text("one<|endoftext|>two\n" * 40, encoding="utf-8")
    model = registry.load_model("demo")
    task = load_task("lm1b/mdlm").model_copy(update={"block": 16})
    plan = plan_task(model, task, load_corpus(task, path))
    (stream,) = plan.work.encoded
    assert stream.inserted is not None
    text = stream.ids[~stream.inserted]
    assert model.start is not None
    assert np.count_nonzero(text == model.start) == 80, "one in each row, and one after it"


def test_a_row_of_the_demo_is_a_line() -> None:
    (result,) = evaluate("demo", "ptb/mdlm", data=demo.data(), context=64)
    assert result.kept is not None
