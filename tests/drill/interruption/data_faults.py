"""One changed byte of a data set: between two runs, in the cache, and at the mirror."""

import shutil
import signal
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from random import Random

from doubles import StandIn

from drill.interruption.commands import AFTER_RENAME, Kill, forked
from drill.interruption.downloads import define, wait_briefly
from drill.interruption.flips import flip, flipped
from drill.interruption.judged import OUT, contents, difference
from drill.interruption.runs import small_chunks
from drill.part import Findings
from gpt2eval.config.catalog import DEMO

LINES = 40
TEXT = ("run", "--model", "toy:unigram", "--batch-size", "1", "--limit", "4", "--out", OUT)


def between_runs(cases: int, seed: int, folder: Path) -> Findings:
    """Change a byte of a local file, and resume: as a run on the changed file alone."""
    arguments = (*TEXT, "--tasks", "text8", "--data", "text8=data.txt")
    original = (DEMO / "data/text8.txt").read_bytes()[:4000]
    random = Random(seed)
    failures = []
    for number in range(cases):
        place = folder / str(number)
        place.mkdir()
        data = place / "data.txt"
        data.write_bytes(original)
        kill = Kill(signal.SIGKILL, AFTER_RENAME, random.randint(1, 12))
        forked(arguments, place, kill, small_chunks)
        offset = random.randrange(len(original))
        letter = random.choice(sorted(set(b"abcdefghijklmnopqrstuvwxyz ") - {original[offset]}))
        data.write_bytes(original[:offset] + bytes([letter]) + original[offset + 1 :])
        resumed = forked(arguments, place, None, small_chunks)
        alone = folder / f"{number}-alone"
        alone.mkdir()
        shutil.copy(data, alone)
        fresh = forked(arguments, alone, None, small_chunks)
        if resumed.code or fresh.code:
            failures.append(f"case {number}, byte {offset}: {resumed.err!r} {fresh.err!r} {place}")
        elif resumed.out != fresh.out or _results(place) != _results(alone):
            failures.append(f"case {number}, byte {offset}: not as a fresh run's {place}")
        else:
            shutil.rmtree(place)
            shutil.rmtree(alone)
    return Findings(cases, failures)


def _results(place: Path) -> dict[str, bytes]:
    """Return the results below a folder, without the journal's old chunks."""
    every = contents(place / OUT)
    return {name: content for name, content in every.items() if "/journal/" not in name}


def cached_and_mirrored(cases: int, seed: int, folder: Path) -> Findings:
    """Change a bit of a cached file, of its archive, and of what a mirror sends.

    The next run scores the published file, or is refused in one line.
    """
    random = Random(seed)
    text = "".join(f"Line {n} says {random.randbytes(40).hex()}.\n" for n in range(LINES)).encode()
    server = StandIn()
    server.files["book.txt"] = text
    published = {"name": "book.txt", "sha256": sha256(text).hexdigest()}
    define(folder, "mine", {"archive": {"url": f"{server.url}/files/book.txt"}, "file": published})
    common = ("--include", "../own", "--cache", "cache")
    fetch = ("data", "fetch", "mine", *common)
    score = (*TEXT, "--tasks", "mine", *common)
    failures = []
    try:
        forked(fetch, folder / "undisturbed", None, wait_briefly)
        fresh = forked(score, folder / "undisturbed", None, wait_briefly)
        if fresh.code:
            return Findings(cases, [f"undisturbed: {fresh.err!r}"])
        expected = contents(folder / "undisturbed" / OUT)
        for number in range(cases):
            place = folder / str(number)
            shutil.copytree(folder / "undisturbed/cache", place / "cache")
            if number % 3 == 2:
                server.files["book.txt"] = flipped(text, random.randrange(len(text) * 8))
                problem = _damaged_mirror((*fetch, "--mirror", f"{server.url}/files"), place)
                server.files["book.txt"] = text
            else:
                problem = _damaged_cache(score, place, random, expected)
            if problem:
                failures.append(f"case {number}: {problem} {place}")
            else:
                shutil.rmtree(place)
    finally:
        server.close()
    return Findings(cases, failures)


def _damaged_mirror(command: Sequence[str], place: Path) -> str | None:
    """Fetch from a mirror with a damaged file into an empty cache; return what went wrong."""
    shutil.rmtree(place / "cache")
    ended = forked(command, place, None, wait_briefly)
    if ended.code != 2 or len(ended.err.splitlines()) != 1:
        return f"the mirror's file: exit code {ended.code}: {ended.err!r}"
    is_cached = any((place / "cache/files").rglob("book.txt"))
    return "the mirror's damaged file is in the cache" if is_cached else None


def _damaged_cache(
    command: Sequence[str], place: Path, random: Random, expected: Mapping[str, bytes]
) -> str | None:
    """Damage a file of the cache, and score; return what went wrong."""
    files = [path for path in sorted((place / "cache").rglob("*")) if path.is_file()]
    changed = flip(random.choice([path for path in files if path.stat().st_size]), random)
    ended = forked(command, place, None, wait_briefly)
    if ended.code == 2 and len(ended.err.splitlines()) == 1:
        return None
    if ended.code:
        return f"{changed}: exit code {ended.code}: {ended.err[-600:]!r}"
    problem = difference(contents(place / OUT), expected)
    return problem and f"{changed}: {problem}"
