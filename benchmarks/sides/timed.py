"""What every measured side shares: the job it is given, the work in it, the clock, and the answer it writes.

A side is a process of its own: it loads the model, warms up, does the work once under the clock, and writes what
that took. This file needs torch alone, so that it runs in the peers' environment too.
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
    """A context, and the words of which each may follow it (with the rest of the sentence)."""

    context: str
    choices: list[str]
    rest: str

    def continuations(self) -> list[str]:
        """What follows the context, once per choice, from the blank on."""
        return [f" {choice}{self.rest}" for choice in self.choices]


class Work(NamedTuple):
    """Either requests, or a text in windows of `window` tokens that score `stride` new ones each."""

    requests: list[Request]
    text: str
    window: int
    stride: int

    @classmethod
    def parse(cls, found: dict) -> "Work":
        """From its JSON."""
        return cls(
            [Request(*request) for request in found["requests"]],
            found["text"],
            found["window"],
            found["stride"],
        )


class Job(NamedTuple):
    """One side's part of one round; `work` is a file that holds the work and a small one of its kind to warm up with."""

    task: str
    work: str
    model: str
    dtype: str
    device: str
    threads: int
    batch: int


class Score(NamedTuple):
    """Log-likelihood of all that was scored, and the number of tokens it is of (0 where the side does not say)."""

    loglikelihood: float
    tokens: int


class Measured(NamedTuple):
    """What a side took. Memory is the process's, or on a GPU the device's, at its highest and after loading."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    loaded_mib: float
    score: Score
    versions: dict[str, str]


def read_job() -> Job:
    """The job of this process, with its number of threads set."""
    job = Job(**json.loads(Path(sys.argv[1]).read_text()))
    torch.set_num_threads(job.threads)
    return job


def answer(result: dict) -> None:
    """Write a result where this process was told to."""
    Path(sys.argv[2]).write_text(json.dumps(result))


def measure(load: Callable[[Job, Work], Callable[[Work], Score]]) -> None:
    """Load, warm up, do the work once under the clock, answer."""
    job = read_job()
    found = json.loads(Path(job.work).read_text())
    work, warm = Work.parse(found["work"]), Work.parse(found["warm"])
    on_gpu = job.device != "cpu"
    score = load(job, work)
    loaded = torch.cuda.memory_allocated() / 2**20 if on_gpu else _resident_mib()
    score(work if on_gpu else warm)
    wall, cpu = time.perf_counter(), time.process_time()
    result = score(work)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else _peak_mib()
    answer(Measured(wall, cpu, peak, loaded, result, _versions())._asdict())


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _resident_mib() -> float:
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * PAGE_MIB if statm.exists() else _peak_mib()


def _versions() -> dict[str, str]:
    found = {}
    for name in VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if torch.cuda.is_available():
        found["device"] = torch.cuda.get_device_name()
    return found
