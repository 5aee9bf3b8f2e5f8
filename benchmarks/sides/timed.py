"""Shared by all measured sides: the job, its work, the clock, and the result.

A side is a separate process. It loads the model, warms up, performs the work once under the clock,
and writes the measurement. This file needs only torch, so that it also runs in the environment of
the other tools.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import torch

PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20
VERSIONS = ("torch", "transformers", "lm_eval")


class Request(NamedTuple):
    """A context, the words that may follow it, and the rest of the sentence after each of them."""

    context: str
    choices: list[str]
    rest: str

    def continuations(self) -> list[str]:
        """Return the text after the context for each choice, beginning with a space."""
        return [f" {choice}{self.rest}" for choice in self.choices]


class Work(NamedTuple):
    """Either requests, or a text in windows of `window` tokens, each with `stride` new ones."""

    requests: list[Request]
    text: str
    window: int
    stride: int

    @classmethod
    def parse(cls, content: dict) -> "Work":
        """Build the work from its JSON."""
        return cls(
            [Request(*request) for request in content["requests"]],
            content["text"],
            content["window"],
            content["stride"],
        )


class Job(NamedTuple):
    """One side's part of one round.

    `work` is the path of a file with the work and a small piece of work for warming up.
    """

    task: str
    work: str
    model: str
    dtype: str
    device: str
    threads: int
    batch: int


class Score(NamedTuple):
    """The total log-likelihood, and the number of scored tokens (0 if not reported)."""

    loglikelihood: float
    tokens: int


class Measured(NamedTuple):
    """Time and memory of a side.

    Memory is that of the process, or of the device on a GPU, at its peak and after loading.
    """

    wall_s: float
    cpu_s: float
    peak_mib: float
    loaded_mib: float
    score: Score
    versions: dict[str, str]


def read_job() -> Job:
    """Read the job of this process, and set its number of threads."""
    job = Job(**json.loads(Path(sys.argv[1]).read_text()))
    torch.set_num_threads(job.threads)
    return job


def answer(result: dict) -> None:
    """Write the result to the path on the command line."""
    Path(sys.argv[2]).write_text(json.dumps(result))


def measure(load: Callable[[Job, Work], Callable[[Work], Score]]) -> None:
    """Load, warm up, perform the work once under the clock, and write the result."""
    job = read_job()
    content = json.loads(Path(job.work).read_text())
    work = Work.parse(content["work"])
    warm = Work.parse(content["warm"])
    on_gpu = job.device != "cpu"
    score = load(job, work)
    loaded = torch.cuda.memory_allocated() / 2**20 if on_gpu else _resident_mib()
    # On a GPU the warm-up needs the same shapes, for which kernels are chosen or compiled.
    score(work if on_gpu else warm)
    wall_start = time.perf_counter()
    cpu_start = time.process_time()
    result = score(work)
    wall = time.perf_counter() - wall_start
    cpu = time.process_time() - cpu_start
    peak = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else _peak_mib()
    answer(Measured(wall, cpu, peak, loaded, result, _versions())._asdict())


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes on macOS, else KiB


def _resident_mib() -> float:
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * PAGE_MIB if statm.exists() else _peak_mib()


def _versions() -> dict[str, str]:
    versions = {}
    for name in VERSIONS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    if torch.cuda.is_available():
        versions["device"] = torch.cuda.get_device_name()
    return versions
