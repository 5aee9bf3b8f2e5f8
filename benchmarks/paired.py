"""Measure how often paired comparisons are right, by simulation.

    python benchmarks/paired.py                 # 1,000 pairs of each setting
    python benchmarks/paired.py --pairs 200 --seed 7
    python benchmarks/paired.py --only articles

A pair is two models' nats of one text. Both share the difficulty of the text, and each has
deviations of its own, of the kind that the setting names. The models are equal in one half of the
simulation; in the other half the second one needs 10 % fewer nats. Prints a Markdown table:

- Given: share of pairs that get an interval.
- Coverage: how often the given intervals contain the true difference, of equal and of unequal
  models.
- False: how often p <= 5 % (1,999 sign flips) for equal models. Found: how often for unequal ones.
- Naive: how often the percentile bootstrap over single entries excludes 0 for equal models.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from intervals import (
    AT_ONCE,
    RATE,
    Noise,
    Setting,
    Values,
    autoregressive,
    clusters_of,
    deviations,
    lognormal,
    moving_average,
    normal,
    pareto,
    regimes,
    sizes,
    student,
)
from machine import processor
from numpy.random import Generator
from tqdm import tqdm

from gpt2eval.metrics.paired import PairedDifference, compare_rates, compare_shares

SEED = 20190214
BETTER = 0.1  # share of the nats that the better model saves
FLIPS = 1999
NAIVE = 200  # resamples of the naive bootstrap
LEVEL = 0.05
HEADER = "| Setting | Units | Given | Coverage: equal, unequal | False | Found | Naive |"


class Pairs(NamedTuple):
    """A kind of pairs; with `lopsided`, only the second model has deviations of its own."""

    setting: Setting
    lopsided: bool = False


class Count(NamedTuple):
    """What one comparison counts for: an interval, one with the true difference, and p <= 5 %."""

    given: bool
    covered: bool
    found: bool
    resampled: int


HEAVY: dict[str, Noise] = {
    "normal": normal,
    "Student t3": partial(student, freedom=3),
    "lognormal 1": partial(lognormal, sigma=1),
    "lognormal 1.5": partial(lognormal, sigma=1.5),
    "Pareto 2.5": partial(pareto, index=2.5),
}


def kinds() -> Iterator[Pairs]:
    """Yield the settings."""
    for size in (20, 100):
        for name, noise in HEAVY.items():
            yield Pairs(Setting(f"{size} records, {name}", size, noise))
        skewed = Setting(f"{size} records, lognormal 1, of one model", size, HEAVY["lognormal 1"])
        yield Pairs(skewed, lopsided=True)
    for articles, size in ((20, 20), (40, 25), (200, 10)):
        for effect in (0.5, 1.0):
            name = f"{articles} articles of {size}, effect {effect}"
            yield Pairs(Setting(name, articles * size, normal, articles=size, effect=effect))
    heavy = "40 articles of 25, effect 1, Student t3"
    yield Pairs(Setting(heavy, 1000, HEAVY["Student t3"], articles=25, effect=1.0))
    for r, lines in ((0.5, (300, 1000)), (0.9, (300, 1000, 5000)), (0.97, (5000,))):
        for size in lines:
            noise = partial(autoregressive, r=r)
            yield Pairs(Setting(f"{size} lines, AR(1) {r}", size, noise, serial=True))
    streams: dict[str, tuple[int, Noise]] = {
        "AR(1) 0.9, lognormal": (2000, partial(autoregressive, r=0.9, shocks=HEAVY["lognormal 1"])),
        "independent, Student t3": (300, HEAVY["Student t3"]),
        "MA 20": (1500, partial(moving_average, window=20)),
        "regimes of 50 lines": (5000, partial(regimes, stay=0.98, level=1)),
    }
    for name, (size, noise) in streams.items():
        yield Pairs(Setting(f"{size} lines, {name}", size, noise, serial=True))
    for name in ("Student t3", "lognormal 1", "Pareto 2.5"):
        yield Pairs(Setting(f"5000 records, {name}", 5000, HEAVY[name]))


def draw(
    pairs: Pairs, random: Generator, rows: int, saved: float
) -> Iterator[tuple[Values, Values, Values]]:
    """Yield the nats of both models, and the units, of `rows` pairs."""
    setting = pairs.setting
    difficulty = RATE + deviations(setting, random, rows)
    first = difficulty.copy() if pairs.lopsided else difficulty + deviations(setting, random, rows)
    second = difficulty * (1 - saved) + deviations(setting, random, rows)
    units = sizes(setting, random, rows)
    yield from zip(units * first, units * second, units, strict=True)


def judged(difference: PairedDifference, truth: float) -> Count:
    """Return what a comparison counts for."""
    interval = difference.interval
    covered = interval is not None and interval[0] <= truth <= interval[1]
    found = difference.p is not None and difference.p <= LEVEL
    return Count(interval is not None, covered, found, difference.resampled)


def naive(change: Values, units: Values, random: Generator) -> bool:
    """Return whether the percentile bootstrap over single entries excludes a difference of 0."""
    drawn = random.integers(len(change), size=(NAIVE, len(change)), dtype=np.int32)
    low, high = np.quantile(change[drawn].sum(1) / units[drawn].sum(1), [0.025, 0.975])
    return not low <= 0 <= high


def measure(pairs: Pairs, number: int, seed: int) -> str:
    """Return a setting's row."""
    setting = pairs.setting
    random = np.random.default_rng([seed, *setting.name.encode()])
    clusters = clusters_of(setting)
    counts: dict[float, list[Count]] = {0.0: [], BETTER: []}
    rejected = 0
    for saved, found in counts.items():
        for first in tqdm(range(0, number, AT_ONCE), setting.name, leave=False, disable=None):
            for one, other, units in draw(pairs, random, min(AT_ONCE, number - first), saved):
                difference = compare_rates(
                    one, other, units, clusters, serial=setting.serial, permutations=FLIPS
                )
                found.append(judged(difference, -saved * RATE))
                rejected += not saved and naive(other - one, units, random)
    return row(setting.name, counts[0.0], counts[BETTER], f"{100 * rejected / number:.1f} %")


def measure_shares(records: int, number: int, seed: int) -> str:
    """Return the row of accuracies; each model alone is right in 5 % of the records, or 15 %."""
    random = np.random.default_rng([seed, records])
    counts: dict[float, list[Count]] = {0.0: [], BETTER: []}
    for gained, found in counts.items():
        # Both are right, only the first, only the second, none.
        shares = [0.4, 0.05, 0.05 + gained, 0.5 - gained]
        for _ in range(number):
            outcome = random.choice(4, size=records, p=shares)
            difference = compare_shares(outcome <= 1, outcome % 2 == 0)
            found.append(judged(difference, gained))
    return row(f"{records} records, accuracy", counts[0.0], counts[BETTER], "")


def row(name: str, equal: list[Count], unequal: list[Count], naive: str) -> str:
    """Return a row of the table."""
    given, covered, found = np.array([[c[:3] for c in equal], [c[:3] for c in unequal]]).sum(1).T
    number = len(equal)
    units = int(np.median([count.resampled for count in equal]))
    coverage = ", ".join(
        f"{100 * hits / all_given:.1f} %" if all_given >= number / 20 else "none"
        for hits, all_given in zip(covered, given, strict=True)
    )
    false, true = (f"{100 * rejected / number:.1f} %" for rejected in found)
    share = f"{100 * given[0] / number:.0f} %"
    return f"| {name} | {units} | {share} | {coverage} | {false} | {true} | {naive} |"


def main() -> None:
    """Print the table."""
    summary, _, details = (__doc__ or "").partition("\n\n")
    parser = ArgumentParser(
        description=summary, epilog=details, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=1000, help="of each setting (%(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="(%(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="settings whose names have it")
    arguments = parser.parse_args()
    jobs = [(pairs.setting.name, partial(measure, pairs)) for pairs in kinds()] + [
        (f"{records} records, accuracy", partial(measure_shares, records))
        for records in (20, 100, 5000)
    ]
    print(f"{arguments.pairs} pairs of each setting, seed {arguments.seed}; {processor()}\n")
    print(HEADER)
    print("|---" * HEADER.count(" | ") + "|---|", flush=True)
    chosen = [job for name, job in jobs if arguments.only in name]
    for job in tqdm(chosen, "settings", disable=None):
        line = job(arguments.pairs, arguments.seed)
        tqdm.write(line)


if __name__ == "__main__":
    main()
