"""The publishers' file formats: the text of a file to its records, with complaints that name the line; does no more."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from operator import getitem
from typing import Any

from gpt2eval.errors import UsageError
from gpt2eval.text.passages import BLANK
from gpt2eval.types import Record


def under(row: Any, key: str) -> Any:
    """What a row has under a key, or under each of its parts in turn (`meta.text`). Raises KeyError or TypeError."""
    return row[key] if key in row else reduce(getitem, key.split("."), row)


def json_text(line: str, key: str, where: str) -> str:
    """The text under a key of a JSON line. Raises UsageError where there is none, or one that is not Unicode."""
    try:
        text = under(json.loads(line), key)
        text.encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UsageError(f'{where}: expected {{"{key}": "..."}}, found {line[:40]!r}') from None
    return text


def _stream(text: str, _: str) -> Iterator[Record]:
    yield Record(0, text)


def _lines(text: str, _: str) -> Iterator[Record]:
    for index, line in enumerate(text.removesuffix("\n").split("\n")):
        yield Record(index, line + "\n")


def _pages(text: str, _: str) -> Iterator[Record]:
    """WikiText's articles: each begins with its heading and ends where the next one's line begins, without the line end.

    Source: EleutherAI/wikitext_document_level, what comes before the first heading is left out if it is blank.
    """
    index, page = 0, list[str]()
    for line in text.split("\n"):
        heading = line.replace("= = =", "===").replace("= =", "==").strip()
        if heading.startswith("= ") and heading.endswith(" ="):
            if "".join(page).strip():
                yield Record(index, "\n".join(page))
                index += 1
            page = []
        page.append(line)
    yield Record(index, "\n".join(page))


def _lambada(text: str, origin: str) -> Iterator[Record]:
    """A passage a line: `{"text": ...}` (OpenAI's file) or plain (the original)."""
    as_json = text.startswith("{")
    for index, line in enumerate(text.removesuffix("\n").split("\n")):
        where, passage = f"{origin}: line {index + 1}", line
        if as_json:
            passage = json_text(line, "text", where)
        if len(passage.split()) < 2:
            raise UsageError(
                f"{where}: expected a passage of two words or more, found {passage[:40]!r}"
            )
        yield Record(index, passage)


def _documents(text: str, origin: str) -> Iterator[Record]:
    """A document a line, `{"text": ...}` and whatever else is known of it; one may be empty, all of them may not."""
    empty = True
    for index, line in enumerate(text.removesuffix("\n").split("\n")):
        document = json_text(line, "text", f"{origin}: line {index + 1}")
        empty = empty and not document
        yield Record(index, document)
    if empty:
        raise UsageError(f"{origin}: every document in it is empty; expected text")


def _cbt(text: str, origin: str) -> Iterator[Record]:
    """Blocks of 20 numbered sentences, a question with its blank, answer and options, and an empty line."""
    lines = text.removesuffix("\n").split("\n")
    while lines and not lines[-1]:
        lines.pop()
    for index, first in enumerate(range(0, len(lines), 22)):
        block = lines[first : first + 22]
        for number, line in enumerate(block[:21], 1):
            if not line.startswith(f"{number} "):
                raise UsageError(
                    f"{origin}: line {first + number}: expected sentence '{number} ...', found {line[:40]!r}"
                )
        fields = block[20].removeprefix("21 ").split("\t") if len(block) > 20 else []
        options = tuple(fields[-1].split("|")) if fields else ()
        if (
            len(fields) != 4
            or BLANK not in fields[0]
            or fields[1] not in options
            or len(set(options)) != 10
        ):
            raise UsageError(
                f"{origin}: line {first + min(len(block), 21)}: expected '21 question with {BLANK}', answer and ten "
                f"different options, the answer among them, found {block[-1][:40] if len(block) < 21 else block[20][-39:]!r}"
            )
        if len(block) > 21 and block[21]:
            raise UsageError(
                f"{origin}: line {first + 22}: expected an empty line, found {block[21][:40]!r}"
            )
        context = "".join(f"{line.partition(' ')[2]}\n" for line in block[:20])
        yield Record(index, context + fields[0], fields[1], options)


PARSERS: Mapping[str, Callable[[str, str], Iterator[Record]]] = {
    "stream": _stream,
    "lines": _lines,
    "pages": _pages,
    "documents": _documents,
    "lambada": _lambada,
    "cbt": _cbt,
}
