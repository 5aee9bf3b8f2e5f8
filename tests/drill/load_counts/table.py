"""A folder with the results of many models."""

import csv
import io
from dataclasses import replace
from pathlib import Path

from drill.load_counts import command
from drill.part import Findings
from gpt2eval import Result
from gpt2eval.metrics.consistency import value_of
from gpt2eval.report.result_file import read_result, to_bytes

FORMATS = ("markdown", "terminal", "csv", "csv-tidy", "json")


def run(cases: int, seed: int, folder: Path) -> Findings:
    """Multiply the results of a toy model on the paper's tasks, and print them in every format.

    1,000 models need less than 5 CPU seconds as Markdown on an idle core; the limit is three
    times that, since a drill may run on a slow machine.
    """
    arguments = ("--model", "toy:uniform-bytes", "--tasks", "gpt2-paper", "--data", "demo")
    one = command.run(folder, "run", *arguments, "--out", "one")
    failures = one.failures("run", 60, 1000)
    if failures:
        return Findings(cases, failures)
    _multiply(folder / "one", folder / "many", cases)
    figures: dict[str, str] = {}
    for form in FORMATS:
        ran = command.run(folder, "table", "many", "--format", form)
        failures += ran.failures(form, 10 + 0.015 * cases, 300 + 0.3 * cases)
        failures += [
            f"{form}: no {name}"
            for name in (_name(0), _name(cases - 1))
            if name.split("/")[-1] not in ran.output
        ]
        if form == "csv" and _rows(ran.output) != cases:
            failures.append(f"csv: {_rows(ran.output):,} models; expected {cases:,}")
        figures[form] = f"{ran.seconds:.1f} s"
    return Findings(cases, failures, figures)


def _name(number: int) -> str:
    return f"run-{number // 100}/checkpoint-{number:05d}"


def _rows(text: str) -> int:
    rows = csv.DictReader(io.StringIO(text))
    return sum(row["model"].startswith("run-") for row in rows)


def _multiply(one: Path, many: Path, count: int) -> None:
    """Write each result below `one` for a number of models, whose numbers differ."""
    results = [read_result(path) for path in sorted(one.rglob("result.json"))]
    for number in range(count):
        for task, result in enumerate(results):
            folder = many / f"model-{number:05d}" / str(task)
            folder.mkdir(parents=True)
            content = to_bytes(_of_model(result, number, 1 + number / count))
            (folder / "result.json").write_bytes(content)


def _of_model(result: Result, number: int, factor: float) -> Result:
    """Return a result as if it were of another model, with a multiple of its loss."""
    tally = replace(result.tally, nats=result.tally.nats * factor)
    metrics = {
        name: replace(
            metric,
            value=value_of(name, tally, metric.units),
            interval=None,
            signature=metric.signature.replace(result.model.name, _name(number)),
        )
        for name, metric in result.metrics.items()
    }
    model = replace(result.model, name=_name(number))
    return replace(result, tally=tally, metrics=metrics, model=model, nll_sha256=f"{number:064x}")
