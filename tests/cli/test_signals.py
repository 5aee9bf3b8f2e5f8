"""A signal ends a command with one line, and the status that shells report for it."""

import os
import signal
import sys

import pytest

from gpt2eval.cli import main
from gpt2eval.cli.signals import STOPS, caught, die_of_interrupts


def interrupt(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture
def python_handlers() -> None:
    """Restore what Python does with signals; a background process ignores SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.usefixtures("python_handlers")
@pytest.mark.parametrize(("number", "status"), [(2, 130), (15, 143), (1, 129)])
def test_a_command_ends_with_the_signals_status(
    number: int, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gpt2eval.pipeline.select_tasks", lambda *_: interrupt(number))
    monkeypatch.setattr(sys, "argv", ["gpt2eval", "run", "--tasks", "ptb"])
    before = [signal.getsignal(stop) for stop in STOPS]
    with pytest.raises(SystemExit) as end:
        main.main()
    message = "gpt2eval: interrupted; the same command resumes after the last finished chunk\n"
    assert (end.value.code, capsys.readouterr().err) == (status, message)
    assert [signal.getsignal(stop) for stop in STOPS] == before


@pytest.mark.usefixtures("python_handlers")
def test_an_error_that_an_interruption_causes_is_no_defect(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def import_something(*_: object) -> None:
        try:
            interrupt(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("a library failed to import") from None

    monkeypatch.setattr("gpt2eval.pipeline.select_tasks", import_something)
    monkeypatch.setattr(sys, "argv", ["gpt2eval", "run", "--tasks", "ptb"])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 130
    assert capsys.readouterr().err.startswith("gpt2eval: interrupted; ")


@pytest.mark.usefixtures("python_handlers")
def test_an_ignored_signal_stays_ignored() -> None:
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with caught() as received:
            interrupt(signal.SIGHUP)
        assert received.number == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, previous)


@pytest.mark.usefixtures("python_handlers")
def test_a_second_signal_has_its_default_effect() -> None:
    with caught():
        with pytest.raises(KeyboardInterrupt):
            interrupt(signal.SIGTERM)
        assert [signal.getsignal(stop) for stop in STOPS] == [signal.SIG_DFL] * len(STOPS)


@pytest.mark.usefixtures("python_handlers")
def test_an_early_interruption_leaves_no_traceback() -> None:
    die_of_interrupts()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_of_interrupts()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)
