"""Measure the speed of gpt2eval, lm-evaluation-harness and the Hugging Face perplexity recipe.

    python benchmarks/speed.py
    python benchmarks/speed.py --text book.txt --tokenizer GPT2_TOKENIZER_FOLDER --dtype bfloat16

All sides use the same model files, text, machine and number of threads, and take turns. Each turn
is a separate process that loads the model, warms up, and performs a task once under the clock. The
rate of the machine's own matrix multiplication is measured in every round as well. The tables go
between their markers in `benchmarks/README.md`, which defines the columns. This script starts the
processes; of gpt2eval it imports the formula of FLOPs only, and never torch, so that their memory
is not counted for a side.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import machine
import ratios
import speed_report
from arguments import HERE, ROOT, SHAPE, TASKS, parse_arguments

OUT = ROOT / "build" / "benchmark"
BATCHES = {"cbt": (1, 10), "lambada": (1, 16), "disjoint": (1,), "stride32": (1,)}
GPU_BATCHES = {"cbt": (10, 40), "lambada": (16, 128), "disjoint": (1, 8), "stride32": (1, 8)}
STREAMS = ("disjoint", "stride32")
AGREE = 1e-3  # the largest accepted relative difference between totals in float32


class Side(NamedTuple):
    """One program on one task: its label, script, interpreter, dtype and batch size."""

    label: str
    script: str
    python: str
    dtype: str
    batch: int = 1


def prepare(args: argparse.Namespace, model: Path) -> dict[str, int]:
    """Write the model and the work of every task; return the model's shape."""
    data = ROOT / "gpt2eval" / "demo" / "data"
    text = args.text or sorted(
        path
        for kind in ("cbt_*.txt", "*.tokens", "lm1b.txt", "ptb.txt")
        for path in data.glob(kind)
    )
    items = [f"{task}={getattr(args, task)}" for task in TASKS if getattr(args, task) > 0]
    command = ["--model", model, "--text", *text, "--items", *items, "--out", OUT]
    command += [] if args.model else ["--shape", args.shape]
    command += ["--tokenizer", args.tokenizer] if args.tokenizer else []
    run_script(
        sys.executable,
        HERE / "prepare.py",
        command,
        machine.environment(os.cpu_count() or 1, ours=True),
    )
    return json.loads((OUT / "model.json").read_text())


def sides_of(task: str, args: argparse.Namespace, peers: str) -> Iterator[Side]:
    """Yield the sides that perform a task, in the order of a round."""
    yield Side(ratios.OURS, "run_ours.py", sys.executable, args.dtype)
    if "lm_eval" in args.against:
        for batch in (GPU_BATCHES if args.gpu else BATCHES)[task]:
            yield Side(
                f"{ratios.LM_EVAL}, batch {batch}",
                "run_lm_eval.py",
                peers,
                args.peer_dtype,
                batch,
            )
    if "hf" in args.against and task in STREAMS:
        yield Side(ratios.HF, "run_hf.py", sys.executable, args.peer_dtype)


def run(side: Side, task: str, args: argparse.Namespace, model: Path) -> dict[str, Any]:
    """Run one side of one round in a separate process."""
    job = {
        "task": task,
        "work": str(OUT / f"{task}.json"),
        "model": str(model),
        "dtype": side.dtype,
        "device": "cuda" if args.gpu else "cpu",
        "threads": args.threads,
        "batch": side.batch,
    }
    (OUT / "job.json").write_text(json.dumps(job))
    answer = OUT / "answer.json"
    answer.unlink(missing_ok=True)
    variables = machine.environment(args.threads, ours=side.script != "run_lm_eval.py")
    run_script(side.python, HERE / "sides" / side.script, [OUT / "job.json", answer], variables)
    return json.loads(answer.read_text())


def run_script(python: str, script: Path, arguments: list, variables: dict[str, str]) -> None:
    """Run a script; if it fails, exit with the end of its error output."""
    process = subprocess.run(
        [python, script, *arguments], env=variables, capture_output=True, text=True
    )
    if process.returncode:
        raise SystemExit(f"{script.name} failed ({process.returncode}):\n{process.stderr[-3000:]}")


def rounds(args: argparse.Namespace, model: Path, tasks: list[str]) -> tuple[dict, list]:
    """Run all sides in turns, `--repeats` times.

    Each measurement is saved in `build/benchmark/runs.json` at once.
    """
    peers = str(machine.peers_python(args.peers)) if "lm_eval" in args.against else ""
    runs: dict[str, dict[str, list]] = {task: {} for task in tasks}
    gemm = []
    for number in range(1, args.repeats + 1):
        gemm.append(
            run(Side("GEMM", "run_gemm.py", sys.executable, "float32"), tasks[0], args, model)
        )
        for task in tasks:
            for side in sides_of(task, args, peers):
                measured = run(side, task, args, model)
                runs[task].setdefault(side.label, []).append(measured)
                (OUT / "runs.json").write_text(json.dumps({"gemm": gemm, "runs": runs}, indent=1))
                cost = (
                    f"{measured['wall_s']:8.2f} s wall {measured['cpu_s']:8.2f} s CPU "
                    f"{measured['peak_mib']:7.0f} MiB"
                )
                print(f"round {number}  {task:9}{side.label:34}{cost}", file=sys.stderr)
    return runs, gemm


def command_line() -> str:
    """Return the command line; a file outside the checkout appears by its name only."""

    def shown(word: str) -> str:
        path = Path(word)
        if word.startswith("-") or not path.exists():
            return word
        inside = path.resolve().is_relative_to(ROOT)
        return str(path.resolve().relative_to(ROOT)) if inside else path.resolve().name

    return " ".join(["python benchmarks/speed.py", *map(shown, sys.argv[1:])])


def faults(
    args: argparse.Namespace, counted: dict[str, dict[str, int]], runs: dict[str, dict[str, list]]
) -> list[str]:
    """Return the reasons why the comparison is invalid.

    Our side scored a different number of tokens, or the totals of two sides differ.
    """
    scored = {task: sides[ratios.OURS][-1]["score"][1] for task, sides in runs.items()}
    expected = {task: counted[task]["scored"] for task in runs}
    problems = [
        f"{task}: {scored[task]} tokens scored, expected {n}"
        for task, n in expected.items()
        if scored[task] != n
    ]
    if args.dtype == args.peer_dtype == "float32":
        differences = {
            task: ratios.disagreement(sides)
            for task, sides in runs.items()
            if not counted[task]["besides"]
        }
        problems += [
            f"{task}: totals differ by {difference:.1e} of their size"
            for task, difference in differences.items()
            if not difference <= AGREE  # also true for NaN
        ]
    return problems


def main() -> int:
    """Prepare, measure and write the tables; return 1 if the sides did different work."""
    args = parse_arguments(__doc__ or "")
    OUT.mkdir(parents=True, exist_ok=True)
    tasks = [task for task in TASKS if getattr(args, task) > 0]
    name = "benchmark-model" if args.shape == SHAPE else f"benchmark-model-{args.shape}"
    model = (args.model or ROOT / "build" / name).resolve()
    shape = prepare(args, model)
    counted = {task: json.loads((OUT / f"{task}.json").read_text())["counted"] for task in tasks}
    runs, gemm = rounds(args, model, tasks)
    versions = {
        side: measured[0]["versions"] for sides in runs.values() for side, measured in sides.items()
    }
    harness = [side for side in versions if side.startswith(ratios.LM_EVAL)]
    described = machine.describe(versions[ratios.OURS], versions[harness[0]] if harness else {})
    unusual = "" if args.model or args.shape == SHAPE else args.shape
    setting = speed_report.Setting(
        command_line(), described, args.dtype, args.peer_dtype, args.gpu, args.threads, unusual
    )
    text = speed_report.report(setting, shape, counted, runs, gemm)
    speed_report.write(args.readme, setting, text)
    print(text)
    problems = faults(args, counted, runs)
    for problem in problems:
        print(problem, file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    raise SystemExit(main())
