"""Detokenize texts and passages, and move scored spans along with the text."""

import re
from collections.abc import Sequence
from dataclasses import replace

from gpt2eval.text.carry import Carried, carried_back, carry, kind_of
from gpt2eval.text.detokenizer import DetokenizedLine, Detokenizer, OneWaySteps, RoundTrip
from gpt2eval.text.edits import Edit, EditedText, SteppedText, apply_edits, compose
from gpt2eval.text.origins import DetokenizedFrom
from gpt2eval.text.repair import MARK
from gpt2eval.text.rule_patterns import SlowRuleError
from gpt2eval.types import Passage


def detokenize(
    text: str,
    detokenizer: Detokenizer | OneWaySteps,
    report: RoundTrip | None = None,
    *,
    joined: bool = False,
) -> EditedText | SteppedText:
    """Detokenize a text: line by line, or all at once with `OneWaySteps`.

    The newline that ends a line is never edited.

    Args:
        text: The published text.
        detokenizer: The detokenizer. If it carries quotes, a line that passes its last quote on to
            the next line ends with a space instead, so that `published` can put the quote back.
        report: The counts to update, if any.
        joined: The lines will be joined by spaces, and nobody will tell them apart again; the space
            in place of a quote is left out.
    """
    if isinstance(detokenizer, OneWaySteps):
        try:
            stepped = detokenizer.apply_steps(text)
        except SlowRuleError as error:
            raise error.at(f"from line {error.line} on") from None
        if report is not None:
            report.add(text, detokenizer.summarize(stepped))
        return stepped
    edits: list[Edit] = []
    pieces: list[str] = []
    offset = 0
    lines = text.removesuffix("\n").split("\n")
    carried = _carried(lines, detokenizer)
    for number, (line, moved) in enumerate(zip(lines, carried, strict=True)):
        detokenized = _done(detokenizer, moved.line, number)
        if report is not None:
            report.add(moved.line, detokenized)
        done: Sequence[Edit] = detokenized.edits
        piece = detokenized.text
        if moved.received or moved.passed:
            done = _with_carried(line, moved, detokenized)
            piece = apply_edits(line, done)
        tail = "" if joined else " " * kind_of(moved.passed)
        if detokenizer.carries and number + 1 < len(lines) and not moved.passed:
            tail = PLAIN if not joined and _ending(detokenized.text) else ""
        if tail:
            done = [*done, Edit(len(line), len(line), tail)]
        pieces.append(piece + tail)
        edits += [Edit(offset + start, offset + end, new) for start, end, new in done]
        offset += len(line) + 1
    last_newline = "\n" if text.endswith("\n") else ""
    return EditedText("\n".join(pieces) + last_newline, tuple(edits))


# What a detokenized line ends with if it passes its quote on to the next line, and what is added to
# another line that ends in this way, so that it does not look like one.
PASSES = re.compile(f" (?:{MARK}{MARK})*\\Z")
PLAIN = MARK * 2


def _ending(line: str) -> str:
    """Return the space and the marks that a line ends with, or ""."""
    if not line.endswith((" ", MARK)):  # most lines: a search would begin at each of its spaces
        return ""
    ending = PASSES.search(line)
    return ending.group() if ending else ""


def published(text: str, detokenizer: Detokenizer) -> str:
    """Return the published text that `detokenize` turned into `text` without joining its lines."""
    lines = text.removesuffix("\n").split("\n")
    passes = [0] * len(lines)
    if detokenizer.carries:
        for number, line in enumerate(lines[:-1]):
            ending = _ending(line)
            if ending.endswith(PLAIN):
                lines[number] = line.removesuffix(PLAIN)
            elif ending:
                lines[number] = line.rstrip(" ")
                passes[number] = len(line) - len(lines[number])
    restored = carried_back([detokenizer.undo(line) for line in lines], passes)
    return "\n".join(restored) + "\n" * text.endswith("\n")


def _done(detokenizer: Detokenizer, line: str, number: int) -> DetokenizedLine:
    """Detokenize a line; `number` counts from 0 and is stated where a rule is too slow."""
    try:
        return detokenizer.do(line)
    except SlowRuleError as error:
        raise error.at(f"line {number + 1}") from None


def _carried(lines: Sequence[str], detokenizer: Detokenizer) -> Sequence[Carried]:
    """Return the lines with their quotes carried over, if the detokenizer does that."""
    if detokenizer.carries:
        carried = carry(lines)
        # Only a space that `detokenize` puts at the end of a line may stand there.
        passing = (
            _done(detokenizer, moved.line, number).text
            for number, moved in enumerate(carried)
            if moved.passed
        )
        if not any(text.endswith((" ", MARK)) for text in passing):
            return carried
    return [Carried(line, "", "") for line in lines]


def _with_carried(line: str, moved: Carried, detokenized: DetokenizedLine) -> Sequence[Edit]:
    """Return the edits of a published line that carry quotes and then detokenize it."""
    passing = Edit(len(line) - len(moved.passed), len(line), "")
    carrying = [Edit(0, 0, moved.received)] if moved.received else []
    carrying += [passing] if moved.passed else []
    return compose(carrying, detokenized.edits, detokenized.text)


def detokenize_passage(
    passage: Passage,
    detokenizer: Detokenizer | OneWaySteps | None,
    *,
    join: str,
    lead: str | None,
    report: RoundTrip | None,
) -> Passage:
    """Return the passage with detokenized text and its parts moved along.

    Args:
        passage: A passage of published text.
        detokenizer: The detokenizer, or None to leave the text as published.
        join: The single character that replaces each newline.
        lead: What replaces the white space at the beginning of the text; None keeps it.
        report: The counts to update, if any.
    """
    edited: EditedText | SteppedText = EditedText(passage.text, ())
    if detokenizer:
        try:
            edited = detokenize(passage.text, detokenizer, report, joined=join != "\n")
        except SlowRuleError as error:
            raise error.at(f"record {passage.record + 1}") from None
    text = edited.text.replace("\n", join)
    shift = 0
    if lead is not None:
        body = text.lstrip()
        shift = len(lead) - (len(text) - len(body))
        text = lead + body
    bounds = [bound for part in passage.parts for bound in (part.start, part.end)]
    moved = {}
    for bound, position in zip(bounds, edited.positions(bounds), strict=True):
        moved[bound] = max(position + shift, 0)  # a bound may lie in the white space that is cut
    moved[len(passage.text)] = len(text)  # includes what an edit inserts at the very end
    parts = tuple(
        part._replace(start=moved[part.start], end=moved[part.end]) for part in passage.parts
    )
    published = DetokenizedFrom.of(passage.text, edited, shift)
    return replace(passage, text=text, parts=parts, published=published)
