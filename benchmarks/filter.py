"""Measure what LAMBADA's stop-word filter costs: `lambada` beside `lambada/no_filter`.

    python benchmarks/filter.py
    python benchmarks/filter.py --model gguf:MODEL.gguf --data lambada_test.jsonl --limit 100
    python benchmarks/filter.py --model FOLDER --data lambada_test.jsonl --peers build/peers

Both tasks run in one process on the same passages and take turns, round after round, after a run
that warms up. Ratios compare two runs of the same round. The prints are CPU seconds of all
threads, with text preparation and metrics but without loading. A trained model is needed: the
search depends on its distributions. By default it is the demo model on its own records.

`--peers` adds lm-evaluation-harness to each round. It scores the same last words, as its
`lambada_openai` does, one passage at a time, which is its fastest way on a CPU. It has no filter.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import machine
import torch
from sides.timed import Request, Work

from gpt2eval import demo, evaluate
from gpt2eval.config.loader import load_task
from gpt2eval.data.corpus import load_corpus
from gpt2eval.models import options, registry
from gpt2eval.settings import Settings
from gpt2eval.types import Model

TASKS = ("lambada/no_filter", "lambada")


def cpu_seconds(model: Model, task: str, data: dict[str, Path], limit: int | None) -> float:
    """Return the CPU time of a task."""
    start = time.process_time()
    evaluate(model, [task], data=data, settings=Settings(limit=limit))
    return time.process_time() - start


def harness_seconds(peers: Path, model: str, data: Path, limit: int | None) -> float:
    """Return the CPU time of lm-evaluation-harness for the last words of the same passages."""
    passages = load_corpus(load_task("lambada"), data).records[:limit]
    pairs = [passage.text.rstrip().rsplit(" ", 1) for passage in passages]
    requests = [Request(context, [word], "") for context, word in pairs]
    works = {
        key: Work(some, "", 1024, 1024)._asdict()
        for key, some in (("work", requests), ("warm", requests[:1]))
    }
    job = {"task": "lambada", "model": model, "dtype": "float32", "device": "cpu", "batch": 1}
    script = Path(__file__).parent / "sides" / "run_lm_eval.py"
    with tempfile.TemporaryDirectory() as folder:
        work, order, answer = (Path(folder, name) for name in ("work", "job", "answer"))
        work.write_text(json.dumps(works))
        order.write_text(json.dumps(job | {"work": str(work), "threads": 1}))
        subprocess.run(
            [machine.peers_python(peers), script, order, answer],
            env=machine.environment(1, ours=False),
            check=True,
            capture_output=True,
        )
        return json.loads(answer.read_text())["cpu_s"]


def middle(ratios: list[float]) -> str:
    """Format the median and the range."""
    return f"median {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


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
    parser.add_argument(
        "--peers",
        type=Path,
        help="environment of lm-evaluation-harness, created if missing; --model is a folder then",
    )
    args = parser.parse_args()
    if args.peers and not Path(args.model).is_dir():
        parser.error("--peers: expected --model FOLDER, which both programs can load")
    torch.set_num_threads(args.threads)
    model = registry.load_model(
        args.model, options.LoadOptions(dtype=args.dtype, device=args.device)
    )
    data = {"lambada": args.data or demo.data()["lambada"]}
    for task in TASKS:
        cpu_seconds(model, task, data, 2)
    ratios = []
    harness_ratios = []
    for number in range(1, args.rounds + 1):
        plain, filtered = (cpu_seconds(model, task, data, args.limit) for task in TASKS)
        ratios.append(filtered / plain)
        print(
            f"round {number}: {TASKS[0]} {plain:.2f} s, {TASKS[1]} {filtered:.2f} s, "
            f"ratio {ratios[-1]:.3f}",
            flush=True,
        )
        if args.peers:
            harness = harness_seconds(args.peers, args.model, data["lambada"], args.limit)
            harness_ratios.append(harness / filtered)
            print(
                f"round {number}: lm-evaluation-harness {harness:.2f} s, "
                f"{harness_ratios[-1]:.2f} times as long as {TASKS[1]}",
                flush=True,
            )
    print(f"ratio: {middle(ratios)}")
    if harness_ratios:
        print(f"lm-evaluation-harness takes, beside {TASKS[1]}: {middle(harness_ratios)}")


if __name__ == "__main__":
    main()
