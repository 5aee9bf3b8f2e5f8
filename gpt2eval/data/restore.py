"""Recognize known re-encodings of a published file, and restore the published form.

Copies of a benchmark often differ from the publisher's file in form only: without the spaces at the
ends of lines, with `<eos>` for a line end, with rows joined by blank lines. Their text is the same,
but a detokenizer cannot read it, and the number of lines differs. Each step below recognizes one
such form by something that the published form never has, and reverses it. Steps combine. Content
that has the published hash is never touched.

The key `layout` of a task says what the published lines look like: `padded` (a space at both ends),
`articles` (the same, with blank lines around headings, as in WikiText) or `bare` (no spaces at the
ends, no blank lines). Without it, only byte-order marks, CRLF and a missing last line end count.
"""

from codecs import BOM_UTF8
from collections.abc import Callable
from typing import NamedTuple

from gpt2eval.config.schema import Task
from gpt2eval.data import articles
from gpt2eval.data.cache import is_published
from gpt2eval.data.lines import (
    Lines,
    with_single_spaces,
    with_unknown_words,
    without_entities,
    without_header,
    without_numbers,
)

BOM = "byte-order mark"
CRLF = "CRLF line ends"
CR = "CR line ends"
FINAL = "final line end"
ENDS = ("<eos>", "<EOS>", "</S>", "</s>", "[EOS]", "[SEP]", "<|endoftext|>", "<|eos|>", "<end>")
STARTS = ("<bos>", "<BOS>", "<S>", "<s>", "[BOS]", "[CLS]", "<|endoftext|>", "<|bos|>", "<start>")


class Restored(NamedTuple):
    """The content of a file in the published form, and the re-encodings that were reversed."""

    content: bytes
    names: tuple[str, ...]


def restore(task: Task, content: bytes) -> Restored:
    """Return the content of a task's file in the published form.

    A form that is not recognized stays as it is; the parsers and detokenizers report it.
    """
    if task.encoding != "utf-8" or is_published(content, task.source.file):
        return Restored(content, ())
    is_reencoded = content.startswith(BOM_UTF8) or b"\r" in content
    if not task.layout and task.source.file.hash and not is_reencoded:
        # Long texts come this way: they are neither decoded nor divided into lines.
        ended = content if content.endswith(b"\n") else content + b"\n"
        is_found = is_published(ended, task.source.file)
        return Restored(ended, (FINAL,)) if is_found else Restored(content, ())
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Restored(content, ())
    names = (BOM,) if content.startswith(BOM_UTF8) else ()
    if "\r\n" in text and text.count("\r\n") == text.count("\n") == text.count("\r"):
        text = text.replace("\r\n", "\n")
        names += (CRLF,)
    elif "\r" in text and "\n" not in text:
        text = text.replace("\r", "\n")
        names += (CR,)
    found = Lines(text.removesuffix("\n").split("\n"), text.endswith("\n"), names)
    if not found.texts() or "\r" in text or "\0" in text:
        return Restored(content, ())
    for step in STEPS[task.layout]:
        found = step(found)
    return _best(task, content, found)


def _best(task: Task, content: bytes, found: Lines) -> Restored:
    """Return the published content if a candidate is it, and otherwise the restored lines."""
    ended = found if found.ended else found._replace(names=(*found.names, FINAL))
    candidates = [ended]
    if task.layout == "articles":  # blank lines at either end may be lost
        candidates += [
            ended._replace(lines=[*first, *found.lines, *last])
            for first in ([], [" "])
            for last in ([], [" "], [" ", " "])
        ][1:]
    if articles.DROPPED in found.names:
        others = articles.exceptions(found.texts())
        candidates += [ended._replace(lines=lines) for lines in others]
    for candidate in candidates:
        restored = candidate.encode()
        if is_published(restored, task.source.file) or _has_counts(task, candidate):
            return Restored(restored, candidate.names)
    if not found.names:
        return Restored(content, ())
    # Without the published hash, a last line without an end may be one that was cut short, unless
    # the whole file was written anew.
    if found.ended or set(found.names) <= {BOM, CRLF, CR}:
        return Restored(found.encode(ended=found.ended), found.names)
    return Restored(ended.encode(), ended.names)


def _has_counts(task: Task, found: Lines) -> bool:
    """Return whether lines have the counts of a published file that has no hash."""
    expect = task.expect
    if task.source.file.hash or not (expect.lines and expect.words):
        return False
    return expect.lines == len(found.lines) and expect.words == sum(
        len(line.split()) for line in found.lines
    )


# -- steps: each returns the lines in the published form, or the same lines ------------------------


def _without_end_tokens(found: Lines) -> Lines:
    """Reverse `<eos>` (</S>, </s>) at line ends, or in the place of line ends."""
    texts = found.texts()
    for token in ENDS:
        joined = len(texts) == 1 and token in texts[0]
        if joined or all(line.rstrip().endswith(token) for line in texts):
            ends = [line.rstrip().removesuffix(token) for line in found.lines]
            split = [part for line in ends for part in _split_at(line, token)]
            name = f"{token} at line ends" if len(split) == len(ends) else f"{token} for line ends"
            return found.changed(name, split, ended=True)
    return found


def _split_at(line: str, token: str) -> list[str]:
    """Split a line at a token that stands for a line end, with the spaces beside it."""
    parts = line.split(token)
    return [part if len(parts) == 1 else part.strip(" ") for part in parts]


def _without_start_tokens(found: Lines) -> Lines:
    """Reverse `<S>` (<s>, <bos>) at line starts."""
    for token in STARTS:
        if all(
            line.lstrip().startswith(f"{token} ") or line.strip() == token for line in found.texts()
        ):
            lines = [line.lstrip().removeprefix(token) for line in found.lines]
            return found.changed(f"{token} at line starts", lines)
    return found


def _without_token_spaces(found: Lines) -> Lines:
    """Remove the space that a start or end token leaves at the ends of a line."""
    if not any(name.startswith((*ENDS, *STARTS)) for name in found.names):
        return found
    return found._replace(lines=[line.strip(" ") for line in found.lines])


def _without_blank_lines(found: Lines) -> Lines:
    """Remove blank lines at the ends or between all rows, where the published file has none."""
    texts = found.texts()
    if texts == found.lines[: len(texts)] or texts == found.lines[-len(texts) :]:
        return found.changed("blank lines at the end", texts)
    shape = "".join("x" if line.strip() else " " for line in found.lines).strip()
    if " " not in shape or len(set(shape.split("x")[1:-1])) != 1:
        return found
    return found.changed("rows joined by blank lines", found.texts(), ended=True)


def _with_rows_of_articles(found: Lines) -> Lines:
    """Reverse rows of articles joined by one or two line ends."""
    lines = articles.split_rows(found.lines, ended=found.ended)
    return found if lines is None else found.changed(articles.JOINED, lines, ended=True)


def _with_blank_lines_of_articles(found: Lines) -> Lines:
    """Put the blank lines around the headings of articles back."""
    lines = articles.with_blank_lines(found.lines)
    return found if lines is None else found.changed(articles.DROPPED, lines)


def _padded(found: Lines) -> Lines:
    """Put one space at each side at which all lines have the same number of spaces.

    The first and the last line may lack the space at the beginning and the end of the file.
    """
    texts = found.texts()
    lefts = {len(line) - len(line.lstrip(" ")) for line in texts[1:] or texts}
    rights = {len(line) - len(line.rstrip(" ")) for line in texts[:-1] or texts}
    if len(lefts) > 1 or len(rights) > 1:
        return found
    lines = [f" {line.strip(' ')} " if line.strip() else line for line in found.lines]
    return found.changed("outer blanks", lines)


def _padded_articles(found: Lines) -> Lines:
    """Do the same, and make every blank line one space."""
    padded = _padded(found)
    blank = [line if line.strip() else " " for line in padded.lines]
    return found.changed("outer blanks", blank)


def _bare(found: Lines) -> Lines:
    """Remove the spaces at the sides at which every line has one."""
    lines = found.lines
    if all(line.startswith(" ") for line in lines):
        lines = [line.lstrip(" ") for line in lines]
    if all(line.endswith(" ") for line in lines):
        lines = [line.rstrip(" ") for line in lines]
    return found.changed("outer blanks", lines)


Step = Callable[[Lines], Lines]
TOKENS: tuple[Step, ...] = (
    without_header,
    without_numbers,
    with_single_spaces,
    without_entities,
    _without_end_tokens,
    _without_start_tokens,
    _without_token_spaces,
)
# By the layout of a task's file.
STEPS: dict[str | None, tuple[Step, ...]] = {
    None: (),
    "padded": (*TOKENS, with_unknown_words, _without_blank_lines, _padded),
    "articles": (
        *TOKENS,
        with_unknown_words,
        _with_rows_of_articles,
        _with_blank_lines_of_articles,
        _padded_articles,
    ),
    "bare": (*TOKENS, _without_blank_lines, _bare),
}
