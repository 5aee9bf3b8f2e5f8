"""The Hub out of reach: an answer within seconds, in one line, for models, tokenizers and data."""

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doubles import StandIn
from huggingface_hub import constants

from gpt2eval import evaluate, http
from gpt2eval.config.catalog import DEMO
from gpt2eval.errors import UsageError
from gpt2eval.models import registry
from gpt2eval.models.options import LoadOptions

CPU = LoadOptions(device="cpu")
NO_CACHE = "and it is not in the cache; expected a network, or a local folder; HF_HUB_OFFLINE=1"


@pytest.fixture
def blackhole() -> Iterator[str]:
    """An address that accepts connections and answers nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def refusing() -> str:
    """An address that refuses connections."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    registry.load_model("demo", CPU)  # imports what loading takes
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(http, "HUB_SECONDS", 0.6)
    monkeypatch.setattr(http, "SILENT_SECONDS", 0.2)
    return monkeypatch


def rejected(name: str, match: str, **options: Any) -> None:
    start = time.monotonic()
    with pytest.raises(UsageError, match=match) as caught:
        registry.load_model(name, LoadOptions(device="cpu", **options))
    assert time.monotonic() - start < 4
    assert "\n" not in str(caught.value)
    assert constants.HF_HUB_OFFLINE is False, "restored"


def test_a_blackhole_is_given_up_soon(
    online: pytest.MonkeyPatch, blackhole: str, caplog: pytest.LogCaptureFixture
) -> None:
    online.setattr(constants, "ENDPOINT", blackhole)
    rejected("org/none", f"model org/none: no answer from 127.0.0.1 within 0.6 seconds, {NO_CACHE}")
    assert caplog.messages == [
        "waiting for 127.0.0.1, at most 0.6 seconds; HF_HUB_OFFLINE=1 skips this"
    ]


@pytest.mark.parametrize("option", ["tokenizer", "peft"])
def test_the_same_for_what_belongs_to_a_local_model(
    online: pytest.MonkeyPatch, blackhole: str, option: str
) -> None:
    online.setattr(constants, "ENDPOINT", blackhole)
    rejected(str(DEMO / "model"), f"no answer from .*{NO_CACHE}", **{option: "org/none"})


def test_a_refused_connection_says_so(online: pytest.MonkeyPatch, refusing: str) -> None:
    online.setattr(constants, "ENDPOINT", refusing)
    rejected("org/none", rf"no connection to 127.0.0.1 \(.*refused.*\), {NO_CACHE}")


def test_a_host_without_an_address(online: pytest.MonkeyPatch) -> None:
    online.setattr(constants, "ENDPOINT", "https://hub.invalid")
    rejected("org/none", f"hub.invalid.*{NO_CACHE}")


def test_data_from_the_hub(online: pytest.MonkeyPatch, blackhole: str, tmp_path: Path) -> None:
    online.setattr(constants, "ENDPOINT", blackhole)
    from gpt2eval.config.loader import load_task
    from gpt2eval.data import corpus, download

    hub = load_task("wikitext2", ()).source.hub
    assert hub
    start = time.monotonic()
    with pytest.raises(download.UnreachableError, match=r"no answer from .*; HF_HUB_OFFLINE=1"):
        corpus._read_hub(hub)
    assert time.monotonic() - start < 3


def test_nothing_is_asked_about_local_files(online: pytest.MonkeyPatch, tmp_path: Path) -> None:
    online.setattr(http, "why_unreachable", lambda: pytest.fail("asked the Hub"))
    folder = shutil.copytree(DEMO / "model", tmp_path / "model")
    assert registry.load_model(str(folder), CPU)
    options = LoadOptions(device="cpu", tokenizer=str(folder / "tokenizer.json"))
    assert registry.load_model("demo", options)
    assert evaluate("toy:uniform-bytes", ["text8"], data="demo")


def test_a_model_in_the_cache_is_loaded_from_it(
    online: pytest.MonkeyPatch, refusing: str, tmp_path: Path
) -> None:
    commit = "c" * 40
    snapshot = tmp_path / "models--org--tiny" / "snapshots" / commit
    shutil.copytree(DEMO / "model", snapshot)
    (tmp_path / "models--org--tiny" / "refs").mkdir()
    (tmp_path / "models--org--tiny" / "refs" / "main").write_text(commit)
    online.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    online.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path))
    online.setattr(constants, "ENDPOINT", refusing)
    assert registry.load_model("org/tiny", CPU).identity().revision == "c" * 8
    assert constants.HF_HUB_OFFLINE is False


def test_any_answer_counts(online: pytest.MonkeyPatch) -> None:
    stand = StandIn()
    online.setattr(constants, "ENDPOINT", stand.url)
    assert http.why_unreachable() == ""
    assert [method for method, *_ in stand.requests] == ["HEAD"]
    stand.close()


def test_offline_mode_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(http, "why_unreachable", lambda: pytest.fail("asked the Hub"))
    with pytest.raises(UsageError, match="model org/none: "):
        registry.load_model("org/none", CPU)
