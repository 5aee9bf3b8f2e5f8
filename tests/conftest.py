"""Fixtures: development text if available, small random models, and the command line."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings

from gpt2eval import errors
from gpt2eval.cli import main

settings.register_profile("gpt2eval", deadline=None)  # a busy machine is no failure
settings.load_profile("gpt2eval")

ROOT = Path(__file__).parents[1]


def beside(name: str) -> Path:
    """The folder `shared/<name>` beside the checkout; the test skips where there is none."""
    for parent in ROOT.parents:
        if (parent / "shared" / name).is_dir():
            return parent / "shared" / name
    pytest.skip(f"no folder shared/{name} beside the checkout")


@pytest.fixture(scope="session")
def development_data() -> Path:
    """Real development text, laid out as the tests name it."""
    return beside("data")


@pytest.fixture(scope="session")
def real_models() -> Path:
    """Real tokenizers and small models."""
    return beside("models")


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests() -> Iterator[None]:
    """Forget the secrets that a test made the process hide."""
    before = set(errors._secrets)
    yield
    errors._secrets.intersection_update(before)


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def gpt2eval(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process."""

    def run(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["gpt2eval", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main.main()
        printed = capsys.readouterr()
        return Ended(int(caught.value.code or 0), printed.out, printed.err)

    return run
