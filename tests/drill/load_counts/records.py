"""Many short requests: documents of a text, and questions with ten choices."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

from drill.load_counts import command
from drill.part import Findings
from gpt2eval import read_results

WORDS = ("the", "of", "and", "to", "a", "in", "that", "said", "was", "for", "market", "company")
MODEL = ("--model", "toy:uniform-bytes")


def documents(cases: int, seed: int, folder: Path) -> Findings:
    """Score documents of 5 to 45 words, one per line of a JSON Lines file."""
    random = Random(seed)
    with (folder / "text.jsonl").open("w") as file:
        for _ in range(cases):
            text = " ".join(random.choices(WORDS, k=random.randint(5, 45)))
            file.write(json.dumps({"text": text}) + "\n")
    return _scored(cases, folder, ["--text", "text.jsonl:text"], seconds=0.001, kilobytes=10)


def choices(cases: int, seed: int, folder: Path) -> Findings:
    """Score questions after twenty sentences of 8 to 25 words."""
    random = Random(seed)
    with (folder / "cbt.txt").open("w") as file:
        for _ in range(cases):
            for number in range(1, 21):
                words = " ".join(random.choices(WORDS, k=random.randint(8, 25)))
                file.write(f"{number} {words} .\n")
            offered = random.sample(WORDS, 10)
            file.write(f"21 the XXXXX said so .\t{offered[3]}\t\t{'|'.join(offered)}\n\n")
    arguments = ["--tasks", "cbt_cn", "--data", "cbt_cn=cbt.txt"]
    return _scored(cases, folder, arguments, seconds=0.01, kilobytes=300)


def _scored(
    cases: int, folder: Path, arguments: Sequence[str], *, seconds: float, kilobytes: float
) -> Findings:
    """Score a text, lose its last chunk, score it again, and compare.

    `seconds` and `kilobytes` are what a record may cost besides what any run costs.
    """
    most = (20 + seconds * cases, 300 + kilobytes * cases / 1000)
    first = command.run(folder, "run", *MODEL, *arguments, "--out", "out")
    failures = first.failures("run", *most)
    if first.code:
        return Findings(cases, failures)
    path = next((folder / "out").rglob("result.json"))
    content = path.read_bytes()
    records = read_results(path)[0].tally.records
    if records != cases:
        failures.append(f"run: {records:,} records; expected {cases:,}")
    lost = sorted((path.parent / "journal").glob("*.safetensors"))[-1]
    lost.unlink()
    path.unlink()
    second = command.run(folder, "run", *MODEL, *arguments, "--out", "out")
    failures += second.failures("resumed run", *most)
    if not path.exists() or path.read_bytes() != content:
        failures.append("resumed run: another result than that of the first run")
    if not lost.exists():
        failures.append(f"resumed run: {lost.name} was not scored again")
    figures = {
        "seconds": f"{first.seconds:.0f}",
        "resumed": f"{second.seconds:.0f}",
        "MB": f"{first.megabytes:.0f}",
    }
    return Findings(cases, failures, figures)
