"""One changed bit of a weight between an interruption and its resumption, and of the memory."""

import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import numpy as np

from drill.interruption.commands import AFTER_RENAME, Ended, Kill, forked
from drill.interruption.flips import flip
from drill.interruption.judged import OUT, contents, difference
from drill.interruption.runs import small_chunks
from drill.interruption.small_models import (
    save_gguf,
    save_nanogpt,
    save_pytorch,
    save_small_model,
    weights,
)
from drill.part import Findings

SCORE = ("run", "--tasks", "ptb", "--data", "demo", "--limit", "8", "--batch-size", "1")
# How each format is written, its file, and what names it as a model.
FORMATS: Mapping[str, tuple[Callable[[Path, Mapping[str, np.ndarray]], None], str, str]] = {
    "safetensors": (save_small_model, "model.safetensors", "mine"),
    "bin": (save_pytorch, "pytorch_model.bin", "mine"),
    "gguf": (save_gguf, "model.gguf", "gguf:mine/model.gguf"),
    "nanogpt": (save_nanogpt, "ckpt.pt", "nanogpt:mine/ckpt.pt"),
}


def _score(place: Path, model: str, kill: Kill | None = None) -> Ended:
    return forked((*SCORE, "--model", model, "--out", OUT), place, kill, small_chunks)


def between_runs(cases: int, seed: int, folder: Path) -> Findings:
    """Change a bit of the weights of an interrupted run, and resume it.

    The result must be that of a fresh run with the changed weights, or both are refused.
    """
    random = Random(seed)
    arrays = weights()
    for name, (save, _, _) in [*FORMATS.items()][:cases]:
        save(folder / name / "mine", arrays)
    failures = []
    refused = 0
    for number in range(cases):
        name = [*FORMATS][number % len(FORMATS)]
        _, file, model = FORMATS[name]
        place, alone = folder / str(number), folder / f"{number}-alone"
        shutil.copytree(folder / name, place)
        _score(place, model, Kill(signal.SIGKILL, AFTER_RENAME, random.randint(3, 12)))
        changed = flip(place / "mine" / file, random)
        shutil.copytree(place / "mine", alone / "mine")
        resumed, fresh = _score(place, model), _score(alone, model)
        if problem := _mixed(resumed, fresh, place, alone):
            failures.append(f"case {number}, {name}, {changed}: {problem} {place}")
        else:
            shutil.rmtree(place)
            shutil.rmtree(alone)
        refused += resumed.code == 2
    return Findings(cases, failures, {"refused": f"{refused:,}"})


def _mixed(resumed: Ended, fresh: Ended, place: Path, alone: Path) -> str | None:
    """Return how a resumed run differs from a fresh one with the same changed weights."""
    for ended in (resumed, fresh):
        is_refused = ended.code == 2 and ended.err.splitlines()[-1].startswith("gpt2eval: ")
        if "Traceback" in ended.err or not (ended.code == 0 or is_refused):
            return f"exit code {ended.code}: {ended.err[-600:]!r}"
    if (resumed.code, resumed.out) != (fresh.code, fresh.out):
        return f"differs from a fresh run: {resumed.err[-300:]!r}, {fresh.err[-300:]!r}"
    if fresh.code:  # refused; a result of the unchanged weights may stay
        return None
    results = [_results(where) for where in (place, alone)]
    return None if results[0] == results[1] else "other results than a fresh run's"


def _results(place: Path) -> dict[str, bytes]:
    every = contents(place / OUT)
    return {name: every[name] for name in every if name.endswith(("result.json", "results.csv"))}


def memory(cases: int, seed: int, folder: Path) -> Findings:
    """Change a bit of what a run remembers of its model, and run again.

    The result is the same, with one notice at most, and the memory is repaired.
    """
    random = Random(seed)
    save_small_model(folder / "undisturbed/mine", weights())
    place = folder / "undisturbed"
    if (ended := _score(place, "mine")).code:
        return Findings(cases, [f"undisturbed: {ended.err[-600:]!r}"])
    expected = contents(place / OUT)
    failures = []
    for number in range(cases):
        copy = folder / str(number)
        # The same place, since what is remembered belongs to it.
        shutil.copytree(place / OUT, copy)
        files = sorted((place / OUT / ".models").glob("*.json"))
        changed = flip(files[number % len(files)], random)
        ended = _score(place, "mine")
        lines = [line for line in ended.err.splitlines() if line.startswith("gpt2eval: ")]
        if ended.code or len(lines) != 1 or "damaged" not in lines[0]:
            failures.append(f"case {number}, {changed}: {ended.code} {ended.err[-400:]!r}")
        elif problem := difference(contents(place / OUT), expected):
            failures.append(f"case {number}, {changed}: {problem}")
        shutil.rmtree(place / OUT)
        copy.rename(place / OUT)
    return Findings(cases, failures)
