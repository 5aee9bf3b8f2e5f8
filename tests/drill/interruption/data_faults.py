"""One changed byte of a data set: between two runs, in the cache, and at the mirror."""

import shutil
from collections.abc import Callable
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

import signal

LINES = 40
TEXT = ("run", "--model", "toy:unigram", "--batch-size", "1", "--limit", "4", "--out", OUT)


def between_runs(cases: int, seed: int, folder: Path) -> Findings:
    """Change a byte of a local file, and resume: as a run on the changed file alone."""
    from gpt2eval.config.catalog import DEMO

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
            server.files["book.txt"] = text
            if number % 3 == 2:  # the mirror, with nothing in the cache
                shutil.rmtree(place / "cache")
                server.files["book.txt"] = flipped(text, random.randrange(len(text) * 8))
                changed = "the mirror's file"
                ended = forked((*fetch, "--mirror", f"{server.url}/files"), place, None, wait_briefly)
                is_right = ended.code == 2 and len(ended.err.splitlines()) == 1
                problem = None if is_right else f"fetched: {ended.code} {ended.err!r}"
                if problem is None and [*(place / "cache/files").rglob("book.txt")]:
                    problem = "a damaged file is in the cache"
            else:
                files = [path for path in (place / "cache").rglob("*") if path.stat().st_size]
                path = random.choice([path for path in files if path.is_file()])
                changed = flip(path, random)
                ended = forked(score, place, None, wait_briefly)
                is_refused = ended.code == 2 and len(ended.err.splitlines()) == 1
                problem = f"{ended.code} {ended.err!r}" if ended.code else None
                problem = None if is_refused else problem
                if ended.code == 0:
                    problem = difference(contents(place / OUT), expected)
            if problem:
                failures.append(f"case {number}, {changed}: {problem} {place}")
            else:
                shutil.rmtree(place)
    finally:
        server.close()
    return Findings(cases, failures)
