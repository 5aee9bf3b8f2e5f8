"""Measure how often the 95 % intervals of macro averages cover the true average, by simulation.

    python benchmarks/macro_intervals.py                  # 300 samples of each setting
    python benchmarks/macro_intervals.py --samples 1000

Every sample is a text whose groups have known rates. An interval may be refused; coverage is that
of the intervals that are given. Prints a Markdown table; the seed is fixed.
"""

import math
from argparse import ArgumentParser
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from gpt2eval.metrics.clusters import Clusters
from gpt2eval.metrics.groups import macro_average
from gpt2eval.types import Tally, Units

SEED = 20261130
BYTES = 5  # of a word
WORDS = (5, 50)  # of a document


class Setting(NamedTuple):
    """The number of documents and the nats per word of each group; `shape` of a gamma variate."""

    name: str
    sizes: tuple[int, ...]
    rates: tuple[float, ...]
    shape: float = 8.0


def alike(groups: int, documents: int, shape: float = 8.0) -> Setting:
    """Return groups of equal size whose rates are spread from 1.5 to 4 nats per word."""
    rates = tuple(np.linspace(1.5, 4.0, groups).tolist())
    return Setting(f"{groups} of {documents}", (documents,) * groups, rates, shape)


UNLIKE = ((60, 25, 200, 80, 40), (2.0, 2.5, 3.0, 4.0, 1.5))
SETTINGS = (
    Setting("5 of 25 to 200", *UNLIKE),
    Setting("5 of 25 to 200, exponential", *UNLIKE, 1.0),
    alike(3, 30),
    alike(20, 10, 3.0),
    alike(100, 10),
    alike(100, 30),
    alike(40, 3),
    alike(100, 5),
)


def sample(random: Generator, size: int, rate: float, shape: float) -> list[Tally]:
    """Draw the tallies of a group's documents."""
    words = random.integers(*WORDS, size).tolist()
    nats = random.gamma(shape, rate / shape, size).tolist()
    return [
        Tally(each * count, count, Units(words=count, bytes=BYTES * count), records=1)
        for each, count in zip(nats, words, strict=True)
    ]


def coverage(setting: Setting, metric: str, samples: int) -> tuple[float, float]:
    """Return the shares of samples with an interval, and of intervals that contain the truth."""
    random = np.random.default_rng(SEED)
    count = len(setting.rates)
    truth = sum(map(math.exp, setting.rates)) / count
    if metric == "bpb":
        truth = sum(setting.rates) / count / BYTES / math.log(2)
    given = covered = 0
    for _ in range(samples):
        groups = [
            sample(random, size, rate, setting.shape)
            for size, rate in zip(setting.sizes, setting.rates, strict=True)
        ]
        found = macro_average(metric, "word", groups, Clusters("document"))
        if found and found.interval:
            given += 1
            covered += found.interval[0] <= truth <= found.interval[1]
    return given / samples, covered / max(given, 1)


def main() -> None:
    """Print a row per setting."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=300)
    samples = parser.parse_args().samples
    print("| Groups | bits per byte: given | covered | perplexity: given | covered |")
    print("|---|---|---|---|---|")
    for setting in SETTINGS:
        cells: list[str] = []
        for metric in ("bpb", "ppl"):
            given, covered = coverage(setting, metric, samples)
            cells += [f"{given:.0%}", f"{covered:.1%}" if given else ""]
        print(f"| {setting.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
