"""Loading a model prints nothing of the libraries, and leaves their settings as they were."""

import logging
import warnings
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.utils.tqdm import tqdm as hub_tqdm
from test_formats import gguf
from tqdm.auto import tqdm
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.utils import logging as transformers_logging

from gpt2eval.config.catalog import DEMO
from gpt2eval.models import registry
from gpt2eval.models.formats.quiet import quiet

WORDS = DEMO / "model"


def show_everything() -> None:
    for bar in (tqdm, hub_tqdm, transformers_logging.tqdm):
        list(bar(range(3), desc="a bar"))
    list(tqdm(range(3), desc="a bar", disable=False))
    logging.getLogger("some.library").warning("a warning")
    transformers_logging.get_logger("transformers.some").warning("a warning")
    warnings.warn("a warning", stacklevel=1)


def test_bars_and_warnings_are_hidden(capfd: pytest.CaptureFixture[str]) -> None:
    bars = tqdm.__init__
    verbosity = transformers_logging.get_verbosity()
    with quiet():
        show_everything()
    assert capfd.readouterr() == ("", "")
    assert tqdm.__init__ is bars
    assert transformers_logging.get_verbosity() == verbosity


def test_errors_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    assert logging.lastResort is not None
    monkeypatch.setattr(logging.lastResort, "emit", shown.append)
    library = logging.Logger("unconfigured")
    with quiet():
        library.warning("a warning")
        library.error("an error")
    library.warning("a later warning")
    assert [record.getMessage() for record in shown] == ["an error", "a later warning"]


def test_bars_are_shown_again_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), quiet():
        raise KeyError
    list(tqdm(range(3), desc="a bar"))
    assert "a bar" in capsys.readouterr().err


def test_a_gguf_file_loads_without_output(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = GPT2Config(n_layer=1, n_head=2, n_embd=16, n_positions=32, vocab_size=2560)
    path = gguf(GPT2LMHeadModel(config), WORDS, tmp_path / "tiny.gguf")
    capfd.readouterr()
    registry.load_model(f"gguf:{path}")
    assert capfd.readouterr() == ("", "")
