"""Run the drill: `make drill`, or `PYTHONPATH=tests python -m drill [--part NAME] [--share 0.1]`.

Prints a table of what ran and what failed; `--write` puts it into docs/reliability.md. Exits with 1
if a case failed.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from drill.parts import PARTS
from drill.running import Ran, ran
from gpt2eval.version import __version__

PAGE = Path(__file__).parents[2] / "docs/reliability.md"
BEGIN, END = "<!-- drill: begin -->\n", "<!-- drill: end -->\n"


def table(rows: Sequence[Ran]) -> str:
    """Return the Markdown table of the parts."""
    lines = ["| Part | One case | Cases | Failed | Found | Seconds |", "|---|---|--:|--:|---|--:|"]
    for row in rows:
        figures = ", ".join(f"{name} {value}" for name, value in row.findings.figures.items())
        cells = (row.name, row.what, f"{row.findings.cases:,}", f"{len(row.findings.failures):,}")
        lines.append("| " + " | ".join((*cells, figures, f"{row.seconds:.0f}")) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the parts, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="drill", description=__doc__)
    parser.add_argument("--part", action="append", help="only parts whose name contains this")
    parser.add_argument("--cases", type=int, help="cases of each part instead of its own number")
    parser.add_argument("--share", type=float, default=1.0, help="of each part's own number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/drill"), help="scratch folder")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--write", action="store_true", help="update docs/reliability.md")
    options = parser.parse_args()
    wanted = options.part or [""]
    chosen = [part for part in PARTS if any(text in part.name for text in wanted)]
    names = [part.name for part in chosen]
    if not names:
        parser.error(f"no such part; expected one of: {', '.join(part.name for part in PARTS)}")
    start = time.monotonic()
    done: dict[str, Ran] = {}
    # A part may set limits, so each has a process of its own; they share what takes long to import.
    context = get_context("forkserver")
    context.set_forkserver_preload(["drill.running"])
    with ProcessPoolExecutor(options.workers, context, max_tasks_per_child=1) as pool:
        out = options.out.resolve()
        futures = [
            pool.submit(ran, part.name, options.cases, options.share, options.seed, out)
            for part in sorted(chosen, key=lambda part: not part.is_long)
        ]
        for future in as_completed(futures):
            row = future.result()
            done[row.name] = row
            failed = len(row.findings.failures)
            print(
                f"{row.name}: {row.findings.cases:,} cases, {failed} failed, "
                f"{row.seconds:.0f} s ({len(done)} of {len(names)} parts)",
                *row.findings.failures[:3],
                sep="\n    ",
                file=sys.stderr,
            )
    rows = [done[name] for name in names]
    text = table(rows) + "\n" + machine(time.monotonic() - start, options.seed)
    print(text)
    for row in rows:
        for failure in row.findings.failures:
            print(f"{row.name}: {failure}")
    if options.write:
        page = PAGE.read_text("utf-8")
        before, _, rest = page.partition(BEGIN)
        PAGE.write_text(before + BEGIN + text + END + rest.partition(END)[2], "utf-8")
    return int(any(row.findings.failures for row in rows))


def machine(seconds: float, seed: int) -> str:
    """Return the sentence that says where and when the drill ran."""
    return (
        f"gpt2eval {__version__}, {time.strftime('%Y-%m-%d')}, seed {seed}, "
        f"{seconds / 60:.1f} minutes on {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, {platform.system()}.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
