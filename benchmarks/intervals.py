"""Measure how often the 95 % intervals cover the true rate, by simulation.

    python benchmarks/intervals.py                   # 2,000 samples of each setting
    python benchmarks/intervals.py --samples 1000
    python benchmarks/intervals.py --quick           # 200 samples

Every sample is a test text whose true rate is known. An interval may be refused, because there are
fewer than 30 independent units; coverage is that of the intervals that are given. Settings of 1,000
and more independent records get a quarter of the samples. Prints a Markdown table; the seed is
fixed.
"""

from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from machine import processor
from numpy.random import Generator
from numpy.typing import NDArray

from gpt2eval.metrics.resampling import rate_interval

RATE = 4.0  # nats per unit
SEED = 20190214
AT_ONCE = 100  # samples drawn together

Values = NDArray[np.float64]
# Draws `rows` sequences of `size` deviations from the rate, each with mean 0.
Noise = Callable[[Generator, int, int], Values]


class Setting(NamedTuple):
    """A kind of text: entries with noise around the rate, and how they form units.

    `articles`: mean number of entries of an article; 0 if there are none. `spread`: the standard
    deviation of the logarithm of the entries' sizes.
    """

    name: str
    size: int
    noise: Noise
    serial: bool = False
    articles: int = 0
    effect: float = 0.0
    spread: float = 0.5


def normal(random: Generator, rows: int, size: int) -> Values:
    """Draw normal noise."""
    return random.normal(size=(rows, size))


def lognormal(random: Generator, rows: int, size: int, *, sigma: float) -> Values:
    """Draw lognormal noise, centred."""
    return random.lognormal(0, sigma, (rows, size)) - np.exp(sigma**2 / 2)


def pareto(random: Generator, rows: int, size: int, *, index: float) -> Values:
    """Draw Pareto noise of a tail index, centred."""
    return random.pareto(index, (rows, size)) - 1 / (index - 1)


def student(random: Generator, rows: int, size: int, *, freedom: float) -> Values:
    """Draw Student's noise."""
    return random.standard_t(freedom, (rows, size))


def autoregressive(
    random: Generator, rows: int, size: int, *, r: float, shocks: Noise = normal
) -> Values:
    """Draw an AR(1) process with coefficient r."""
    burn = int(10 / (1 - abs(r)))
    values = shocks(random, rows, size + burn)
    for i in range(1, size + burn):
        values[:, i] += r * values[:, i - 1]
    return values[:, burn:] * np.sqrt(1 - r**2)


def moving_average(random: Generator, rows: int, size: int, *, window: int) -> Values:
    """Draw the means of a sliding window over normal noise."""
    sums = np.cumsum(random.normal(size=(rows, size + window)), axis=1)
    return (sums[:, window:] - sums[:, :-window]) / np.sqrt(window)


def regimes(random: Generator, rows: int, size: int, *, stay: float, level: float) -> Values:
    """Draw two regimes of +-level, each kept with probability `stay`, and normal noise."""
    switches = random.random((rows, size)) > stay
    switches[:, 0] = random.random(rows) < 0.5
    return level * (1 - 2 * (switches.cumsum(1) % 2)) + random.normal(size=(rows, size))


def seasonal(random: Generator, rows: int, size: int, *, period: int, r: float) -> Values:
    """Draw a sine of random phase plus an AR(1) process."""
    phase = random.random((rows, 1))
    wave = np.sin(2 * np.pi * (np.arange(size) / period + phase))
    return 1.5 * wave + autoregressive(random, rows, size, r=r)


def settings() -> Iterator[Setting]:
    """Yield the settings."""
    for size in (60, 200):
        name = f"{size} articles, effect twice the noise"
        yield Setting(name, 40 * size, normal, articles=40, effect=2)
    for r in (0.9, 0.97):
        noise = partial(autoregressive, r=r)
        yield Setting(f"60 articles, AR(1) {r} in and across", 3000, noise, articles=50)
    for size, spread in ((60, 1.0), (100, 1.5)):
        yield Setting(f"{size} records, sizes' log sd {spread}", size, normal, spread=spread)
    heavy: dict[str, Noise] = {
        "normal": normal,
        "Student t3": partial(student, freedom=3),
        "lognormal 1": partial(lognormal, sigma=1),
        "lognormal 1.5": partial(lognormal, sigma=1.5),
        "Pareto 2.5": partial(pareto, index=2.5),
    }
    for name, noise in heavy.items():
        for size in (20, 30, 50, 100, 1000, 5000):
            yield Setting(f"{size} records, {name}", size, noise, spread=0)
    for r, sizes in ((0.97, (300, 2000, 5000)), (0.9, (300, 1000, 5000)), (0.5, (300,))):
        for size in sizes:
            noise = partial(autoregressive, r=r)
            yield Setting(f"{size} lines, AR(1) {r}", size, noise, serial=True)
    skewed = partial(autoregressive, r=0.9, shocks=heavy["lognormal 1"])
    streams: dict[str, tuple[int, Noise]] = {
        "AR(1) 0.9, lognormal": (2000, skewed),
        "independent": (300, normal),
        "independent, lognormal 1": (300, heavy["lognormal 1"]),
        "MA 20": (1500, partial(moving_average, window=20)),
        "regimes of 50 lines": (5000, partial(regimes, stay=0.98, level=1)),
        "regimes of 20 lines, weak": (2000, partial(regimes, stay=0.95, level=0.5)),
        "period 20": (1000, partial(seasonal, period=20, r=0)),
        "period 50, AR(1) 0.5": (3000, partial(seasonal, period=50, r=0.5)),
    }
    for name, (size, noise) in streams.items():
        yield Setting(f"{size} lines, {name}", size, noise, serial=True)


def samples(setting: Setting, random: Generator, rows: int) -> Iterator[tuple[Values, Values]]:
    """Yield nats and units of `rows` samples."""
    noise = deviations(setting, random, rows)
    units = sizes(setting, random, rows)
    yield from zip(units * (RATE + noise), units, strict=True)


def deviations(setting: Setting, random: Generator, rows: int) -> Values:
    """Draw the deviations of `rows` samples from the rate, article effects included."""
    noise = setting.noise(random, rows, setting.size)
    if setting.articles:
        effects = random.normal(size=(rows, setting.size // setting.articles))
        noise += setting.effect * np.repeat(effects, setting.articles, axis=1)
    return noise


def sizes(setting: Setting, random: Generator, rows: int) -> Values:
    """Draw the units of `rows` samples."""
    return np.ceil(20 * random.lognormal(0, setting.spread, (rows, setting.size)))


def clusters_of(setting: Setting) -> NDArray[np.int64] | None:
    """Return the article of each entry; None without articles."""
    return np.arange(setting.size) // setting.articles if setting.articles else None


def measure(setting: Setting, reps: int) -> str:
    """Return a setting's row: units, share of given intervals, coverage, misses, half-width."""
    if setting.size >= 1000 and not setting.serial and not setting.articles:
        reps = -(-reps // 4)
    random = np.random.default_rng([SEED, *setting.name.encode()])
    clusters = clusters_of(setting)
    given: list[tuple[float, float]] = []
    resampled: list[int] = []
    for first in range(0, reps, AT_ONCE):
        for nats, units in samples(setting, random, min(AT_ONCE, reps - first)):
            found = rate_interval(nats, units, clusters, serial=setting.serial)
            resampled.append(found.resampled)
            if found.interval:
                given.append(found.interval)
    count = f"| {setting.name} | {int(np.median(resampled))} | {100 * len(given) / reps:.0f} % |"
    if len(given) < reps / 20:
        return f"{count} none |  |  |"
    low, high = np.array(given).T
    below, above = np.mean(high < RATE), np.mean(low > RATE)
    half = np.median(high - low) / 2
    return (
        f"{count} {100 * (1 - below - above):.1f} % | {100 * below:.1f} %, {100 * above:.1f} % "
        f"| {half:.3f} |"
    )


def main() -> None:
    """Print the table."""
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    reps = 200 if arguments.quick else arguments.samples
    print(f"{reps} samples of each setting, seed {SEED}; {processor()}\n", flush=True)
    print("| Setting | Units | Given | Coverage | Too low, too high | Half-width |")
    print("|---|---|---|---|---|---|", flush=True)
    with ProcessPoolExecutor(2) as pool:
        for row in pool.map(partial(measure, reps=reps), settings()):
            print(row, flush=True)


if __name__ == "__main__":
    main()
