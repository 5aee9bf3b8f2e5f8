"""Check a detokenizer's round trip over texts, with counts and timings."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from gpt2eval.text.detokenizer import Detokenizer, OneWaySteps, RoundTrip
from gpt2eval.text.prepare import detokenize, published


class RoundTripCheck(NamedTuple):
    """The outcome of a round-trip check.

    Attributes:
        report: Counts of lines, edits and dropped edits.
        failures: Lines that are not restored; anything but 0 is a defect.
        chars: Characters of published text.
        do_seconds: Time to detokenize all texts.
        undo_seconds: Time to restore all texts.
        sample: Some detokenized lines, evenly spaced.
    """

    report: RoundTrip
    failures: int
    chars: int
    do_seconds: float
    undo_seconds: float
    sample: tuple[str, ...]


def check_round_trip(
    texts: Sequence[str], detokenizer: Detokenizer | OneWaySteps, sample: int = 0
) -> RoundTripCheck:
    """Detokenize texts, restore them, and compare.

    A one-way scheme restores nothing, so it has no failures.
    """
    report = RoundTrip()
    started = time.perf_counter()
    detokenized = [detokenize(text, detokenizer, report).text for text in texts]
    do_ended = time.perf_counter()
    restored = texts
    if isinstance(detokenizer, Detokenizer) and detokenizer.invertible:
        restored = [published(text, detokenizer) for text in detokenized]
    undo_ended = time.perf_counter()
    failures = sum(map(_differing, texts, restored))
    lines = [line for text in detokenized for line in text.removesuffix("\n").split("\n")]
    size = min(sample, len(lines))
    shown = tuple(lines[i * len(lines) // sample] for i in range(size))
    return RoundTripCheck(
        report=report,
        failures=failures,
        chars=sum(map(len, texts)),
        do_seconds=do_ended - started,
        undo_seconds=undo_ended - do_ended,
        sample=shown,
    )


def _differing(text: str, restored: str) -> int:
    """Return the number of lines in which two texts differ."""
    if text == restored:
        return 0
    lines = text.split("\n")
    others = restored.split("\n")
    same = sum(a == b for a, b in zip(lines, others, strict=False))
    return max(len(lines), len(others)) - same
