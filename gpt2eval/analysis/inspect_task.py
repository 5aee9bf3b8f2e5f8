"""Looking at a task without a model: its detokenizer over the whole file and back, and its first record up close."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from gpt2eval import measurement
from gpt2eval.config import loader
from gpt2eval.config.schema import Task
from gpt2eval.data import corpus, records
from gpt2eval.data.records import _texts, lines_of
from gpt2eval.errors import UsageError
from gpt2eval.text import passages
from gpt2eval.text.detokenizer import Detokenizer, OneWaySteps, RoundTrip
from gpt2eval.text.loader import load_detokenizer
from gpt2eval.text.roundtrip import RoundTripCheck, check_round_trip
from gpt2eval.types import Passage

SHOWN = 600  # characters of a text that `show` prints on either side of what matters


def check(
    name: str,
    files: Mapping[str, Path] | None = None,
    include: Sequence[Path] = (),
    sample: int = 0,
    *,
    cache: Path | None = None,
) -> str:
    """Run a task's detokenizer over every line of its file, there and back, and say what it did.

    Raises UsageError for a task without a detokenizer. A line that does not come back is a defect: AssertionError.
    """
    task, read = _load(name, files, include, cache)
    if not task.detokenizer:
        raise UsageError(
            f"task {task.full_name} has no detokenizer; its text is scored as published"
        )
    detokenizer = load_detokenizer(task.detokenizer, include)
    by_line = isinstance(detokenizer, Detokenizer)
    checked = check_round_trip(
        lines_of(task, read) if by_line else _texts(task, read), detokenizer, sample
    )
    text = "\n".join(
        [
            f"{task.full_name}: {read.origin}, detokenizer {detokenizer.name}",
            *_lines(checked, detokenizer),
        ]
    )
    assert not checked.failures, text
    return text


def _lines(checked: RoundTripCheck, detokenizer: Detokenizer | OneWaySteps) -> list[str]:
    report, chars = checked.report, checked.chars

    def share(part: int, whole: int) -> str:
        return f"{part:,} ({100 * part / max(whole, 1):.2f} %)"

    back = f"{chars / checked.seconds_back / 1e6:.2f} back" if detokenizer.invertible else "one-way"
    return [
        f"  lines                {report.lines:,}",
        f"  lines that change    {share(report.changed, report.lines)}",
        f"  edits made           {report.edits:,}",
        f"  edits dropped        {share(report.dropped, report.edits + report.dropped)}",
        f"  kept as published    {share(report.kept, report.lines)}",
        f"  round-trip failures  {checked.failures}"
        + ("" if detokenizer.invertible else " (one-way by design: nothing is undone)"),
        f"  speed                {chars / checked.seconds_there / 1e6:.2f} M characters/s there, {back}",
        *(
            f"  dropped {n:6,} x     {json.dumps(edit, ensure_ascii=False)}"
            for edit, n in report.most_dropped.most_common(5)
        ),
        *(f"  | {line}" for line in checked.sample),
    ]


def show(
    name: str,
    files: Mapping[str, Path] | None = None,
    include: Sequence[Path] = (),
    *,
    cache: Path | None = None,
) -> str:
    """A task's resolved file, and its first record as published and as scored, the scored span between [[ and ]].

    Where no file is given and the published one cannot be had, the resolved file alone, and why.
    """
    task = loader.load_task(name, include)
    text = loader.dump_task(task)
    try:
        task, read = _load(name, files, include, cache)
    except UsageError as error:
        if corpus.file_of(task, files):
            raise
        return f"{text}\n# no record to show: {error}"
    detokenizer = load_detokenizer(task.detokenizer, include) if task.detokenizer else None
    before = next(p for p in passages.ASK[task.ask](read.records[0]) if p.right)
    after = next(
        p for p in measurement.prepare(task, read.records[:1], detokenizer, RoundTrip()) if p.right
    )
    return f"{text}\n# -- first record of {len(read.records)}, as published\n{_marked(before)}\n\n# -- as scored\n{_marked(after)}"


def _marked(passage: Passage) -> str:
    """The text with its scored span marked, long stretches cut out."""
    start, end = passage.parts[0].start, passage.parts[-1].end
    pieces = passage.text[:start], passage.text[start:end], passage.text[end:]
    before, scored, after = (
        p if len(p) <= 2 * SHOWN else f"{p[:SHOWN]} [...] {p[-SHOWN:]}" for p in pieces
    )
    return f"{before}[[{scored}]]{after}"


def _load(
    name: str, files: Mapping[str, Path] | None, include: Sequence[Path], cache: Path | None
) -> tuple[Task, records.Corpus]:
    task = loader.load_task(name, include)
    return task, corpus.load_corpus(task, corpus.file_of(task, files), cache=cache)
