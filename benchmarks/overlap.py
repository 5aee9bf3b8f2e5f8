"""How fast training text goes into the filter on one thread, beside a loop in plain Python, and how much memory it takes.

OMP_NUM_THREADS=1 python benchmarks/overlap.py FILES [--false-positives 1e-8] [--naive 2000000]
OMP_NUM_THREADS=1 python benchmarks/overlap.py --generate 4 --at /tmp/text.txt    # GB of text, removed afterwards
"""

import argparse
import re
import resource
import time
from itertools import chain, islice
from pathlib import Path

import numpy as np

from gpt2eval.data import documents
from gpt2eval.overlap import index, ngrams


def generate(path: Path, size: int) -> None:
    """Text of words drawn by a Zipf-like law from 200,000, ten to a sentence: nearly every 8-gram is a new one."""
    random = np.random.default_rng(0)
    vocabulary = np.array(
        [word[: 2 + i % 8] for i, word in enumerate(ngrams.random_text(200_000).split())]
    )
    with path.open("w", encoding="ascii") as file:
        while file.tell() < size:
            drawn = vocabulary[(200_000 ** random.random(200_000)).astype(int) - 1].reshape(-1, 10)
            file.write("".join(f"{' '.join(row)}.\n" for row in drawn.tolist()).title())


def naive(files: list[documents.Location], most: int) -> tuple[float, int]:
    """Seconds for tuples of eight words in a Python set, at most so many; and how many words."""
    pieces = chain.from_iterable(
        chain.from_iterable(documents.stream_documents(file) for file in files)
    )
    started, known, last, count = time.perf_counter(), set[tuple[str, ...]](), list[str](), 0
    for piece in pieces:
        words = last + list(islice(re.findall(r"[a-z0-9]+", piece.lower()), most - count))
        known.update(zip(*(words[i:] for i in range(8)), strict=False))
        count, last = count + len(words) - len(last), words[-7:]
        if count >= most:
            break
    return time.perf_counter() - started, count


def main() -> None:
    """Print words a second and the peak of memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--false-positives", type=float, default=1e-8)
    parser.add_argument(
        "--naive",
        type=int,
        default=2_000_000,
        help="words for the loop in Python, which keeps them all",
    )
    parser.add_argument("--generate", type=float, help="GB of text to make")
    parser.add_argument("--at", type=Path, default=Path("overlap-benchmark.txt"))
    given = parser.parse_args()
    if given.generate:
        generate(given.at, int(given.generate * 1e9))
    try:
        files = documents.training_files(given.files or [given.at])
        size = sum(file.path.stat().st_size for file in files)
        started, cpu = time.perf_counter(), time.process_time()
        made = index.build_index(files, given.false_positives)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        bits = made.filter.bits / 8
        print(
            f"{size / 1e9:.2f} GB of text, {made.ngrams / 1e6:.1f} M 8-grams, filter of {bits / 1e9:.2f} GB"
        )
        wall, alone = made.ngrams / seconds / 1e6, made.ngrams / cpu / 1e6
        print(f"gpt2eval: {seconds:.1f} s, {wall:.2f} M words/s ({alone:.2f} by CPU time)")
        print(f"peak RSS {peak / 1e9:.2f} GB, {(peak - bits) / 1e9:.2f} GB besides the filter")
        took, count = naive(files, given.naive)
        print(
            f"plain Python, a set of tuples: {count / 1e6:.1f} M words, {count / took / 1e6:.2f} M words/s"
        )
    finally:
        if given.generate:
            given.at.unlink()


if __name__ == "__main__":
    main()
