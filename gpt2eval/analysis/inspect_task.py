"""Inspect a task without a model: check its detokenizer's round trip, or show its first record.

Does not score anything.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from gpt2eval.config import loader
from gpt2eval.data import corpus
from gpt2eval.data.local import Data, file_of, local_files
from gpt2eval.data.records import scored_texts
from gpt2eval.errors import UsageError
from gpt2eval.planning import task_plan
from gpt2eval.settings import Settings
from gpt2eval.text import passages
from gpt2eval.text.detokenizer import Detokenizer, OneWaySteps, RoundTrip
from gpt2eval.text.loader import load_detokenizer
from gpt2eval.text.roundtrip import RoundTripCheck, check_round_trip
from gpt2eval.types import Passage

EXCERPT_LENGTH = 600  # characters of a passage that `show` prints before and after a cut


def check(
    name: str,
    files: Data = None,
    include: Sequence[Path] = (),
    sample: int = 0,
    *,
    cache: Path | None = None,
    max_size: int | None = None,
) -> str:
    """Check the round trip of a task's detokenizer on every line, and report the outcome.

    Args:
        name: a task or task/variant.
        files: local files by task; the published file by default.
        include: folders with further tasks and detokenizers.
        sample: the number of detokenized lines to print, spread evenly over the file.
        cache: the folder of downloaded files.
        max_size: the most bytes that a local file may have or unpack to.

    Raises:
        UsageError: if the task has no detokenizer, or its data cannot be read.
        AssertionError: if a line fails the round trip, which is a defect of the detokenizer.
    """
    task = loader.load_task(name, include)
    if not task.detokenizer:
        raise UsageError(
            f"task {task.full_name} has no detokenizer; its text is scored as published"
        )
    local = local_files(files, include)
    text = corpus.load(task, local, Settings(cache=cache, max_size=max_size))
    detokenizer = load_detokenizer(task.detokenizer, include)
    outcome = check_round_trip(scored_texts(task, text), detokenizer, sample)
    title = f"{task.full_name}: {text.origin}, detokenizer {detokenizer.name}"
    report = "\n".join([title, *_report_lines(outcome, detokenizer)])
    assert not outcome.failures, report
    return report


def _report_lines(outcome: RoundTripCheck, detokenizer: Detokenizer | OneWaySteps) -> list[str]:
    counts = outcome.report
    speed = f"{outcome.chars / outcome.do_seconds / 1e6:.2f} M characters/s forward"
    if detokenizer.invertible:
        speed += f", {outcome.chars / outcome.undo_seconds / 1e6:.2f} back"
        one_way = ""
    else:
        one_way = " (a one-way detokenizer has no round trip)"
    return [
        f"  lines                {counts.lines:,}",
        f"  lines changed        {_with_share(counts.changed, counts.lines)}",
        f"  edits applied        {counts.edits:,}",
        f"  edits dropped        {_with_share(counts.dropped, counts.edits + counts.dropped)}",
        f"  kept as published    {_with_share(counts.kept, counts.lines)}, "
        f"{100 * counts.kept_words / max(counts.words, 1):.2f} % of the words",
        f"  lines with a mark    {_with_share(counts.marked, counts.lines)}",
        f"  round-trip failures  {outcome.failures}{one_way}",
        f"  speed                {speed}",
        *(
            f"  dropped {n:6,} x     {json.dumps(edit, ensure_ascii=False)}"
            for edit, n in counts.most_dropped.most_common(5)
        ),
        *(f"  | {line}" for line in outcome.sample),
    ]


def _with_share(part: int, total: int) -> str:
    return f"{part:,} ({100 * part / max(total, 1):.2f} %)"


def show(
    name: str,
    files: Data = None,
    include: Sequence[Path] = (),
    *,
    cache: Path | None = None,
    max_size: int | None = None,
) -> str:
    """Return a task's resolved YAML and its first record, as published and as scored.

    [[ and ]] enclose the scored span. If no local file is given and the published one is
    unavailable, a comment states the reason in place of the record.

    Args:
        name: a task or task/variant.
        files: local files by task; the published file by default.
        include: folders with further tasks and detokenizers.
        cache: the folder of downloaded files.
        max_size: the most bytes that a local file may have or unpack to.

    Raises:
        UsageError: if there is no such task, or the local file cannot be read.
    """

    task = loader.load_task(name, include)
    yaml = loader.dump_task(task)
    local = local_files(files, include)
    try:
        text = corpus.load(task, local, Settings(cache=cache, max_size=max_size))
    except UsageError as error:
        if file_of(task, local):
            raise
        return f"{yaml}\n# no record to show: {error}"
    detokenizer = load_detokenizer(task.detokenizer, include) if task.detokenizer else None
    first = text.records[0]
    published = next(p for p in passages.ASK[task.ask](first) if p.right)
    detokenized = task_plan.prepare(task, [first], detokenizer, RoundTrip())
    scored = next(p for p in detokenized if p.right)
    return (
        f"{yaml}\n# -- first record of {len(text.records)}, as published\n"
        f"{_mark_scored_span(published)}\n\n# -- as scored\n{_mark_scored_span(scored)}"
    )


def _mark_scored_span(passage: Passage) -> str:
    """Put the scored span between [[ and ]], and cut the middle out of long stretches."""
    start = passage.parts[0].start
    end = passage.parts[-1].end
    before = _shorten(passage.text[:start])
    scored = _shorten(passage.text[start:end])
    after = _shorten(passage.text[end:])
    return f"{before}[[{scored}]]{after}"


def _shorten(text: str) -> str:
    if len(text) <= 2 * EXCERPT_LENGTH:
        return text
    return f"{text[:EXCERPT_LENGTH]} [...] {text[-EXCERPT_LENGTH:]}"
