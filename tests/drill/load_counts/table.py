"""A folder with the results of many models."""

import csv
import io
import json
from pathlib import Path

from drill.load_counts import command
from drill.part import Findings

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
    paths = sorted(one.rglob("result.json"))
    texts = {path.parent.name: path.read_text("utf-8") for path in paths}
    for number in range(count):
        for task, text in texts.items():
            document = json.loads(text.replace("toy:uniform-bytes", _name(number)))
            document["nll_sha256"] = f"{number:064x}"
            for metric in document["metrics"].values():
                metric["value"] *= 1 + number / count
            folder = many / f"model-{number:05d}" / task
            folder.mkdir(parents=True)
            (folder / "result.json").write_text(json.dumps(document), "utf-8")
