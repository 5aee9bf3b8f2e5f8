"""Fixtures of the data tests: stand-in servers, a command line that uses them, and a task factory.

A test module loads them with `pytest_plugins = ["data_fixtures"]`.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from data_samples import (
    CBT,
    CBT_CARD,
    LAMBADA,
    LAMBADA_CARD,
    PTB,
    WIKITEXT,
    WIKITEXT_CARD,
    cbt_rows,
    parquet,
    wikitext_rows,
)
from doubles import CommandLine, Done, StandIn


@pytest.fixture(scope="session")
def _serving() -> Iterator[StandIn]:
    stand = StandIn()
    yield stand
    stand.close()


@pytest.fixture(scope="session")
def _running(_serving: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    command = CommandLine(_serving.url, tmp_path_factory.mktemp("home"))
    yield command
    command.close()


@pytest.fixture
def hub(_serving: StandIn) -> StandIn:
    """Return the servers with tiny data sets in the real repositories' layout, without faults."""
    _serving.faults.clear()
    _serving.requests.clear()
    _serving.files.clear()
    _serving.repositories.clear()
    train = parquet([{"text": "not requested"}])
    for number in (2, 103):
        folder = f"wikitext-{number}-v1"
        files = {f"{folder}/test-00000-of-00001.parquet": parquet(wikitext_rows(WIKITEXT))}
        files |= {
            f"{folder}/train-00000-of-00001.parquet": train,
            "README.md": WIKITEXT_CARD.encode(),
        }
        _serving.repository("Salesforce/wikitext").add(files)
    script = _serving.repository("ptb-text-only/ptb_text_only")
    script.push({"README.md": b"A script repository.\n", "ptb_text_only.py": b"raise SystemExit\n"})
    sentences = [{"sentence": line.strip()} for line in PTB.splitlines()]
    branch = {
        "penn_treebank/test/0000.parquet": parquet(sentences),
        "penn_treebank/train/0000.parquet": train,
    }
    script.push(branch, "refs/convert/parquet")
    enwik8 = _serving.repository("LTCB/enwik8")
    enwik8.push({"enwik8-raw/train/0000.parquet": parquet([{"text": PTB}])}, "refs/convert/parquet")
    for config in ("CN", "NE"):
        splits = {
            f"{config}/{split}-00000-of-00001.parquet": parquet(cbt_rows(CBT))
            for split in ("train", "validation", "test")
        }
        _serving.repository("cam-cst/cbt").add(splits | {"README.md": CBT_CARD.encode()})
    lambada = _serving.repository("EleutherAI/lambada_openai")
    lambada.push(
        {"README.md": LAMBADA_CARD.encode(), "data/lambada_test_en.jsonl": LAMBADA.encode()}
    )
    return _serving


@pytest.fixture
def run(_running: CommandLine, hub: StandIn, tmp_path: Path) -> Callable[..., Done]:
    """Run `gpt2eval ...` against the stand-in servers, with a cache of its own for each test."""
    uses_cache = {"fetch", "ls", "verify", "pack", "unpack", "run", "show"}

    def command(*arguments: object, offline: bool = False) -> Done:
        if "--cache" not in arguments and uses_cache & set(arguments):
            arguments = (*arguments, "--cache", tmp_path / "cache")
        return _running(*arguments, offline=offline)

    return command


@pytest.fixture
def define_task(tmp_path: Path, hub: StandIn) -> Callable[..., list[object]]:
    """Define a task `mine` with a source; return `--include FOLDER`."""

    def make(source: Mapping[str, Any], **keys: Any) -> list[object]:
        content = {
            "title": "Mine",
            "citation": "me",
            "licence": "CC0",
            "version": 1,
            "format": "stream",
            "ask": "everything",
        }
        content |= {"unit": "byte", "metrics": ["bpb"], "source": source} | keys
        (tmp_path / "own" / "tasks").mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / "tasks" / "mine.yaml").write_text(yaml.safe_dump(content))
        return ["--include", tmp_path / "own"]

    return make
