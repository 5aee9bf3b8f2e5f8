"""Measure what LAMBADA's stop-word filter costs: `lambada` beside `lambada/no_filter`.

    python benchmarks/filter.py
    python benchmarks/filter.py --model gguf:MODEL.gguf --data lambada_test.jsonl --limit 100

Both tasks run in one process on the same passages and take turns, round after round, after a run
that warms up. Ratios compare two runs of the same round. The prints are CPU seconds of all
threads, with text preparation and metrics but without loading. A trained model is needed: the
search depends on its distributions. By default it is the demo model on its own records.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch

from gpt2eval import demo, evaluate
from gpt2eval.models import options, registry
from gpt2eval.settings import Settings
from gpt2eval.types import Model

TASKS = ("lambada/no_filter", "lambada")


def cpu_seconds(model: Model, task: str, data: dict[str, Path], limit: int | None) -> float:
    """Return the CPU time of a task."""
    start = time.process_time()
    evaluate(model, [task], data=data, settings=Settings(limit=limit))
    return time.process_time() - start


def main() -> None:
    """Print one line per round, and the median ratio with its range."""
    summary, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="demo", help="a model's name, as for gpt2eval run")
    parser.add_argument("--data", type=Path, help="file of LAMBADA (default: the demo's records)")
    parser.add_argument("--limit", type=int, help="use only the first passages")
    parser.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="default %(default)s")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", help="such as cuda")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = registry.load_model(
        args.model, options.LoadOptions(dtype=args.dtype, device=args.device)
    )
    data = {"lambada": args.data or demo.data()["lambada"]}
    for task in TASKS:
        cpu_seconds(model, task, data, 2)
    ratios = []
    for number in range(1, args.rounds + 1):
        plain, filtered = (cpu_seconds(model, task, data, args.limit) for task in TASKS)
        ratios.append(filtered / plain)
        print(
            f"round {number}: {TASKS[0]} {plain:.2f} s, {TASKS[1]} {filtered:.2f} s, "
            f"ratio {ratios[-1]:.3f}",
            flush=True,
        )
    print(f"ratio: median {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
