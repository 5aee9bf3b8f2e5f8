"""Marks beside the numbers of a table, and the footers that explain them.

A mark says that a number is not a plain result: a part of the data, other data, another start.
Does not know tables.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from gpt2eval.metrics.result import Result
from gpt2eval.metrics.verdict import is_limited

TIED = 1000  # a footer states the ties if there is more than one in this many decisions
KEPT = re.compile(r"\(kept (\d+)/(\d+)\)")
TOO_FEW = "no interval, because there are too few independent parts to estimate one"
QUESTIONS = ("choices", "candidate")  # values of `ask` whose decisions are the questions


class Mark(NamedTuple):
    """A symbol, the condition on a result, the footer's text, and how it names a result."""

    symbol: str
    applies: Callable[[Result], bool]
    meaning: str
    item: Callable[[Result], str]


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
        lambda r: r.start_loss is not None,
        "the protocol leaves out the start token that the model expects, which costs nats per "
        "token",
        lambda r: f"{r.full_name}, {r.model.name} ({r.start_loss:.2f})",
    ),
)


def marks(result: Result) -> str:
    """Return the symbols that stand after the numbers of a result, such as `*!`."""
    return "".join(mark.symbol for mark in MARKS if mark.applies(result))


def footers(results: Sequence[Result]) -> list[str]:
    """Return a line for each mark that occurs, then those for ties, kept lines and intervals."""
    return [*marked(results), *_ties(results), *_kept(results), *_without_interval(results)]


def marked(results: Sequence[Result]) -> list[str]:
    """Return a line for each mark that occurs: its symbol, its meaning, and where it occurs."""
    return [
        f"{mark.symbol} {mark.meaning}: {listed}"
        for mark in MARKS
        if (listed := _listed(mark.item(r) for r in results if mark.applies(r)))
    ]


def _listed(items: Iterable[str]) -> str:
    return ", ".join(sorted(set(items)))


def _ties(results: Sequence[Result]) -> list[str]:
    """Return a line for each result with more than one tie in `TIED` decisions."""
    lines: list[str] = []
    for result in results:
        asks = result.protocol.ask in QUESTIONS
        decisions = result.tally.records if asks else result.tally.tokens
        count = result.tally.ties
        if count * TIED > decisions > 0:
            share = min(count, decisions) / decisions
            lines.append(
                f"{result.full_name}, {result.model.name}: {count} of {decisions} "
                f"{'questions' if asks else 'tokens'} ({share:.1%}) have a tie for the highest "
                "score"
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
    """Return a line for each reason why numbers have no interval."""
    names: dict[str, list[str]] = {}
    for result in results:
        reasons = {
            metric.name: "" if metric.interval else metric.why_no_interval or TOO_FEW
            for metric in result.metrics.values()
        }
        is_shared = len(set(reasons.values())) == 1
        for metric, reason in reasons.items():
            name = result.full_name if is_shared else f"{result.full_name} {metric}"
            if reason:
                names.setdefault(reason, []).append(name)
    return [f"{_listed(listed)}: {reason}" for reason, listed in names.items()]
