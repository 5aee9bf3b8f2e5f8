"""The command line of speed.py."""

import argparse
import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TASKS = {"cbt": 4, "lambada": 100, "disjoint": 8, "stride32": 16}
GPU_TASKS = {"cbt": 200, "lambada": 2000, "disjoint": 200, "stride32": 400}
SHAPE = "12x768"


def parse_arguments(description: str) -> argparse.Namespace:
    """Parse the command line; `description` is the help text."""
    summary, _, details = description.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    _add_inputs(parser)
    _add_work(parser)
    _add_sides(parser)
    parser.add_argument(
        "--readme", type=Path, default=HERE / "README.md", help="file that receives the tables"
    )
    args = parser.parse_args()
    _fill_defaults(args)
    if args.model and args.tokenizer:
        parser.error("--tokenizer requires random weights; a --model has its own tokenizer")
    if not any(getattr(args, task) > 0 for task in TASKS) or args.repeats < 1 or args.threads < 1:
        parser.error("expected at least one item of a task, one round and one thread")
    return args


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the model and the text."""
    parser.add_argument(
        "--model", type=Path, help="folder of a causal LM (default: random weights, written once)"
    )
    parser.add_argument(
        "--shape",
        default=SHAPE,
        help="LAYERSxWIDTH of GPT-2 with random weights, or llama-LAYERSxWIDTH "
        "(default %(default)s)",
    )
    parser.add_argument(
        "--tokenizer",
        type=Path,
        help="folder of a tokenizer for random weights (default: a BPE learned from the text)",
    )
    parser.add_argument(
        "--text", type=Path, nargs="+", help="text files (default: the demo's data)"
    )


def _add_work(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how much is measured, and on what."""
    for task, items in TASKS.items():
        task_help = f"items; 0 skips the task (default {items}, with --gpu {GPU_TASKS[task]})"
        parser.add_argument(f"--{task}", type=int, metavar="N", help=task_help)
    parser.add_argument("--repeats", type=int, default=3, help="rounds (default %(default)s)")
    parser.add_argument(
        "--threads",
        type=int,
        help="threads of every side (default 1, with --gpu one for each core)",
    )
    parser.add_argument("--gpu", action="store_true", help="run everything on CUDA")


def _add_sides(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the sides and their precision."""
    parser.add_argument(
        "--dtype", default="float32", choices=("float32", "bfloat16"), help="dtype of our side"
    )
    parser.add_argument(
        "--peer-dtype",
        default="float32",
        choices=("float32", "bfloat16"),
        help="dtype of the other sides",
    )
    parser.add_argument(
        "--against",
        nargs="*",
        default=["lm_eval", "hf"],
        choices=("lm_eval", "hf"),
        help="other tools to compare with",
    )
    parser.add_argument(
        "--peers",
        type=Path,
        default=ROOT / "build" / "peers",
        help="environment of lm-evaluation-harness, created if missing",
    )


def _fill_defaults(args: argparse.Namespace) -> None:
    """Set the threads and items that are not given; the defaults depend on the device."""
    if args.threads is None:
        args.threads = (os.cpu_count() or 1) if args.gpu else 1
    for task, items in (GPU_TASKS if args.gpu else TASKS).items():
        if getattr(args, task) is None:
            setattr(args, task, items)
