"""Check a detokenizer's round trip over lines, with counts and timings."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from gpt2eval.text.detokenizer import Detokenizer, OneWaySteps, RoundTrip


class RoundTripCheck(NamedTuple):
    """The outcome of a round-trip check.

    Attributes:
        report: Counts of lines, edits and dropped edits.
        failures: Lines that `undo` does not restore; anything but 0 is a defect.
        chars: Characters of published text.
        do_seconds: Time to detokenize all lines.
        undo_seconds: Time to restore all lines.
        sample: Some detokenized lines, evenly spaced.
    """

    report: RoundTrip
    failures: int
    chars: int
    do_seconds: float
    undo_seconds: float
    sample: tuple[str, ...]


def check_round_trip(
    lines: Sequence[str], detokenizer: Detokenizer | OneWaySteps, sample: int = 0
) -> RoundTripCheck:
    """Detokenize lines, restore them, and compare.

    A one-way scheme restores nothing, so it has no failures.
    """
    report = RoundTrip()
    started = time.perf_counter()
    detokenized = [detokenizer.do(line) for line in lines]
    do_ended = time.perf_counter()
    restored = lines
    if isinstance(detokenizer, Detokenizer) and detokenizer.invertible:
        restored = [detokenizer.undo(result.text) for result in detokenized]
    undo_ended = time.perf_counter()
    for line, result in zip(lines, detokenized, strict=True):
        report.add(line, result)
    failures = sum(line != undone for line, undone in zip(lines, restored, strict=True))
    size = min(sample, len(detokenized))
    shown = tuple(detokenized[i * len(detokenized) // sample].text for i in range(size))
    return RoundTripCheck(
        report=report,
        failures=failures,
        chars=sum(map(len, lines)),
        do_seconds=do_ended - started,
        undo_seconds=undo_ended - do_ended,
        sample=shown,
    )
