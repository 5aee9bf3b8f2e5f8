"""The judge of attempts finds what it must find."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from drill import attempts, mutations
from drill.attempts import Attempt
from gpt2eval.errors import UsageError


def refuse(path: Path) -> None:
    raise UsageError(f"{path}: line 1: expected something else")


def nameless(path: Path) -> None:
    raise UsageError("expected something else")


def broken(path: Path) -> None:
    raise KeyError("key")


def slow(path: Path) -> None:
    end = time.process_time() + 30
    while time.process_time() < end:
        pass


def large(path: Path) -> None:
    bytearray(600_000_000)


def crash(path: Path) -> None:
    os._exit(3)


def attempt(read: Callable[[Path], object]) -> Attempt:
    return Attempt("file.json", lambda random: mutations.of_json(b'{"a": [1, 2]}', random), read)


def test_a_file_may_be_accepted_or_refused_in_one_line(tmp_path: Path) -> None:
    accepted = attempts.run(attempt(Path.read_bytes), 5, 0, tmp_path)
    refused = attempts.run(attempt(refuse), 5, 0, tmp_path)

    assert accepted.failures == refused.failures == []
    assert (accepted.figures["accepted"], refused.figures["refused"]) == ("5", "5")


@pytest.mark.parametrize(
    ("read", "why"),
    [
        (nameless, "does not name the file"),
        (broken, "KeyError"),
        (slow, "more than 2 s"),
        (large, "MemoryError"),
        (crash, "exit code 3"),
    ],
)
def test_everything_else_fails(read: Callable[[Path], object], why: str, tmp_path: Path) -> None:
    findings = attempts.run(attempt(read), 1, 0, tmp_path)

    assert [why in failure for failure in findings.failures] == [True]
    assert list((tmp_path / "failures").iterdir())


def test_an_error_is_one_printable_line() -> None:
    assert attempts.unclear("file.json: first\nsecond", ("file.json",))
    assert attempts.unclear("file.json: \x1b[2J", ("file.json",))
    assert attempts.unclear("file.json: expected a number", ("file.json",)) is None


def test_a_process_that_dies_is_replaced(tmp_path: Path) -> None:
    findings = attempts.run(attempt(crash), 3, 0, tmp_path)

    assert len(findings.failures) == 3


def test_accepting_a_wrong_file_fails(tmp_path: Path) -> None:
    judged = attempt(Path.read_bytes)._replace(wrong=lambda path, read: "another count")

    assert "another count" in attempts.run(judged, 1, 0, tmp_path).failures[0]


def test_mutants_follow_from_the_seed_and_differ() -> None:
    judged = attempt(Path.read_bytes)
    first = [attempts.content_of(judged, 0, number) for number in range(50)]

    assert first == [attempts.content_of(judged, 0, number) for number in range(50)]
    assert len(set(first)) > 30


def test_mutations_of_values_reach_every_place() -> None:
    original = {"a": [1, {"b": "text"}], "c": None}
    mutants = [mutations.of_value(original, Random(number)) for number in range(500)]

    assert any(mutant.get("a", [0])[0] != 1 for mutant in mutants if isinstance(mutant, dict))
    assert original == {"a": [1, {"b": "text"}], "c": None}
