"""explain: every protocol's number is that of a run, its steps add up, and nothing is asked of the model twice."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from gpt2eval import demo, evaluate
from gpt2eval.analysis.explain import explain, rendered
from gpt2eval.config import catalog
from gpt2eval.errors import UsageError
from gpt2eval.models import registry
from gpt2eval.models.options import LoadOptions
from gpt2eval.pipeline import Settings
from gpt2eval.types import Model, Request, TokenScores

FILES = {"wikitext103": demo.data()["wikitext103"]}


class Counting:
    """A model that counts the tokens it is asked for."""

    def __init__(self, name: str) -> None:
        self.model: Model = registry.load_model(name, LoadOptions())
        self.context, self.start, self.encode, self.identity = (
            256,
            self.model.start,
            self.model.encode,
            self.model.identity,
        )
        self.asked = 0

    def score(self, batch: Sequence[Request]) -> TokenScores:
        self.asked += sum(len(branch) for request in batch for branch in request.branches)
        return self.model.score(batch)


def test_it_adds_up_and_agrees_with_runs(tmp_path: Path) -> None:
    text = tmp_path / "few.tokens"
    text.write_text("".join(FILES["wikitext103"].read_text().splitlines(keepends=True)[:12]))
    files = {"wikitext103": text}
    model = registry.load_model("demo", LoadOptions())
    rows = explain(model, "wikitext103", files)
    assert [row.name for row in rows][:2] == ["wikitext103", "wikitext103/s32"]
    assert {"raw", "lm_eval", "hf_docs", "llama_cpp", "megatron"} <= {
        row.name.partition("/")[2] for row in rows
    }
    assert math.isclose(rows[0].ppl, math.exp(rows[0].nats))
    for row in rows:
        assert not row.said
        assert row.nats == pytest.approx(
            rows[0].nats + sum(step.nats for step in row.steps), abs=1e-12
        )
        run = evaluate(model, [row.name], data=files)[0].primary
        assert (row.ppl, row.units, row.unit) == (
            pytest.approx(run.value, rel=1e-9),
            run.units,
            run.unit,
        )


def test_what_cannot_be_had_is_left_out_with_the_reason() -> None:
    rows = explain(Counting("toy:unigram"), "wikitext103", FILES, protocols=["s512", "no_detok"])
    assert "stride 512 is above the context of 256" in rows[1].said
    assert not rows[2].said
    assert "wikitext103/s512: left out: task wikitext103: stride 512" in rendered(rows)


def test_what_two_protocols_ask_alike_is_asked_once(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    text = catalog.find("tasks", "wikitext103").read_text()
    head = text[: text.index("variants:")]
    (tmp_path / "tasks" / "mine.yaml").write_text(
        f"{head}variants:\n  bytes: {{unit: byte}}\n  pieces: {{unit: piece}}\n"
    )
    once, model = Counting("toy:unigram"), Counting("toy:unigram")
    evaluate(once, ["wikitext103"], data=FILES)
    rows = explain(model, "mine", {"mine": FILES["wikitext103"]}, include=[tmp_path])
    assert model.asked == once.asked > 10000
    assert [step.group for row in rows for step in row.steps] == ["unit", "unit"]
    assert "mine/bytes: unit word+eol -> byte" in rendered(rows)


def test_a_limit_cuts_the_text_alike_for_all() -> None:
    model = registry.load_model("toy:uniform-bytes")
    rows = explain(
        model, "wikitext103", FILES, protocols=["no_detok", "lm_eval"], settings=Settings(limit=40)
    )
    lines = "".join(FILES["wikitext103"].read_text().splitlines(keepends=True)[:40])
    assert rows[1].nats * rows[1].units == pytest.approx(math.log(256) * len(lines.encode()))
    assert rows[2].units <= len(lines.split()) + 2 * 3


def test_names_that_are_none() -> None:
    model = registry.load_model("toy:uniform-bytes")
    with pytest.raises(
        UsageError, match="unknown variant of wikitext103 'lmeval'; did you mean 'lm_eval'"
    ):
        explain(model, "wikitext103", FILES, protocols=["lmeval"])
    with pytest.raises(UsageError, match="no perplexity to explain"):
        explain(model, "cbt_cn", demo.data())
