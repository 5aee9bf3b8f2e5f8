"""Choose the tokens of a forward pass: `--batch-size auto`.

The choice is made once per model, from the speed of a few passes, and stands in the signature. An
output folder keeps its choice: a run that resumes takes the number from the journal.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gpt2eval.errors import UsageError
from gpt2eval.identity import StatesFit
from gpt2eval.models import identified
from gpt2eval.notices import notify
from gpt2eval.scoring import journal
from gpt2eval.scoring.start_check import TEXT
from gpt2eval.settings import Settings
from gpt2eval.types import Ids, Model, Request
from gpt2eval.version import __version__

LENGTH = 128  # tokens of a request in the trial, or the model's context if that is shorter
SIZES = {"cpu": (512, 1024, 2048, 4096, 8192), "api": (16384,)}
GPU_SIZES = tuple(1 << power for power in range(12, 21))  # 4,096 to 1,048,576 tokens
NOT_COMPARED = ("name", "label", "batch")  # facts that may differ from an earlier run's
GAIN = 1.03  # a larger pass must be faster by this factor; noise is about 1 %


class BatchChoice:
    """The settings of a model's tasks, with a number in place of `auto`.

    `journals` are the journals of all the tasks, which may state the number of an earlier run.
    """

    def __init__(
        self,
        model: Model,
        settings: Settings,
        journals: Sequence[Path] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._model = model
        self._settings = settings
        self._journals = journals
        self._clock = clock
        self._tokens: int | None = None
        self._announced: set[str] = set()

    def settings(self, own: Path | None = None) -> Settings:
        """Return the settings for the task with the journal `own`."""
        if self._settings.batch_size != "auto" or self._settings.tokens:
            return self._settings
        tokens = self._kept([own] if own else []) or self._for_all_tasks()
        return replace(self._settings, batch_size=None, tokens=tokens)

    def _for_all_tasks(self) -> int:
        """Return the number of another task's journal, or else the fastest."""
        if self._tokens is None:
            self._tokens = self._kept(self._journals)
        if self._tokens is None:
            self._tokens, speeds = fastest(self._model, self._clock)
            shown = ", ".join(f"{size:,}: {speed:,.0f} tokens/s" for size, speed in speeds.items())
            notify(f"batch size auto: {self._tokens:,} tokens a pass ({shown})")
        return self._tokens

    def _kept(self, journals: Sequence[Path]) -> int | None:
        """Return the number in the first journal of the same model and version, or None."""
        identity = identified.identity_of(self._model).stated()
        facts = {key: value for key, value in identity.items() if key not in NOT_COMPARED}
        facts["version"] = __version__
        for folder in journals:
            found = journal.inputs_of(folder)
            tokens = str(found.get("batch", ""))
            if tokens.isdecimal() and all(found.get(key) == facts[key] for key in facts):
                if tokens not in self._announced:
                    notify(f"batch size auto: {int(tokens):,} tokens a pass, as in the journal")
                    self._announced.add(tokens)
                return int(tokens)
        return None


def fastest(
    model: Model, clock: Callable[[], float] = time.perf_counter
) -> tuple[int, dict[int, float]]:
    """Return the tokens of the fastest pass, and the tokens per second of each one tried.

    Passes grow until one does not fit into memory or is not faster than the one before.
    """
    speeds: dict[int, float] = {}
    best = 0
    for size, batch in _batches(model):
        if size > min(_sizes(model)) and isinstance(model, StatesFit) and not model.fits(batch):
            break
        speeds[size] = size / _seconds(model, batch, clock)
        if best and speeds[size] < GAIN * speeds[best]:
            break
        best = size
    return best, speeds


def _sizes(model: Model) -> Sequence[int]:
    return SIZES.get(identified.identity_of(model).device.partition(":")[0], GPU_SIZES)


def _batches(model: Model) -> Iterator[tuple[int, list[Request]]]:
    """Yield batches of growing size; each request scores the second half of its tokens."""
    length = min(LENGTH, model.context)
    ids = _ids(model, length + 1)
    request = Request(ids[: max(1, length // 2)], (ids[max(1, length // 2) :],))
    for size in _sizes(model):
        yield size, [request] * max(1, size // length)


def _ids(model: Model, count: int) -> Ids:
    try:
        ids = model.encode(TEXT).ids
    except UsageError:  # a model of other characters
        ids = np.zeros(1, np.int32)
    return np.resize(ids, count)


def _seconds(model: Model, batch: Sequence[Request], clock: Callable[[], float]) -> float:
    """Return the time of a pass: the shorter of two, since the first also prepares."""
    times = []
    for _ in range(2):
        start = clock()
        model.score(batch)
        times.append(clock() - start)
    return max(min(times), 1e-9)
