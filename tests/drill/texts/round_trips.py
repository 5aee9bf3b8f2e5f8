"""Round trips of generated lines through every shipped detokenizer.

hypothesis draws a batch: the tokens that its lines consist of, their greatest number in a line, and
a seed. A failing batch shrinks to few tokens.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from drill.part import Findings
from drill.texts.scheme_tokens import COMMON, lines_of, tokens_of
from gpt2eval.config import catalog
from gpt2eval.text.detokenizer import Detokenizer, OneWaySteps
from gpt2eval.text.edits import EditedText, apply_edits
from gpt2eval.text.loader import load_detokenizer, load_detokenizer_file
from gpt2eval.text.origins import DetokenizedFrom
from gpt2eval.text.prepare import detokenize, published
from gpt2eval.text.schemes import RuleScheme, Swap, matches

BATCH = 1000  # lines
NAIVE = 20  # one line in this many also goes the naive way
LONGEST = 3  # tokens of a line
PHASES = (Phase.generate, Phase.shrink)


@dataclass(slots=True)
class Totals:
    """What a scheme did with its lines."""

    lines: int = 0
    kept: int = 0
    marked: int = 0
    failures: list[str] = field(default_factory=list)


def run(cases: int, number: int, folder: Path) -> Findings:
    """Take a number of lines per scheme through the scheme and back."""
    totals = {name: _scheme(name, cases, number) for name in sorted(catalog.files("detokenizers"))}
    lines = Counter[str]()
    for total in totals.values():
        lines.update(lines=total.lines, kept=total.kept, marked=total.marked)
    failures = [
        f"{name}: {failure}" for name, total in totals.items() for failure in total.failures
    ]
    figures = {
        "schemes": str(len(totals)),
        "lines per scheme": f"{min(total.lines for total in totals.values()):,}",
        "kept as published": f"{lines['kept']:,}",
        "marked": f"{lines['marked']:,}",
    }
    return Findings(lines["lines"], failures, figures)


def _scheme(name: str, cases: int, number: int) -> Totals:
    """Run batches of lines of one scheme, with all of its options."""
    file = load_detokenizer_file(catalog.find("detokenizers", name))
    detokenizer = load_detokenizer("+".join([name, *file.options]))
    own = tokens_of(file)
    is_padded = bool(file.examples) and file.examples[0].published.startswith(" ")
    totals = Totals()
    size = min(BATCH, cases)

    @seed(number)
    @settings(
        max_examples=-(-cases // size),
        database=None,
        deadline=None,
        phases=PHASES,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(
        tokens=st.lists(st.sampled_from([*own, *own, *COMMON]), min_size=8, max_size=60),
        longest=st.integers(1, LONGEST),
        batch=st.integers(0, 2**32),
    )
    def check(tokens: list[str], longest: int, batch: int) -> None:
        lines = lines_of(tokens, longest, size, Random(batch), padded=is_padded)
        totals.lines += len(lines)
        if isinstance(detokenizer, OneWaySteps):
            _check_steps(detokenizer, lines)
        else:
            _check_lines(detokenizer, lines, totals)

    with warnings.catch_warnings(action="ignore"):
        try:
            check()
        except AssertionError as error:
            totals.failures.append(f"{error!s:.400}")
    return totals


def _check_lines(detokenizer: Detokenizer, lines: Sequence[str], totals: Totals) -> None:
    """Check lines alone and as one text."""
    text = "\n".join(lines)
    edited = detokenize(text, detokenizer)
    assert isinstance(edited, EditedText)
    assert apply_edits(text, edited.edits) == edited.text, f"edits give another text: {text!r}"
    _check_positions(DetokenizedFrom.of(text, edited), len(edited.text), text)
    done = [detokenizer.do(line) for line in lines]
    totals.kept += sum(line.as_published for line in done)
    totals.marked += sum(line.marks > 0 for line in done)
    if not detokenizer.carries:
        assert edited.text.split("\n") == [line.text for line in done], "a text differs from lines"
    if detokenizer.invertible:
        if detokenizer.carries:
            _compare(lines, [detokenizer.undo(line.text) for line in done], "alone")
        _compare(lines, published(edited.text, detokenizer).split("\n"), "in a text")
    scheme = detokenizer._scheme
    if isinstance(scheme, RuleScheme):
        naive = RuleScheme(_unguarded(scheme.do), _unguarded(scheme.back))
        for line, detokenized in list(zip(lines, done, strict=True))[::NAIVE]:
            assert scheme.propose(line) == naive.propose(line), f"quick and naive differ: {line!r}"
            text = detokenized.text
            assert scheme.undo(text) == naive.undo(text), f"quick and naive differ: {text!r}"
            undone = apply_edits(text, scheme.undo_edits(text))
            assert scheme.undo(text) == undone, f"undo and its edits differ: {text!r}"


def _compare(lines: Sequence[str], restored: Sequence[str], where: str) -> None:
    for line, other in zip(lines, restored, strict=True):
        assert line == other, f"{where}: {line!r} is restored as {other!r}"


def _unguarded(rules: Sequence[Swap]) -> tuple[Swap, ...]:
    """Return rules that search every line."""
    return tuple(rule._replace(telling=("",)) for rule in rules)


def _check_steps(detokenizer: OneWaySteps, lines: Sequence[str]) -> None:
    """Check that the steps are what `re.sub` does, and that positions lead back."""
    text = "\n".join(lines)
    stepped = detokenizer.apply_steps(text)
    naive = text
    for rule in detokenizer._steps:
        if rule.put is None:
            naive = apply_edits(naive, matches(rule, naive))
        else:
            naive = rule.find.sub(rule.put, naive)
    assert stepped.text == naive, f"quick and naive differ: {text!r}"
    moved = stepped.positions(range(len(text) + 1))
    assert all(a <= b for a, b in pairwise(moved)), f"positions go back: {text!r}"
    _check_positions(DetokenizedFrom.of(text, stepped), len(stepped.text), text)


def _check_positions(source: DetokenizedFrom, size: int, text: str) -> None:
    """Check that positions of the detokenized text lead back in order: spans tile the text."""
    origins = source.origins(np.arange(size + 1, dtype=np.int32))
    assert (np.diff(origins) >= 0).all(), f"positions go back: {text!r}"
    assert 0 <= origins[0] <= origins[-1] <= len(text), f"positions outside: {text!r}"
