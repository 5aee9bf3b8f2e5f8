"""Results on disk: every format, baselines, checkpoints of a training run."""

import json
import math
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from drill import mutations
from drill.attempts import Attempt
from drill.data_files.kinds import FEWER, part
from gpt2eval.config.loader import load_suite
from gpt2eval.metrics.result import MetricValue
from gpt2eval.report.gate.baseline import read_baseline
from gpt2eval.report.results import Results
from gpt2eval.report.store import read_results
from gpt2eval.report.table import render
from gpt2eval.training.history import read_history
from gpt2eval.types import Tally

TESTS = Path(__file__).parents[2]
COMMITTED = TESTS.parent / "results/demo"
TABLES = ("markdown", "json", "csv", "latex")
OLDER = ("result.format0.json", "result.format1.json", "result.format2.json")


@cache
def _content(name: str) -> bytes:
    path = COMMITTED / name if (COMMITTED / name).exists() else TESTS / "older_formats" / name
    return path.read_bytes()


def read_result(path: Path) -> Results:
    results = read_results(path)
    form = TABLES[path.stat().st_size % len(TABLES)]
    render(results, load_suite("gpt2-paper"), form, mixed=True)
    return results


def result_problem(path: Path, read: Any) -> str | None:
    """Say which metric of an accepted result does not follow from its sums, computed anew."""
    problems = (
        _metric_problem(metric, result.tally)
        for result in read
        for metric in result.metrics.values()
    )
    return next(filter(None, problems), None)


def _metric_problem(metric: MetricValue, tally: Tally) -> str | None:
    """Compute a metric by the definition in the paper."""
    units = tally.units
    counts = {
        "word": units.words,
        "word+eol": units.words + units.lines,
        "char": units.chars,
        "byte": units.bytes,
        "token": tally.tokens,
        "record": tally.records,
    }
    count = counts[metric.unit]
    values = {
        "ppl": math.exp(min(tally.nats / count, 700)),
        "nats_per_token": tally.nats / count,
        "bpb": tally.nats / count / math.log(2),
        "byte_ppl": math.exp(min(tally.nats / count, 700)),
        "bpc": tally.nats / count / math.log(2),
        "acc": 100 * tally.correct / count,
        "acc_unfiltered": 100 * tally.unfiltered / count,
    }
    value = values[metric.name]
    if metric.units != count or not math.isclose(metric.value, value, rel_tol=1e-6):
        return f"{metric.name} is {metric.value}, its sums give {value}"
    return None


@cache
def _baseline() -> bytes:
    """Return the baseline of a demo result of few records."""
    import tempfile

    from gpt2eval import demo, evaluate
    from gpt2eval.report.gate.baseline import write_baseline
    from gpt2eval.report.measured import read_measured

    with tempfile.TemporaryDirectory() as out:
        evaluate("toy:uniform-bytes", "lambada", data=demo.data(), out=out)
        path = Path(out) / "baseline.json"
        write_baseline(path, read_measured(out))
        return path.read_bytes()


def _number_of_records(path: Path, read: Any) -> str | None:
    """Say whether an accepted baseline has results that its records do not add up to."""
    stated = json.loads(path.read_bytes())["results"]
    if len(read) != len(stated):
        return f"{len(read)} results, the file has {len(stated)}"
    if any(len(one.parts) != entry["entries"] for one, entry in zip(read, stated, strict=True)):
        return "another number of records than the file's"
    return None


def _checkpoint() -> bytes:
    content = {
        "model": "run/checkpoint-500",
        "path": "/tmp/run/checkpoint-500",
        "series": "run",
        "step": 500,
        "modified_ns": 1700000000000000000,
        "files": {"model.safetensors": [1234, 1700000000000000000]},
        "settings": {"context": 1024, "stride": None, "dtype": "float32"},
        "tasks": {"ptb": "ab" * 32},
    }
    return json.dumps(content).encode()


def _of(content: bytes, random: Random) -> bytes:
    return mutations.of_json(content, random, [_content("lambada/result.json")])


PARTS = (
    part(
        "result.json",
        [
            Attempt(
                f"{number}/result.json",
                lambda random, name=name: _of(_content(name), random),
                read_result,
                result_problem,
                ("result.json",),
            )
            for number, name in enumerate(("lambada/result.json", "ptb/result.json", *OLDER))
        ],
    ),
    part(
        "baseline",
        [
            Attempt(
                "baseline.json",
                lambda random: mutations.of_json(_baseline(), random),
                read_baseline,
                _number_of_records,
            )
        ],
        full=FEWER,
    ),
    part(
        "checkpoint.json",
        [
            Attempt(
                "run/checkpoint.json",
                lambda random: mutations.of_json(_checkpoint(), random),
                lambda path: read_history(path.parents[1]),
                mentions=("checkpoint.json",),
            )
        ],
        full=FEWER,
    ),
)
