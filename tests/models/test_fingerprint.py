"""A checkpoint's tokenizer.json against the tokenizer that transformers builds."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from gpt2eval import demo, evaluate
from gpt2eval.config.catalog import DEMO
from gpt2eval.errors import UsageError
from gpt2eval.models import registry
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization.fingerprint import choose, fingerprint
from gpt2eval.pipeline import Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(DEMO / "model", tmp_path / "model")
    return tmp_path / "model"


def test_a_tokenizer_that_disagrees_with_its_file_needs_a_choice(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = AutoTokenizer.from_pretrained(str(DEMO / "model")).backend_tokenizer
    content = json.loads((folder / "tokenizer.json").read_text())
    content["normalizer"] = {"type": "Lowercase"}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(
        UsageError,
        match=r"disagree: '\S+' is \[.*\] and \[.*\]; expected --tokenizer auto or --tokenizer",
    ):
        choose(str(folder), built, None)
    auto, auto_fingerprint = choose(str(folder), built, "auto")
    own, own_fingerprint = choose(str(folder), built, "file")
    assert auto is built
    assert auto_fingerprint.endswith(".auto")
    assert own_fingerprint.endswith(".file")
    assert auto_fingerprint[:8] != own_fingerprint[:8]
    assert own.encode("LOUD").ids == auto.encode("loud").ids != auto.encode("LOUD").ids


def test_a_tokenizer_that_agrees_needs_no_choice_and_keeps_its_fingerprint(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = registry.load_model("demo", LoadOptions()).identity().tokenizer
    content = json.loads((folder / "tokenizer.json").read_text())
    content["truncation"] = {
        "direction": "Right",
        "max_length": 7,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    (folder / "tokenizer.json").write_text(json.dumps(content))
    assert registry.load_model(str(folder), LoadOptions()).identity().tokenizer == plain
    assert (
        registry.load_model(str(folder), LoadOptions(tokenizer="file")).identity().tokenizer
        == plain
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        UsageError, match=r"--tokenizer fle: .*; expected auto, file, a folder, a tokenizer.json"
    ):
        registry.load_model(str(folder), LoadOptions(tokenizer="fle"))


def test_a_start_token_that_the_tokenizer_adds_is_not_doubled(folder: Path) -> None:
    before = evaluate(str(folder), ["text8", "ptb"], data=demo.data(), settings=Settings(limit=3))
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    end = AutoTokenizer.from_pretrained(str(folder)).eos_token
    backend.post_processor = TemplateProcessing(
        single=f"{end} $A", special_tokens=[(end, backend.token_to_id(end))]
    )
    backend.save(str(folder / "tokenizer.json"))
    model: Any = registry.load_model(str(folder), LoadOptions())
    plain: Any = registry.load_model("demo", LoadOptions())
    assert (model.added, plain.added) == (model.start, None)
    after = evaluate(model, ["text8", "ptb"], data=demo.data(), settings=Settings(limit=3))
    assert after["ptb"].nll_sha256 == before["ptb"].nll_sha256, "one window, one start token"
    assert after["text8"].nll_sha256 != before["text8"].nll_sha256, "each window begins with it"
    assert "|windows:regular+start|" in after["text8"].signature


@pytest.mark.parametrize("name", ["babyllama", "gpt2-tokenizer"])
def test_real_tokenizers_agree_with_their_files(real_models: Path, name: str) -> None:
    auto = AutoTokenizer.from_pretrained(str(real_models / name)).backend_tokenizer
    assert choose(str(real_models / name), auto, None)[1] == fingerprint(auto)
