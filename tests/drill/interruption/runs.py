"""Kills of `gpt2eval run`, by one process and by two workers at once."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from random import Random

from drill.interruption.commands import Ended, Kill, Running, kills
from drill.interruption.judged import (
    OUT,
    Scenario,
    chunks,
    contents,
    difference,
    disorderly,
    drill,
)
from drill.part import Findings

RUN = ("run", "--tasks", "text8,lambada", "--data", "demo", "--limit", "8", "--out", OUT)
BATCHES = ("--batch-size", "1")


def small_chunks() -> None:
    """Put one batch in each chunk, so that a short run has many chunks."""
    from gpt2eval.scoring import plan

    grouped = plan.chunks
    plan.chunks = lambda batches, size: grouped(batches, 1)  # a larger batch stands alone


TOY = Scenario((*RUN, *BATCHES, "--model", "toy:unigram"), small_chunks)
DEMO = Scenario((*RUN, *BATCHES, "--model", "demo"), small_chunks)
# A toy is cheap, so that most cases take it.
SCENARIOS = {"toy": TOY, "toy again": TOY, "toy once more": TOY, "demo": DEMO}


def run(cases: int, seed: int, folder: Path) -> Findings:
    """Kill and resume runs of one process."""
    return drill(SCENARIOS, cases, seed, folder)


def installed(cases: int, seed: int, folder: Path) -> Findings:
    """Kill and resume runs of the installed command, also while it starts."""
    arguments = ("run", "--data", "demo", "--limit", "8", "--out", OUT)
    scenarios = {
        "toy": Scenario((*arguments, "--tasks", "text8,lambada", "--model", "toy:unigram")),
        "demo": Scenario((*arguments, "--tasks", "ptb", "--model", "demo")),
    }
    turns = {f"toy {number}": scenarios["toy"] for number in range(3)}
    return drill(turns | {"demo": scenarios["demo"]}, cases, seed, folder, real=True)


def two_workers(cases: int, seed: int, folder: Path) -> Findings:
    """Kill one of two workers or both, and run both again."""
    random = Random(seed)
    place = folder / "undisturbed"
    undisturbed = [worker.wait() for worker in start(place, {})]
    if any(ended.code for ended in undisturbed):
        return Findings(cases, [f"undisturbed: {undisturbed}"])
    expected = contents(place / OUT)
    planned = [kills(cases, ended.counts, random) for ended in undisturbed]
    failures = []
    for number in range(cases):
        killed = random.choice(({0}, {1}, {0, 1}))
        sent = {worker: planned[worker][number] for worker in killed}
        place = folder / str(number)
        if problem := both_resumed(place, sent, expected):
            failures.append(f"case {number}, {named(sent)}: {problem} {place}")
        else:
            shutil.rmtree(place)
    return Findings(cases, failures)


def named(sent: Mapping[int, Kill]) -> str:
    """Return the kills of a case for a message."""
    return ", ".join(f"worker {worker + 1} {kill}" for worker, kill in sent.items())


def start(place: Path, sent: Mapping[int, Kill]) -> list[Running]:
    """Start two workers into one folder at once, some of which are killed."""
    arguments, prepare, _ = TOY
    return [
        Running((*arguments, "--shard", f"{n + 1}/2"), place, sent.get(n), prepare, f"worker{n}")
        for n in range(2)
    ]


def both_resumed(
    place: Path, sent: Mapping[int, Kill], expected: Mapping[str, bytes]
) -> str | None:
    """Kill workers, run both again at once, and return what went wrong, if anything."""
    ended = [worker.wait() for worker in start(place, sent)]
    for worker, end in enumerate(ended):
        problem = disorderly(end, sent[worker]) if worker in sent else failed(end)
        if problem:
            return f"worker {worker + 1}: {problem}"
    before = chunks(place / OUT)
    for end in [worker.wait() for worker in start(place, {})]:
        if problem := failed(end):
            return f"resumed: {problem}"
    after = chunks(place / OUT)
    if repeated := [name for name in before if after.get(name) != before[name]]:
        return f"finished chunks were scored again: {repeated[:5]}"
    return difference(contents(place / OUT), expected)


def failed(ended: Ended) -> str | None:
    """Return what an undisturbed worker printed if it failed."""
    return f"exit code {ended.code}: {ended.err[-600:]!r}" if ended.code else None
