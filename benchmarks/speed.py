"""Measure gpt2eval beside lm-evaluation-harness, the Hugging Face perplexity recipe and the machine's own GEMM rate.

    python benchmarks/speed.py
    python benchmarks/speed.py --text book.txt --tokenizer GPT2_TOKENIZER_FOLDER --dtype bfloat16

All sides run on the same model files, the same text, the same machine and the same number of threads, in turns,
each as a process of its own that loads, warms up, and then does a task's work once under the clock. The table goes
between its markers in `benchmarks/README.md`, which says what is counted how. This file starts the processes; it
imports neither torch nor our package, so that none of their memory is counted for a side.
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
import report

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OUT = ROOT / "build" / "benchmark"
TASKS = {"cbt": 4, "lambada": 100, "disjoint": 8, "stride32": 16}
GPU_TASKS = {"cbt": 200, "lambada": 2000, "disjoint": 200, "stride32": 400}
BATCHES = {"cbt": (1, 10), "lambada": (1, 16), "disjoint": (1,), "stride32": (1,)}
GPU_BATCHES = {"cbt": (10, 40), "lambada": (16, 128), "disjoint": (1, 8), "stride32": (1, 8)}
STREAMS = ("disjoint", "stride32")
SHAPE = "12x768"
AGREE = 1e-3


class Side(NamedTuple):
    """One program on one task: its label in the table, its script, interpreter, dtype and batch size."""

    label: str
    script: str
    python: str
    dtype: str
    batch: int = 1


def arguments() -> argparse.Namespace:
    """The command line."""
    first, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=first, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", type=Path, help="folder of a causal LM (default: random weights, written once)"
    )
    parser.add_argument(
        "--shape", default=SHAPE, help="LAYERSxWIDTH of the random weights (default %(default)s)"
    )
    parser.add_argument(
        "--tokenizer",
        type=Path,
        help="folder of their tokenizer (default: a BPE learned from the text)",
    )
    parser.add_argument(
        "--text", type=Path, nargs="+", help="text files (default: the demo's data)"
    )
    for task, items in TASKS.items():
        described = f"items; 0 leaves it out (default {items}, with --gpu {GPU_TASKS[task]})"
        parser.add_argument(f"--{task}", type=int, metavar="N", help=described)
    parser.add_argument("--repeats", type=int, default=3, help="rounds (default %(default)s)")
    parser.add_argument(
        "--threads", type=int, default=1, help="of every side (default %(default)s)"
    )
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="ours")
    parser.add_argument(
        "--peer-dtype", default="float32", choices=("float32", "bfloat16"), help="the other sides'"
    )
    parser.add_argument("--gpu", action="store_true", help="everything on CUDA")
    parser.add_argument(
        "--against",
        nargs="*",
        default=["lm_eval", "hf"],
        choices=("lm_eval", "hf"),
        help="which sides",
    )
    parser.add_argument(
        "--peers",
        type=Path,
        default=ROOT / "build" / "peers",
        help="their environment; made if missing",
    )
    parser.add_argument(
        "--readme", type=Path, default=HERE / "README.md", help="where the table goes"
    )
    args = parser.parse_args()
    for task, items in (GPU_TASKS if args.gpu else TASKS).items():
        setattr(args, task, items if getattr(args, task) is None else getattr(args, task))
    if args.model and args.tokenizer:
        parser.error("--tokenizer goes with random weights; a --model has its own")
    if not any(getattr(args, task) > 0 for task in TASKS) or args.repeats < 1 or args.threads < 1:
        parser.error("expected at least one item of a task, one round and one thread")
    return args


def prepare(args: argparse.Namespace, model: Path) -> dict[str, int]:
    """Have the model and every task's work written; returns the model's shape."""
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
    started(
        sys.executable,
        HERE / "prepare.py",
        command,
        machine.environment(os.cpu_count() or 1, ours=True),
    )
    return json.loads((OUT / "model.json").read_text())


def sides_of(task: str, args: argparse.Namespace, peers: str) -> Iterator[Side]:
    """Who does a task, in the order of a round."""
    yield Side(report.OURS, "run_ours.py", sys.executable, args.dtype)
    if "lm_eval" in args.against:
        for batch in (GPU_BATCHES if args.gpu else BATCHES)[task]:
            yield Side(
                f"{report.LM_EVAL}, batch {batch}", "run_lm_eval.py", peers, args.peer_dtype, batch
            )
    if "hf" in args.against and task in STREAMS:
        yield Side(report.HF, "run_hf.py", sys.executable, args.peer_dtype)


def run(side: Side, task: str, args: argparse.Namespace, model: Path) -> dict[str, Any]:
    """One side of one round, in a process of its own."""
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
    started(side.python, HERE / "sides" / side.script, [OUT / "job.json", answer], variables)
    return json.loads(answer.read_text())


def started(python: str, script: Path, rest: list, variables: dict[str, str]) -> None:
    """Run a script to its end; stop with the last of what it said if it failed."""
    done = subprocess.run([python, script, *rest], env=variables, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{script.name} failed ({done.returncode}):\n{done.stderr[-3000:]}")


def rounds(args: argparse.Namespace, model: Path, tasks: list[str]) -> tuple[dict, list]:
    """All sides in turns, `--repeats` times; every measurement is kept in `build/benchmark/runs.json` as it is made."""
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
                took = f"{measured['wall_s']:8.2f} s wall {measured['cpu_s']:8.2f} s CPU {measured['peak_mib']:7.0f} MiB"
                print(f"round {number}  {task:9}{side.label:34}{took}", file=sys.stderr)
    return runs, gemm


def command_line() -> str:
    """How this was called; a file outside the checkout by its name alone."""

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
    """Where our side scored other tokens than there are, or two sides do not agree on what the same tokens score."""
    scored = {task: sides[report.OURS][-1]["score"][1] for task, sides in runs.items()}
    expected = {task: counted[task]["scored"] for task in runs}
    found = [
        f"{task}: {scored[task]} tokens scored, expected {n}"
        for task, n in expected.items()
        if scored[task] != n
    ]
    if args.dtype == args.peer_dtype == "float32":
        apart = {
            task: report.disagreement(sides)
            for task, sides in runs.items()
            if not counted[task]["besides"]
        }
        found += [
            f"{task}: totals differ by {by:.1e} of their size"
            for task, by in apart.items()
            if not by <= AGREE
        ]
    return found


def main() -> int:
    """Prepare, measure, write the table; 1 where a side did other work than the rest."""
    args = arguments()
    OUT.mkdir(parents=True, exist_ok=True)
    tasks = [task for task in TASKS if getattr(args, task) > 0]
    own = (
        ROOT
        / "build"
        / ("benchmark-model" if args.shape == SHAPE else f"benchmark-model-{args.shape}")
    )
    model = (args.model or own).resolve()
    shape = prepare(args, model)
    counted = {task: json.loads((OUT / f"{task}.json").read_text())["counted"] for task in tasks}
    runs, gemm = rounds(args, model, tasks)
    versions = {
        side: measured[0]["versions"] for sides in runs.values() for side, measured in sides.items()
    }
    harness = next(
        (found for side, found in versions.items() if side.startswith(report.LM_EVAL)), {}
    )
    on = machine.described(versions[report.OURS], harness)
    setting = report.Setting(
        command_line(), on, args.dtype, args.peer_dtype, args.gpu, args.threads
    )
    text = report.report(setting, shape, counted, runs, gemm)
    report.write(args.readme, setting, text)
    print(text)
    wrong = faults(args, counted, runs)
    for line in wrong:
        print(line, file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
