"""A journal with many chunks, of which some are lost."""

import json
from pathlib import Path
from random import Random

from drill.load_counts import command
from drill.part import Findings

LOST = 3
# A document of 21 to 29 bytes is a batch by itself, and thus a chunk.
MODEL = ("--model", "toy:uniform-bytes", "--context", "30", "--batch-size", "1")
ARGUMENTS = ("run", *MODEL, "--text", "text.jsonl:text", "--out", "out")


def run(cases: int, seed: int, folder: Path) -> Findings:
    """Score a document per chunk, lose some chunks, and let three commands open the journal."""
    random = Random(seed)
    with (folder / "text.jsonl").open("w") as file:
        for number in range(cases):
            text = f"document {number:06d} of a" + "b" * random.randint(0, 8)
            file.write(json.dumps({"text": text}) + "\n")
    most = (15 + 0.003 * cases, 400 + 0.01 * cases)
    first = command.run(folder, *ARGUMENTS, has_small_chunks=True)
    failures = first.failures("run", *most)
    if first.code:
        return Findings(cases, failures)
    result = next((folder / "out").rglob("result.json"))
    content = result.read_bytes()
    chunks = sorted((result.parent / "journal").glob("*.safetensors"))
    if len(chunks) != cases:
        failures.append(f"run: {len(chunks):,} chunks; expected {cases:,}")
    missing = sorted(random.sample(range(len(chunks)), LOST))
    for number in missing:
        chunks[number].unlink()

    table = command.run(folder, "table", "out")
    failures += table.failures("table", 10, 400)
    numbers = ", ".join(map(str, missing))
    expected = f"{LOST} of {cases} chunks missing: {numbers}"
    if expected not in table.errors:
        failures.append(f"table: expected {expected!r}, but it said {table.errors[-300:]!r}")
    plan = command.run(folder, *ARGUMENTS, "--dry-run", has_small_chunks=True)
    failures += plan.failures("dry run", *most)
    expected = f"{cases - LOST:,}/{cases:,}"
    if expected not in plan.output:
        failures.append(f"dry run: expected {expected!r}, but it said {plan.output[-300:]!r}")
    result.unlink()
    second = command.run(folder, *ARGUMENTS, has_small_chunks=True)
    failures += second.failures("resumed run", *most)
    if not result.exists() or result.read_bytes() != content:
        failures.append("resumed run: another result than that of the first run")
    if not all(path.exists() for path in chunks):
        failures.append("resumed run: a lost chunk was not scored again")
    commands = {"run": first, "table": table, "dry run": plan, "resumed": second}
    figures = {name: f"{ran.seconds:.1f} s" for name, ran in commands.items()}
    return Findings(cases, failures, figures | {"MB": f"{first.megabytes:.0f}"})
