"""The public API: names, types, help, and that a call leaves the caller's process as it was."""

import json
import os
import pydoc
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import gpt2eval
from gpt2eval import LoadOptions, Settings, UsageError, demo, evaluate, explain
from gpt2eval.models import registry
from gpt2eval.models.options import LoadKeywords
from gpt2eval.models.toy import ByteModel
from gpt2eval.planning.keywords import Keywords
from gpt2eval.settings import SettingsKeywords
from gpt2eval.types import Progress

ROOT = Path(__file__).parents[1]
STATE = """
import json, logging, os, sys, warnings
import datasets, huggingface_hub, matplotlib, pandas, torch, transformers
from huggingface_hub.utils import are_progress_bars_disabled
from huggingface_hub.utils import logging as hub
from transformers.utils import logging as hf

hf.set_verbosity_info()
hub.set_verbosity_warning()

def state():
    return {
        "verbosity": [hf.get_verbosity(), hub.get_verbosity(), datasets.logging.get_verbosity()],
        "bars": [
            hf.is_progress_bar_enabled(),
            are_progress_bars_disabled(),
            are_progress_bars_disabled("huggingface_hub.snapshot_download"),
            datasets.are_progress_bars_disabled(),
        ],
        "handlers": {
            name: [repr(handler) for handler in logging.getLogger(name).handlers]
            for name in ("", "transformers", "huggingface_hub", "datasets", "torch", "py.warnings")
        },
        "levels": [logging.getLogger(name).level for name in ("", "torch", "httpx")],
        "filters": [repr(entry) for entry in warnings.filters],
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "torch": [
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            str(torch.get_default_dtype()),
            torch.random.get_rng_state().sum().item(),
        ],
        "excepthook": sys.excepthook is sys.__excepthook__,
    }

import gpt2eval.pipeline
before = state()
results = gpt2eval.pipeline.evaluate(
    "demo", ["ptb", "lambada"], out=sys.argv[1], settings=gpt2eval.Settings(limit=3)
)

from types import SimpleNamespace
from gpt2eval.config.source_schema import Hub
from gpt2eval.data import hub as hub_source

levels = []

def load_dataset_builder(*_, **__):
    levels.append((hub.get_verbosity(), datasets.logging.get_verbosity()))
    files = {"test": ["hf://datasets/any/text@c0ffee/test.txt"]}
    return SimpleNamespace(name="text", config=SimpleNamespace(data_files=files))

huggingface_hub.constants.HF_HUB_OFFLINE = False
datasets.load_dataset_builder = load_dataset_builder
datasets.load_dataset = lambda *_, **__: [{"text": "a"}, {"text": "b"}]
hub_source._downloaded = lambda file: file
source = hub_source.read_source(Hub(id="any/text", split="test", column="text", restore="lines"))
assert source == (b"a\\nb\\n", "c0ffee"), source
assert levels == [(logging.ERROR, logging.ERROR)], levels
after = state()
changed = {k: [before[k], after[k]] for k in before if before[k] != after[k]}
print(json.dumps([changed, len(results)]))
"""


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )


def test_every_public_name_can_be_imported_and_is_listed() -> None:
    for name in gpt2eval.__all__:
        assert getattr(gpt2eval, name)
        assert name in dir(gpt2eval)
    with pytest.raises(AttributeError, match="no attribute 'evaluated'"):
        _ = gpt2eval.evaluated  # type: ignore[attr-defined]
    assert (Path(gpt2eval.__file__).parent / "py.typed").is_file()


def test_help_shows_all_of_it() -> None:
    text = pydoc.render_doc(gpt2eval, renderer=pydoc.plaintext)  # type: ignore[attr-defined]
    for name in gpt2eval.__all__:
        assert name in text or name == "__version__"
    for name in ("evaluate", "explain", "read_results"):
        assert f"\n    {name}(" in text
    for section in ("Args:", "Returns:", "Raises:", "Examples:", "to_frame", "nats_per_token"):
        assert section in text


@pytest.mark.parametrize("name", ["evaluate", "explain", "read_results"])
def test_public_functions_document_their_contract(name: str) -> None:
    text = getattr(gpt2eval, name).__doc__
    assert all(f"\n    {part}:\n" in text for part in ("Args", "Returns", "Raises", "Examples"))


def test_the_import_is_light() -> None:
    code = "import sys, gpt2eval; gpt2eval.UsageError; gpt2eval.Settings; gpt2eval.LoadOptions"
    code += "; print([m for m in ('torch', 'transformers', 'pandas', 'numpy') if m in sys.modules])"
    ended = run("-c", code)
    assert (ended.stdout, ended.stderr) == ("[]\n", "")


def test_evaluate_prints_nothing_and_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    ended = run("-c", STATE, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == [{}, 2], "nothing else on stdout"
    assert ended.stderr == ""


def test_progress_is_reported_to_the_caller(capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[Progress] = []
    evaluate("toy:unigram", ["text8"], data=demo.data(), progress=seen.append)
    assert (seen[0].requests, seen[-1].requests) == (0, seen[-1].of_requests)
    assert {step.task for step in seen} == {"text8"}
    assert capfd.readouterr() == ("", "")


class Mapped(ByteModel):
    """A third-party backend whose identity is a mapping."""

    def __init__(self, lacking: str = "") -> None:
        model = registry.load_model("toy:uniform-bytes")
        self.__dict__.update(vars(model))
        self.stated = {**model.identity().stated(), "favourite colour": "blue"}
        self.stated.pop(lacking, None)

    def identity(self) -> Any:
        return self.stated


def test_an_identity_may_be_a_mapping() -> None:
    plain = evaluate("toy:uniform-bytes", ["text8"], data=demo.data())
    assert evaluate(Mapped(), ["text8"], data=demo.data()) == plain
    expected = "its identity() lacks tokenizer; expected name, revision, tokenizer"
    with pytest.raises(UsageError) as caught:
        evaluate(Mapped("tokenizer"), ["text8"], data=demo.data())
    assert expected in str(caught.value)


def test_explain_takes_a_name_or_a_model(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {
        "data": demo.data(),
        "protocols": ["no_detok"],
        "settings": Settings(limit=10),
    }
    by_name = explain("toy:unigram", "wikitext2", out=tmp_path, options=LoadOptions(), **arguments)
    by_model = explain(registry.load_model("toy:unigram"), "wikitext2", **arguments)
    assert [*by_name] == [*by_model]
    assert str(by_name).startswith("| protocol")
    assert [row.name for row in by_name] == ["wikitext2", "wikitext2/no_detok"]


@pytest.mark.parametrize("kind", [Settings, LoadOptions])
def test_the_keywords_are_the_fields_of_the_objects(kind: type) -> None:
    """mypy needs them written out; here they are compared, with their types."""
    written = {Settings: SettingsKeywords, LoadOptions: LoadKeywords}[kind]
    assert get_type_hints(written) == get_type_hints(kind)
    assert set(get_type_hints(written)) <= set(get_type_hints(Keywords))


def test_settings_are_keywords_too() -> None:
    data = demo.data()
    (by_object,) = evaluate("demo", "ptb", data=data, settings=Settings(limit=7, stride=64))
    (by_keyword,) = evaluate("demo", "ptb", data=data, limit=7, stride=64, dtype="float32")
    (by_both,) = evaluate("demo", "ptb", data=data, settings=Settings(limit=7), stride=64, limit=7)
    assert by_object == by_keyword == by_both
    assert "|limit:7|" in by_object.signature


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"limits": 1}, "unknown keyword 'limits'; did you mean 'limit'?"),
        (
            {"limit": 1, "settings": Settings(limit=2)},
            "limit=1: settings= has limit=2; expected one of the two",
        ),
        (
            {"dtype": "float16", "options": LoadOptions(dtype="bfloat16")},
            "dtype='float16': options= has dtype='bfloat16'; expected one of the two",
        ),
        ({"limit": 0}, "--limit 0: expected a whole number of 1 or more"),
        ({"limit": 2.5}, "--limit 2.5: expected a whole number of 1 or more"),
        ({"limit": True}, "--limit True: expected a whole number of 1 or more"),
        ({"tokens": -5}, "--tokens -5: expected a whole number of 1 or more"),
        ({"batch_size": "16"}, "--batch-size '16': expected a whole number of 1 or more, or auto"),
        ({"name": 5}, "--name '5': expected a text on one line, without outer blanks"),
        (
            {"model": registry.load_model("toy:unigram"), "device": "cpu"},
            "device='cpu': applies to a model that is loaded by name",
        ),
    ],
)
def test_wrong_keywords_are_one_line(keywords: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"model": "toy:unigram", "tasks": "ptb", "data": demo.data()}
    with pytest.raises(UsageError) as caught:
        evaluate(**arguments | keywords)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
