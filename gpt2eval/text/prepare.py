"""Detokenize texts and passages, and move scored spans along with the text."""

from dataclasses import replace

from gpt2eval.text.detokenizer import Detokenizer, OneWaySteps, RoundTrip
from gpt2eval.text.edits import Edit, EditedText, SteppedText
from gpt2eval.types import Passage


def detokenize(
    text: str, detokenizer: Detokenizer | OneWaySteps, report: RoundTrip | None = None
) -> EditedText | SteppedText:
    """Detokenize a text: line by line, or all at once with `OneWaySteps`.

    The newline that ends a line is never edited.
    """
    if isinstance(detokenizer, OneWaySteps):
        stepped = detokenizer.apply_steps(text)
        if report is not None:
            report.add(text, detokenizer.summarize(stepped))
        return stepped
    lines: list[str] = []
    edits: list[Edit] = []
    offset = 0
    for line in text.removesuffix("\n").split("\n"):
        detokenized = detokenizer.do(line)
        if report is not None:
            report.add(line, detokenized)
        lines.append(detokenized.text)
        edits += (Edit(offset + start, offset + end, new) for start, end, new in detokenized.edits)
        offset += len(line) + 1
    last_newline = "\n" if text.endswith("\n") else ""
    return EditedText("\n".join(lines) + last_newline, tuple(edits))


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
    edited = EditedText(passage.text, ())
    if detokenizer:
        edited = detokenize(passage.text, detokenizer, report)
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
    return replace(passage, text=text, parts=parts)
