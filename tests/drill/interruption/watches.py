"""Kills of `gpt2eval watch`, which scores the checkpoints of a training run."""

from pathlib import Path

from drill.interruption.judged import OUT, Scenario, drill
from drill.interruption.runs import small_chunks
from drill.interruption.small_models import save_small_model, weights
from drill.part import Findings

STEPS = (100, 200)


def watch(cases: int, seed: int, folder: Path) -> Findings:
    """Kill and resume a watch of two checkpoints."""
    for step in STEPS:
        save_small_model(folder / f"mine/checkpoint-{step}", weights(1 + step / 1000))
    command = ("watch", "../mine", "--once", "--every", "0.001", "--tasks", "ptb", "--data", "demo")
    arguments = (*command, "--limit", "8", "--batch-size", "1", "--out", OUT)
    return drill({"watch": Scenario(arguments, small_chunks)}, cases, seed, folder)
