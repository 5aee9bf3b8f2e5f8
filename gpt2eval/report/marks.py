"""Marks beside the numbers of a table, and the footers that explain them.

A mark says that a number is not a plain result: a part of the data, other data, another start.
Does not know tables.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from gpt2eval.metrics.result import MetricValue, Result
from gpt2eval.metrics.verdict import is_limited

TIED = 1000  # a footer states the ties if there is more than one in this many decisions
KEPT = re.compile(r"\(kept (\d+)/(\d+)\)")
QUESTIONS = ("choices", "candidate")  # values of `ask` whose decisions are the questions


class Mark(NamedTuple):
    """A symbol, the condition on a result, the footer's text, and how it names a result."""

    symbol: str
    applies: Callable[[Result], bool]
    meaning: str
    item: Callable[[Result], str]


def start_loss(result: Result) -> float | None:
    """Return the nats per token that a model loses because its start token is left out.

    None where nothing is left out, or where the loss is too small to matter.
    """
    return getattr(result, "start_loss", None)


def ties(result: Result) -> int:
    """Return the decisions of a result that a tie leaves open; 0 where they were not counted."""
    return getattr(result.tally, "ties", 0)


def resampled(metric: MetricValue) -> str:
    """Return what an interval would resample, as `12 articles`; "" where it is not recorded."""
    unit: str = getattr(metric, "resampled", "")
    count: int = getattr(metric, "resampled_units", 0)
    if not unit:
        return ""
    return f"{count} x {unit}" if " " in unit else f"{count} {unit}{'' if count == 1 else 's'}"


MARKS = (
    Mark(
        "*",
        is_limited,
        "limited to the first records or lines (--limit), so not comparable with published figures",
        lambda r: f"{r.full_name} (first {r.protocol.limit})",
    ),
    Mark(
        "!",
        lambda r: not r.data.published,
        "not known to be the published test data, so not comparable with the published rows",
        lambda r: f"{r.full_name} ({r.data.origin})",
    ),
    Mark(
        "‡",
        lambda r: start_loss(r) is not None,
        "the protocol leaves out the start token that the model expects, which costs nats per "
        "token",
        lambda r: f"{r.full_name}, {r.model.name} ({start_loss(r):.2f})",
    ),
)


def marks(result: Result) -> str:
    """Return the symbols that stand after the numbers of a result, such as `*!`."""
    return "".join(mark.symbol for mark in MARKS if mark.applies(result))


def footers(results: Sequence[Result]) -> list[str]:
    """Return a line for each mark that occurs, then those for ties, kept lines and intervals."""
    lines = [
        f"{mark.symbol} {mark.meaning}: {listed}"
        for mark in MARKS
        if (listed := _listed(mark.item(r) for r in results if mark.applies(r)))
    ]
    return [*lines, *_ties(results), *_kept(results), *_without_interval(results)]


def _listed(items: Iterable[str]) -> str:
    return ", ".join(sorted(set(items)))


def _ties(results: Sequence[Result]) -> list[str]:
    """Return a line for each result with more than one tie in `TIED` decisions."""
    lines: list[str] = []
    for result in results:
        asks = result.protocol.ask in QUESTIONS
        decisions = result.tally.records if asks else result.tally.tokens
        count = ties(result)
        if count * TIED > decisions > 0:
            lines.append(
                f"{result.full_name}, {result.model.name}: {count} of {decisions} "
                f"{'questions' if asks else 'tokens'} ({count / decisions:.1%}) have a tie for "
                "the highest score"
            )
    return lines


def _kept(results: Sequence[Result]) -> list[str]:
    """Return a line for each text with lines that the detokenizer keeps as published."""
    kept = {r.full_name: match for r in results if (match := KEPT.search(r.protocol.detok))}
    return [
        f"{name}: the detokenizer keeps {match[1]} of {match[2]} lines as published"
        for name, match in kept.items()
    ]


def _without_interval(results: Sequence[Result]) -> list[str]:
    """Return a line that names the results without an interval, because of too few parts."""
    without: list[str] = []
    for result in results:
        if missing := [m for m in result.metrics.values() if m.interval is None]:
            units = resampled(missing[0])
            without.append(result.full_name + (f" ({units})" if units else ""))
    if not without:
        return []
    return [f"no interval: too few independent parts to estimate one: {_listed(without)}"]
