"""Measure whether a task costs more where the output folder already holds many results.

    python benchmarks/results_folder.py [RESULTS]     # 1,000 by default

Prints the CPU seconds of a toy task of three lines in an empty folder and beside the results.
Imports are not counted: an earlier task, in another folder, loads them.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

from gpt2eval import evaluate

REPEATS = 5


def main() -> None:
    """Print both costs, the best of five runs each."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "text.txt")
        text.write_text("The first line.\nThe second line.\nThe third line.\n", encoding="utf-8")
        cost(text, Path(folder, "first"))
        empty = min(cost(text, Path(folder, f"empty-{run}")) for run in range(REPEATS))
        full = Path(folder, "full")
        fill(full, next(Path(folder, "first").rglob("result.json")), number)
        beside = min(cost(text, full) for _ in range(REPEATS))
    print(f"empty folder: {empty:.3f} s of CPU; beside {number} results: {beside:.3f} s of CPU")


def cost(text: Path, out: Path) -> float:
    """Return the CPU seconds of the task; its journal goes first, so that every run scores it."""
    for journal in out.rglob("toy-uniform-bytes/**/journal"):
        shutil.rmtree(journal)
    before = time.process_time()
    evaluate("toy:uniform-bytes", texts=text, out=out)
    return time.process_time() - before


def fill(out: Path, result: Path, number: int) -> None:
    """Copy a result to as many folders as requested."""
    for index in range(number):
        folder = out / f"model-{index}" / "wikitext2"
        folder.mkdir(parents=True)
        shutil.copy(result, folder / "result.json")


if __name__ == "__main__":
    main()
