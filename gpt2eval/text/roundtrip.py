"""Run a detokenizer over lines and back, and count what comes back changed."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from gpt2eval.text.detokenizer import Detokenizer, OneWaySteps, RoundTrip


class RoundTripCheck(NamedTuple):
    """What a detokenizer did to a task's file: the lines `failures` did not come back (always 0, or there is a defect)."""

    report: RoundTrip
    failures: int
    chars: int
    seconds_there: float
    seconds_back: float
    sample: tuple[str, ...]


def check_round_trip(
    lines: Sequence[str], detokenizer: Detokenizer | OneWaySteps, sample: int = 0
) -> RoundTripCheck:
    """Detokenize lines and undo it, timing both; `sample` fair lines are taken at even distances.

    Of a one-way scheme nothing comes back, and nothing is said to fail.
    """
    report = RoundTrip()
    started = time.perf_counter()
    fair = [detokenizer.do(line) for line in lines]
    turned = time.perf_counter()
    back = lines
    if isinstance(detokenizer, Detokenizer) and detokenizer.invertible:
        back = [detokenizer.undo(done.text) for done in fair]
    ended = time.perf_counter()
    for line, done in zip(lines, fair, strict=True):
        report.add(line, done)
    failures = sum(line != again for line, again in zip(lines, back, strict=True))
    shown = tuple(fair[i * len(fair) // sample].text for i in range(min(sample, len(fair))))
    return RoundTripCheck(
        report, failures, sum(map(len, lines)), turned - started, ended - turned, shown
    )
