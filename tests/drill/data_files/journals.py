"""What a run keeps: the chunks of its journal, their header, the files of a finished run."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from drill import mutations
from drill.attempts import Attempt
from drill.data_files.kinds import part
from gpt2eval.errors import UsageError
from gpt2eval.notices import LOGGER
from gpt2eval.report.measured import read_measured
from gpt2eval.scoring import journal
from gpt2eval.scoring.journal import Journal
from gpt2eval.types import Tally, TokenScores

MODEL = "toy:uniform-bytes"


@cache
def _run() -> dict[str, bytes]:
    """Return the files of a finished run by name."""
    from gpt2eval import demo, evaluate

    with tempfile.TemporaryDirectory() as out:
        evaluate(MODEL, "lambada", data=demo.data(), out=out)
        result = next(Path(out).rglob("result.json"))
        journal_files = sorted((result.parent / "journal").iterdir())
        return {file.name: file.read_bytes() for file in (result, *journal_files) if file.is_file()}


def _name(ending: str) -> str:
    return next(name for name in _run() if name.endswith(ending))


def _mutant(name: str, random: Random) -> bytes:
    return mutations.of_bytes(_run()[name], random, [*_run().values()])


def _flipped(name: str, random: Random) -> bytes:
    """Return a file with one to four bits changed, or another mutation."""
    if random.random() < 0.5:
        return _mutant(name, random)
    content = bytearray(_run()[name])
    for _ in range(random.choice((1, 1, 1, 4))):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    return bytes(content)


def _read_chunk(path: Path) -> TokenScores:
    """Read the first chunk as a run does; a chunk that is ignored with a notice is refused."""
    key = path.name.rpartition("-")[0]
    with notices() as lines:
        chunk = Journal(path.parent, key, 1).read(0)
    if chunk is not None:
        return chunk
    if path.exists():
        raise AssertionError("a corrupt chunk was left in its place")
    raise UsageError("; ".join(lines))


@contextmanager
def notices() -> Iterator[list[str]]:
    """Collect the notices while the context is open."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    LOGGER.addHandler(handler)
    try:
        yield lines
    finally:
        LOGGER.removeHandler(handler)


@cache
def _scores() -> TokenScores:
    with tempfile.TemporaryDirectory() as folder:
        name = _name("-00000.safetensors")
        (Path(folder) / name).write_bytes(_run()[name])
        return _read_chunk(Path(folder) / name)


def _chunk_problem(path: Path, read: Any) -> str | None:
    """Say in which column an accepted chunk differs from the one that was written."""
    for name, original, found in zip(TokenScores._fields, _scores(), read, strict=True):
        original, found = np.asarray(original), np.asarray(found)
        if original.dtype != found.dtype or original.tobytes() != found.tobytes():
            return f"{name} differs"
    return None


def read_header(path: Path) -> object:
    """Read a header as `run`, `table` and `ls` do."""
    lines = journal.incomplete([path.parents[1]])
    journal.missing_chunks([path.parents[1]], lambda inputs: True)
    journal.of_folder(path.parent)
    journal.inputs_of(path.parent)
    return lines


def _read_kept(path: Path) -> object:
    """Read a finished run of which one file is a mutant, as `compare` and `export` do."""
    folder = path.parents[1]
    for name, content in _run().items():
        place = folder / name if name == "result.json" else folder / "journal" / name
        if place != path and not place.exists():
            place.write_bytes(content)
    measured = read_measured(folder)[0]
    return measured, measured.tokens(), measured.word_starts()


def _kept_problem(path: Path, read: Any) -> str | None:
    measured, tokens, _ = read
    if len(tokens) != measured.result.tally.tokens:
        return "another number of tokens"
    if Tally.total(measured.parts) != measured.result.tally:
        return "other sums"
    original = _tokens()
    if any(
        not np.array_equal(a, b) for a, b in zip(original, tokens.arrays().values(), strict=True)
    ):
        return "other tokens"
    return None


@cache
def _tokens() -> list[np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal" / _name(".tokens")
        path.parent.mkdir()
        path.write_bytes(_run()[path.name])
        return [*_read_kept(path)[1].arrays().values()]  # type: ignore[index]


PARTS = (
    part(
        "journal chunk",
        lambda: [
            Attempt(
                _name("-00000.safetensors"),
                lambda random: _flipped(_name("-00000.safetensors"), random),
                _read_chunk,
                _chunk_problem,
            )
        ],
    ),
    part(
        "journal header",
        [
            Attempt(
                "journal/journal.json",
                lambda random: mutations.of_json(_run()["journal.json"], random),
                read_header,
                lambda path, lines: None if lines else "no line about an incomplete run",
            )
        ],
    ),
    part(
        "kept scores",
        lambda: [
            Attempt(
                f"journal/{_name(ending)}",
                lambda random, ending=ending: _flipped(_name(ending), random),
                _read_kept,
                _kept_problem,
                ("result.json",),
            )
            for ending in (".tallies", ".clusters", ".tokens")
        ],
    ),
)
