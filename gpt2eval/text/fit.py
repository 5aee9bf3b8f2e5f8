"""Whether a text is in the form that its detokenizer expects.

A line that is not stays as published, or needs a mark. A few such lines are normal; many mean that
the text is a copy in another form, whose figures would not be comparable.
"""

import re

from gpt2eval.errors import UsageError
from gpt2eval.text.detokenizer import Detokenizer, OneWaySteps, RoundTrip

MOST_UNFIT = 0.05  # share of the lines
EXCERPT = 60  # characters of the first such line in the error

TOKEN = re.compile(r"</?[sS]>|<eos>|<bos>")
PROSE = re.compile(r"\w[,;:.?!](?:\s|$)")


def kept(
    text: str, detokenizer: Detokenizer | OneWaySteps | None, report: RoundTrip, *, allowed: bool
) -> str:
    """Return what a signature says about lines that are kept as published, or "" for few.

    At most one line in twenty may be kept or marked; a single one always may, unless it is the only
    line of the text.

    Args:
        text: What is measured, for the error.
        detokenizer: The detokenizer of the text.
        report: What it did.
        allowed: Whether any number of lines may be kept.

    Raises:
        UsageError: Too many lines are kept, and that is not allowed. The message names the first.
    """
    few = max(1, MOST_UNFIT * report.lines)
    if detokenizer is None or (report.unfit <= few and report.kept < max(1, report.lines)):
        return ""
    if not allowed:
        raise UsageError(
            f"{text}: detokenizer {detokenizer.name}: {report.unfit} of {report.lines} lines are "
            f"not in the form that it reads; line {report.first}: {report.first_line[:EXCERPT]!r} "
            f"({_cause(report.first_line, detokenizer)}); expected the published form, "
            "or --allow-kept to keep such lines as they are"
        )
    return f"(kept {report.unfit}/{report.lines})"


def _cause(line: str, detokenizer: Detokenizer | OneWaySteps) -> str:
    """Return the likely reason why a line is not in the form that a detokenizer reads."""
    if token := TOKEN.search(line):
        return f"{token.group()} is not part of the published text"
    if not line:
        return "an empty line"
    if isinstance(detokenizer, Detokenizer):
        padded = detokenizer.do(f" {line.strip(' ')} ")
        if not line.startswith(" ") and not (padded.as_published or padded.marks):
            return "the published lines begin and end with a space"
        bare = detokenizer.do(line.strip(" "))
        if line != line.strip(" ") and not (bare.as_published or bare.marks):
            return "the published lines do not begin or end with a space"
    if PROSE.search(line):
        return "punctuation is not a token of its own, so the text is not tokenized"
    return "tokenized in another way"
