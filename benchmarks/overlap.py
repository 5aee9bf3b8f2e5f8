"""Measure speed and memory of indexing training text on one thread, beside a loop in plain Python.

OMP_NUM_THREADS=1 python benchmarks/overlap.py FILES [--false-positives 1e-8] [--naive 2000000]
OMP_NUM_THREADS=1 python benchmarks/overlap.py --generate 4 --at /tmp/text.txt

`--generate` takes GB of text, which is deleted at the end.
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
    """Write text of ten-word sentences from 200,000 words with a Zipf-like distribution.

    Nearly every 8-gram is new, which is the worst case for the filter.
    """
    random = np.random.default_rng(0)
    vocabulary = np.array(
        [word[: 2 + i % 8] for i, word in enumerate(ngrams.random_text(200_000).split())]
    )
    with path.open("w", encoding="ascii") as file:
        while file.tell() < size:
            # N ** u with uniform u has a density proportional to 1 / rank.
            ranks = (200_000 ** random.random(200_000)).astype(int)
            sentences = vocabulary[ranks - 1].reshape(-1, 10).tolist()
            file.write("".join(f"{' '.join(words)}.\n" for words in sentences).title())


def naive(files: list[documents.Location], most: int) -> tuple[float, int]:
    """Put tuples of eight words into a Python set; return the seconds and the number of words."""
    texts = (documents.stream_documents(file) for file in files)
    pieces = chain.from_iterable(chain.from_iterable(texts))
    known: set[tuple[str, ...]] = set()
    last: list[str] = []  # the last seven words, with which the next piece's first 8-grams begin
    count = 0
    wall_start = time.perf_counter()
    for piece in pieces:
        words = last + list(islice(re.findall(r"[a-z0-9]+", piece.lower()), most - count))
        known.update(zip(*(words[i:] for i in range(8)), strict=False))
        count += len(words) - len(last)
        last = words[-7:]
        if count >= most:
            break
    return time.perf_counter() - wall_start, count


def main() -> None:
    """Print words per second and peak memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--false-positives", type=float, default=1e-8)
    parser.add_argument(
        "--naive",
        type=int,
        default=2_000_000,
        help="words for the loop in Python, which stores them all",
    )
    parser.add_argument("--generate", type=float, help="GB of text to generate")
    parser.add_argument("--at", type=Path, default=Path("overlap-benchmark.txt"))
    args = parser.parse_args()
    if args.generate:
        generate(args.at, int(args.generate * 1e9))
    try:
        files = documents.training_files(args.files or [args.at])
        size = sum(file.path.stat().st_size for file in files)
        wall_start = time.perf_counter()
        cpu_start = time.process_time()
        built = index.build_index(files, args.false_positives)
        wall = time.perf_counter() - wall_start
        cpu = time.process_time() - cpu_start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # reported in KiB
        filter_bytes = built.filter.bits / 8
        millions = built.ngrams / 1e6
        print(
            f"{size / 1e9:.2f} GB of text, {millions:.1f} M 8-grams, "
            f"filter of {filter_bytes / 1e9:.2f} GB"
        )
        print(
            f"gpt2eval: {wall:.1f} s, {millions / wall:.2f} M words/s "
            f"({millions / cpu:.2f} by CPU time)"
        )
        print(
            f"peak RSS {peak / 1e9:.2f} GB, {(peak - filter_bytes) / 1e9:.2f} GB without the filter"
        )
        seconds, count = naive(files, args.naive)
        print(
            f"plain Python, a set of tuples: {count / 1e6:.1f} M words, "
            f"{count / seconds / 1e6:.2f} M words/s"
        )
    finally:
        if args.generate:
            args.at.unlink()


if __name__ == "__main__":
    main()
