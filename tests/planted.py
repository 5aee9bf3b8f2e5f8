"""Results as another model would have them: copies of a run with other losses and answers."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from gpt2eval.metrics import signature
from gpt2eval.metrics.clusters import Clusters
from gpt2eval.metrics.metrics import measure
from gpt2eval.metrics.result import Result
from gpt2eval.report import store
from gpt2eval.report.measured import Measured, read_measured
from gpt2eval.scoring import journal
from gpt2eval.types import Tally, Units

Change = Callable[[int, Tally], Tally]


def plant(source: Path, out: Path, name: str, change: Change, tokenizer: str = "bytes") -> Path:
    """Write every result below `source` as the model `name` below `out`, its records changed."""
    for measured in read_measured(source):
        parts = [change(number, part) for number, part in enumerate(measured.parts)]
        write(out, name, measured, parts, measured.independent, tokenizer)
    return out / name


def write(
    out: Path,
    name: str,
    measured: Measured,
    parts: list[Tally],
    independent: Clusters,
    tokenizer: str = "bytes",
) -> Path:
    """Write a result with other tallies, and its journal; return its folder."""
    folder = out / name / measured.result.full_name
    shutil.copytree(measured.path.parent / "journal", folder / "journal", dirs_exist_ok=True)
    kept = journal.of_folder(folder / "journal")
    assert kept
    kept.files.write_tallies(parts)
    kept.files.write_clusters(independent.arrays())
    store.write_result(folder, renamed(measured.result, name, parts, independent, tokenizer))
    return folder


def renamed(
    result: Result, name: str, parts: list[Tally], independent: Clusters, tokenizer: str
) -> Result:
    """The result of a model of another name, from other tallies."""
    metrics = {}
    for key, metric in result.metrics.items():
        estimate = measure(key, parts, metric.unit, independent)
        fields = signature.read(metric.signature)
        fields |= {"unit": f"{metric.unit}@{estimate.units}", "model": f"{name}@0"}
        if tokenizer != fields["tok"]:
            other_start = {"start": "<other>"} if fields["start"] != "none" else {}
            fields |= {"tok": tokenizer, **other_start}
        metrics[key] = estimate.signed(signature.written(fields))
    model = replace(result.model, name=name, label=name, tokenizer=tokenizer)
    return replace(result, metrics=metrics, tally=Tally.total(parts), model=model)


def records(count: int, seed: int = 0) -> list[Tally]:
    """Synthetic records: heavy-tailed losses of about 3 nats per word, every second one correct."""
    random = np.random.default_rng(seed)
    words = random.integers(5, 40, count)
    nats = words * 3 * random.lognormal(0, 0.3, count)
    return [
        Tally(
            nats=float(loss),
            tokens=2 * number,
            units=Units(number, 0, 6 * number, 6 * number, number, number),
            records=1,
            correct=place % 2,
        )
        for place, (loss, number) in enumerate(zip(nats, words.tolist(), strict=True))
    ]


def worse(share: float, noise: float = 0.0, seed: int = 1) -> Change:
    """A change that raises the perplexity per word by a share, with noise of nats per word."""
    random = np.random.default_rng(seed)

    def change(number: int, part: Tally) -> Tally:
        words = part.units.words + part.units.lines
        nats = part.nats + words * (np.log1p(share) + noise * random.standard_normal())
        return replace(part, nats=float(nats))

    return change
