"""Text edges in every form of text: what is refused, and that the rest keeps its bytes and units.

The reference is the naive way: `str.split` for words, `str.encode` for bytes, and a line is what
ends with a newline.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import NamedTuple

import pyarrow
from pyarrow import parquet

from drill.attempts import unclear
from drill.part import Findings
from gpt2eval.data.custom import load_text
from gpt2eval.data.records import parse_corpus
from gpt2eval.errors import UsageError
from gpt2eval.pipeline import evaluate
from gpt2eval.text.passages import ask
from gpt2eval.types import Record

EDGES: Mapping[str, bytes] = {
    "lone surrogate": b"\xed\xa0\x80",
    "invalid UTF-8": b"\xff",
    "NUL": b"\0",
    "CRLF": b"\r\n",
    "byte-order mark at the beginning": b"\xef\xbb\xbf",
    "byte-order mark inside": "\ufeff".encode(),
    "lone CR": b"\r",
    "form feed": b"\f",
    "vertical tab": b"\v",
    "file separator": b"\x1c",
    "NEL": "\x85".encode(),
    "line separator": "\u2028".encode(),
    "paragraph separator": "\u2029".encode(),
    "combining marks": "e\u0301\u0323".encode(),
    "right to left": "\u05d0\u05d1 \u202eab\u202c \u2066x\u2069".encode(),
    "astral": "😀𝒳".encode(),
    "zero width": "\u200b\u200d\u2060".encode(),
    "noncharacter": "\uffff".encode(),
    "white-space line": b"\n \t \n",
    "empty line": b"\n\n",
    "long line": b"abcde " * 20_000,
}
UNDECODABLE = {"lone surrogate", "invalid UTF-8"}
NOT_PLAIN = {*UNDECODABLE, "NUL", "CRLF", "byte-order mark at the beginning"}


class Form(NamedTuple):
    """A form of text: how a text is written in it, which edges it refuses, and how it is read."""

    write: Callable[[str, Path], str]
    refused: set[str]
    unit: str = "word"
    format: str = ""


def run(cases: int, number: int, folder: Path) -> Findings:
    """Write and read texts of every form with every edge, at changing places."""
    random = Random(number)
    pairs = [(form, edge) for form in FORMS for edge in EDGES]
    random.shuffle(pairs)
    failures = []
    refused = 0
    for case in range(cases):
        form, edge = pairs[case % len(pairs)]
        own = folder / str(case)
        own.mkdir(parents=True)
        why, was_refused = outcome(FORMS[form], edge, random, own)
        refused += was_refused
        if why:
            failures.append(f"{form}, {edge}: {why}")
    figures = {"forms": str(len(FORMS)), "edges": str(len(EDGES)), "refused": f"{refused:,}"}
    return Findings(cases, failures, figures)


def outcome(form: Form, edge: str, random: Random, folder: Path) -> tuple[str | None, bool]:
    """Return what is wrong with how a form takes an edge, and whether it refuses it."""
    text = text_with(edge, random)
    where = form.write(text, folder)
    expected = edge in form.refused
    try:
        records, counted = read(form, where)
    except UsageError as error:
        if not expected:
            return f"refused: {error!s:.200}", True
        return unclear(str(error), ("text.",)), True
    if expected:
        return "accepted", False
    return different(records, counted, form, text) or result_differs(form, where, text), False


def text_with(edge: str, random: Random) -> str:
    """Return a text of two lines and an edge; undecodable bytes are escaped surrogates."""
    content = EDGES[edge]
    if edge.endswith("at the beginning"):
        body = content + b"A quiet morning came.\nNobody spoke.\n"
    else:
        words = [b"A", b"quiet", b"morning", b"came.\nNobody", b"spoke."]
        place = random.randrange(1, len(words))
        space = random.choice((b" ", b""))
        words[place - 1] += space + content
        body = b" ".join(words) + b"\n" * random.randrange(2)
    return body.decode("utf-8", "surrogateescape")


def read(form: Form, where: str) -> tuple[tuple[Record, ...], tuple[int, ...]]:
    """Return the records of a text, and its words, lines, bytes and characters as counted."""
    text = load_text(where, form.unit)
    if form.format:
        task = text.task.model_copy(update={"format": form.format})
        corpus = parse_corpus(task, text.content, where)
    else:
        corpus = text.read()
    units = corpus.units
    return corpus.records, (units.words, units.lines, units.bytes, units.chars)


def naive(text: str) -> tuple[int, ...]:
    """Return the words, lines, bytes and characters of a text."""
    size = len(text.encode("utf-8", "surrogateescape"))
    return len(text.split()), text.count("\n"), size, len(text)


def different(
    records: tuple[Record, ...], counted: tuple[int, ...], form: Form, text: str
) -> str | None:
    """Return how the records or units of a text differ from the text, or None."""
    joined = "".join(record.text for record in records)
    if joined != text:
        return f"the text changed: {joined[:80]!r}"
    if form.format == "lines" and len(records) != len(text.removesuffix("\n").split("\n")):
        return f"{len(records)} lines"
    sums = [0, 0, 0, 0]
    for record in records:
        for passage in ask("everything", record, alone=len(records) == 1):
            for part in passage.parts:
                counts = (part.units.words, part.units.lines, part.units.bytes, part.units.chars)
                sums = [a + b for a, b in zip(sums, counts, strict=True)]
    if not tuple(sums) == counted == naive(text):
        return f"units {counted}, of parts {sums}, expected {naive(text)}"
    return None


def result_differs(form: Form, where: str, text: str) -> str | None:
    """Return how the result of a uniform model differs from its closed form, or None."""
    if form.format or len(text) > 1000:
        return None
    given = load_text(where, form.unit)
    result = evaluate("toy:uniform-bytes", texts=[given])[given.task.full_name]
    size = len(text.encode("utf-8", "surrogateescape"))
    found = next(iter(result.metrics.values())).value
    # A uniform model needs 8 bits per byte, whatever the text.
    expected = 8.0 if form.unit == "byte" else 256 ** (size / len(text.split()))
    return None if math.isclose(found, expected, rel_tol=1e-9) else f"{found} for {expected}"


# -- forms -----------------------------------------------------------------------------------------


def _file(text: str, folder: Path) -> str:
    path = folder / "text.txt"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return str(path)


def _folder(text: str, folder: Path) -> str:
    _file(text, folder)
    return str(folder)


def _jsonl(text: str, folder: Path, *, escaped: bool) -> str:
    """Write the lines of a text as documents that keep their line ends."""
    path = folder / "text.jsonl"
    lines = text.split("\n")
    documents = [line + "\n" for line in lines[:-1]] + [lines[-1]]
    rows = [json.dumps({"t": document}, ensure_ascii=escaped) for document in documents]
    path.write_bytes(("\n".join(rows) + "\n").encode("utf-8", "surrogateescape"))
    return f"{path}:t"


def _parquet(text: str, folder: Path) -> str:
    path = folder / "text.parquet"
    content = text.encode("utf-8", "surrogateescape")
    rows = pyarrow.array([content, b""], pyarrow.binary()).view(pyarrow.string())
    parquet.write_table(pyarrow.table({"t": rows}), path)
    return f"{path}:t"


FORMS: Mapping[str, Form] = {
    "FILE": Form(_file, NOT_PLAIN),
    "FILE by byte": Form(_file, set(), "byte"),
    "DIR": Form(_folder, NOT_PLAIN),
    "jsonl, escaped": Form(lambda t, f: _jsonl(t, f, escaped=True), UNDECODABLE),
    "jsonl": Form(lambda t, f: _jsonl(t, f, escaped=False), UNDECODABLE),
    "parquet": Form(_parquet, UNDECODABLE),
    "lines": Form(_file, NOT_PLAIN, format="lines"),
    "stream": Form(_file, NOT_PLAIN, format="stream"),
}
