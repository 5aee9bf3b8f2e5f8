"""Kills of `gpt2eval run`, by one process and by two workers at once."""

from pathlib import Path
from random import Random

from drill.interruption.commands import (
    CPU,
    SIGNALS,
    Kill,
    Running,
    accept_interrupts,
    cpu_seconds,
    installed,
    kills,
)
from drill.interruption.judged import OUT, Scenario, contents, difference, disorderly, drill
from drill.part import Findings, Part

RUN = ("run", "--tasks", "text8,lambada", "--data", "demo", "--limit", "4", "--out", OUT)
BATCHES = ("--batch-size", "1")


def small_chunks() -> None:
    """Put one batch in each chunk, so that a short run has many chunks."""
    from gpt2eval.scoring import plan

    plan.chunks = lambda batches, tokens: [[batch] for batch in batches]


TOY = Scenario((*RUN, *BATCHES, "--model", "toy:unigram"), small_chunks)
DEMO = Scenario((*RUN, *BATCHES, "--model", "demo"), small_chunks)
# A toy is cheap, so that most cases take it.
SCENARIOS = {"toy": TOY, "toy again": TOY, "toy once more": TOY, "demo": DEMO}


def run(cases: int, seed: int, folder: Path) -> Findings:
    """Kill and resume runs of one process."""
    return drill(SCENARIOS, cases, seed, folder)
