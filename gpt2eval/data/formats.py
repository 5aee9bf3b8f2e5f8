"""Parse the publishers' file formats into records. Errors name the line."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from operator import getitem
from typing import Any

from gpt2eval.config import json_reader
from gpt2eval.config.schema import Task
from gpt2eval.errors import UsageError
from gpt2eval.text.passages import BLANK, is_title
from gpt2eval.types import Record


def value_of(row: Any, key: str) -> Any:
    """Return a row's value for a key, or for a dotted path (`meta.text`).

    Raises KeyError or TypeError.
    """
    return row[key] if key in row else reduce(getitem, key.split("."), row)


def json_text(line: str, key: str, origin: str, *, lenient: bool = False) -> str:
    """Return the text for a key of a JSON line; `origin` names the line in errors.

    Raises UsageError if the key or the text is missing, and, unless `lenient`, for a key that
    occurs twice and for a text with lone surrogates, which has no UTF-8 encoding.
    """
    try:
        row = json.loads(line) if lenient else json_reader.loads(line)
        text = value_of(row, key)
        text.encode(errors="surrogatepass" if lenient else "strict")
    except json_reader.RepeatedKeyError as error:
        raise UsageError(f"{origin}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UsageError(f'{origin}: expected {{"{key}": "..."}}, found {line[:40]!r}') from None
    return text


def group_name(value: object, column: str, origin: str) -> str:
    """Return the name of the group that a value of a column states; `origin` names its row.

    Whole numbers and truth values become their JSON text.

    Raises:
        UsageError: It is missing, blank, of another type, or text that has no UTF-8 encoding.

    Examples:
        >>> group_name("news", "site", "row 1"), group_name(2024, "year", "row 1")
        ('news', '2024')
    """
    if isinstance(value, bool | int):
        return json.dumps(value)
    if not isinstance(value, str) or not value.strip() or "\0" in value or not _has_utf8(value):
        raise UsageError(
            f"{origin}: expected the name of a group in column {column}, found {value!r:.40}"
        )
    return value


def _has_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def json_group(line: str, column: str, origin: str) -> str:
    """Return the group that a JSON line states; raises UsageError as `group_name` does."""
    try:
        value = value_of(json.loads(line), column)
    except (ValueError, KeyError, TypeError, RecursionError):
        value = None
    return group_name(value, column, origin)


def json_groups(text: str, column: str, origin: str) -> list[str]:
    """Return the group of each of a file's JSON lines; raises UsageError as `group_name` does."""
    return [
        json_group(line, column, f"{origin}: line {number}")
        for number, line in enumerate(text.removesuffix("\n").split("\n"), 1)
    ]


def _stream(text: str, _: str) -> Iterator[Record]:
    yield Record(0, text)


def _lines(text: str, _: str) -> Iterator[Record]:
    lines = text.removesuffix("\n").split("\n")
    for index, line in enumerate(lines):
        is_cut = index == len(lines) - 1 and not text.endswith("\n")
        yield Record(index, line if is_cut else line + "\n")


def _pages(text: str, _: str) -> Iterator[Record]:
    """Split WikiText into articles.

    An article begins with its heading and ends before the next heading's line. The line ending
    before a heading belongs to no article, and neither does blank text before the first heading.
    Source: the Hub data set EleutherAI/wikitext_document_level.
    """
    index = 0
    page: list[str] = []
    for line in text.split("\n"):
        if is_title(line):
            if "".join(page).strip():
                yield Record(index, "\n".join(page))
                index += 1
            page = []
        page.append(line)
    yield Record(index, "\n".join(page))


def _lambada(text: str, origin: str) -> Iterator[Record]:
    """Parse one passage per line: `{"text": ...}` (OpenAI's file) or plain text (the original)."""
    as_json = text.lstrip().startswith("{")
    for index, line in enumerate(text.removesuffix("\n").split("\n")):
        line_origin = f"{origin}: line {index + 1}"
        if not as_json and line.lstrip().startswith("{"):
            raise UsageError(
                f"{line_origin}: expected plain text as in the lines before, found {line[:40]!r}"
            )
        passage = json_text(line, "text", line_origin) if as_json else line
        if len(passage.split()) < 2:
            raise UsageError(
                f"{line_origin}: expected a passage of two or more words, found {passage[:40]!r}"
            )
        yield Record(index, passage)


def _documents(text: str, origin: str) -> Iterator[Record]:
    """Parse one document per line, `{"text": ...}`; other keys are ignored.

    Raises UsageError if every document is empty.
    """
    empty = True
    for index, line in enumerate(text.removesuffix("\n").split("\n")):
        document = json_text(line, "text", f"{origin}: line {index + 1}")
        empty = empty and not document
        yield Record(index, document)
    if empty:
        raise UsageError(f"{origin}: every document is empty; expected text")


def _cbt(text: str, origin: str) -> Iterator[Record]:
    """Parse blocks: 20 numbered sentences, a question with answer and options, a blank line."""
    lines = text.removesuffix("\n").split("\n")
    while lines and not lines[-1]:
        lines.pop()
    for index, first in enumerate(range(0, len(lines), 22)):
        block = lines[first : first + 22]
        for number, line in enumerate(block[:21], 1):
            if not line.startswith(f"{number} "):
                raise UsageError(
                    f"{origin}: line {first + number}: expected sentence '{number} ...', "
                    f"found {line[:40]!r}"
                )
        fields = block[20].removeprefix("21 ").split("\t") if len(block) > 20 else []
        # A blank at either end of a choice is no part of it: some copies pad the line.
        fields[1:] = [field.strip(" ") for field in fields[1:]]
        options = tuple(word.strip(" ") for word in fields[-1].split("|")) if fields else ()
        if (
            len(fields) != 4
            or BLANK not in fields[0]
            or fields[1] not in options
            or len(set(options)) != 10
        ):
            excerpt = block[-1][:40] if len(block) < 21 else block[20][-39:]
            line = first + min(len(block), 21)
            raise UsageError(
                f"{origin}: line {line}: expected '21 question with {BLANK}', "
                "answer and ten different options that include the answer, "
                f"found {excerpt!r}"
            )
        if len(block) > 21 and block[21]:
            raise UsageError(
                f"{origin}: line {first + 22}: expected an empty line, found {block[21][:40]!r}"
            )
        context = "".join(f"{line.partition(' ')[2]}\n" for line in block[:20])
        yield Record(index, context + fields[0], fields[1], options)


# The row of a Hub data set, by the `restore` rule that turns it into a part of the published file.
ROWS: Mapping[str, Callable[[str, str], str]] = {
    "text": lambda part, _: part,
    "lines": lambda line, _: line,
    # The Hub's own scripts strip white space of any kind here.
    "padded_lines": lambda line, _: line.strip(),
    "blank_lines": lambda line, _: f"{line}\n" if line.strip() else "",
    "jsonl": lambda line, origin: json_text(line, "text", origin),
}


def _rows(text: str, origin: str, restore: str) -> Iterator[Record]:
    """Parse the rows of the Hub's data set."""
    parts = [text] if restore == "text" else text.removesuffix("\n").split("\n")
    for index, part in enumerate(parts):
        yield Record(index, ROWS[restore](part, f"{origin}: line {index + 1}"))


def parse(task: Task, text: str, origin: str) -> tuple[Record, ...]:
    """Return the records of a file's text, as the task's `format` says."""
    if task.format == "rows":
        hub = task.source.hub
        return tuple(_rows(text, origin, hub.restore if hub else "lines"))
    return tuple(PARSERS[task.format](text, origin))


PARSERS: Mapping[str, Callable[[str, str], Iterator[Record]]] = {
    "stream": _stream,
    "lines": _lines,
    "pages": _pages,
    "documents": _documents,
    "lambada": _lambada,
    "cbt": _cbt,
}
