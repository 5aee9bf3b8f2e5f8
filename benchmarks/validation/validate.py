"""Compare gpt2eval with naive loops and with other tools on the same model and the same text.

    python benchmarks/validation/validate.py MODEL.gguf FOLDER loops recipe
    python benchmarks/validation/validate.py MODEL.gguf FOLDER lm_eval --peers PYTHON
    python benchmarks/validation/validate.py MODEL.gguf FOLDER llama_cpp --program llama-perplexity

FOLDER holds the published files; a `heldout-*.txt` in it is read as a shard of 1BW. Every side
reads the same files: the first `--lines` lines of each (`--passages` of LAMBADA), or with
`--complete` all of them. Prints a Markdown table.
"""

import argparse
import math
import subprocess
import sys
import tempfile
from pathlib import Path

from tools import LOOP, TOOLS, Comparison, Inputs

from gpt2eval import evaluate
from gpt2eval.data.local import local_files
from gpt2eval.errors import UsageError
from gpt2eval.models import registry
from gpt2eval.models.options import LoadOptions
from gpt2eval.types import Model

COLUMNS = (
    *("task", "other tool", "units", "its units", "tokens", "PPL", "its PPL"),
    *("nats/token, ours minus its", "bits/byte", "ACC", "its ACC"),
)


def main() -> None:
    """Read the command line and print the table. An error is one line."""
    parser = argparse.ArgumentParser(description="Compare gpt2eval with other tools.")
    parser.add_argument("model", type=Path, metavar="MODEL.gguf")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="with the published files")
    parser.add_argument("tools", nargs="+", choices=TOOLS)
    parser.add_argument("--lines", type=int, default=60)
    parser.add_argument("--passages", type=int, default=100, help="of LAMBADA")
    parser.add_argument("--complete", action="store_true", help="the complete files")
    parser.add_argument("--peers", default=sys.executable, help="a Python that has lm_eval")
    parser.add_argument(
        "--program", default="llama-perplexity", help="that of llama.cpp; llama-quantize beside it"
    )
    options = parser.parse_args()
    try:
        compare(options)
    except UsageError as error:
        raise SystemExit(f"validate: {error}") from None
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"validate: another tool failed: {error}") from None


def compare(options: argparse.Namespace) -> None:
    """Let another tool score a task, then gpt2eval, and print the row; then the next task."""
    with tempfile.TemporaryDirectory() as place:
        files = local_files(options.folder)
        shards = sorted(options.folder.rglob("heldout-*.txt"))
        files |= {"lm1b": shards[0]} if shards else {}
        inputs = Inputs(options.model.resolve(), files, Path(place), options)
        ours = registry.load_model(f"gguf:{options.model}", LoadOptions())
        print_row(*COLUMNS)
        print_row(*["---"] * len(COLUMNS))
        for tool in options.tools:
            for comparison in TOOLS[tool](inputs):
                print_row(*cells(comparison, ours))


def print_row(*cells: str) -> None:
    """Print a row of a Markdown table."""
    print("|", " | ".join(cells), "|", flush=True)


def cells(theirs: Comparison, model: Model) -> list[str]:
    """Measure the task with gpt2eval and return the row."""
    result = evaluate(model, [theirs.task], data={theirs.task: theirs.file})[0]
    ppl = result.metric("ppl")
    nats = (math.log(ppl.value) - math.log(theirs.ppl)) * ppl.units / result.tally.tokens
    row = [theirs.task, theirs.tool, f"{ppl.units:,}", f"{theirs.units:,}"]
    row += [f"{result.tally.tokens:,}", f"{ppl.value:.6f}", f"{theirs.ppl:.6f}", f"{nats:+.1e}"]
    if theirs.acc is None:
        bits = result.tally.nats / math.log(2) / theirs.file.stat().st_size
        return [*row, f"{bits:.4f}" * (theirs.tool == LOOP), "", ""]
    return [*row, "", f"{result.metric('acc').value:.4f}", f"{theirs.acc:.4f}"]


if __name__ == "__main__":
    main()
