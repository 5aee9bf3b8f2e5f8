"""Identify this process among several workers, and wait for the others.

Workers share only the results folder. `--shard I/N` names the worker explicitly; torchrun and
`accelerate launch` set RANK and WORLD_SIZE. Workers exchange nothing while they work, so a lost
worker loses only its own chunks. Other shards continue without it; torchrun stops the remaining
ranks, and the same command (or `--max-restarts`) resumes.
"""

import atexit
import os
from datetime import timedelta

from gpt2eval.errors import UsageError
from gpt2eval.notices import notify
from gpt2eval.settings import Worker, whole_number

BARRIER_TIMEOUT = timedelta(hours=12)


def worker_of_shard(text: str) -> Worker:
    """Parse `I/N`, where I counts from 1. Raises UsageError for anything else.

    >>> worker_of_shard("2/8")
    Worker(rank=1, world=8)
    """
    number, _, count = text.partition("/")
    shard, shards = whole_number(number), whole_number(count)
    if shard is None or shards is None or not 1 <= shard <= shards:
        raise UsageError(f"--shard {text:.40}: expected I/N with I from 1 to N, such as 2/8")
    return Worker(shard - 1, shards)


def worker_of_launcher() -> Worker:
    """Return the rank that torchrun or accelerate assigned; without them, the only worker.

    Raises UsageError if the variables they set are incomplete or invalid.
    """
    rank = os.environ.get("RANK", "0")
    world = os.environ.get("WORLD_SIZE", "1")
    if not (rank.isdecimal() and world.isdecimal() and int(rank) < int(world)):
        raise UsageError(
            f"RANK={rank} WORLD_SIZE={world}: expected both as torchrun sets them, "
            "with RANK below WORLD_SIZE, or neither"
        )
    if int(world) > 1 and not os.environ.get("MASTER_ADDR"):
        raise UsageError(
            f"WORLD_SIZE={world} without MASTER_ADDR: expected torchrun or accelerate launch; "
            "without a launcher, use --shard I/N"
        )
    return Worker(int(rank), int(world))


def wait_for_workers() -> bool:
    """Wait until every rank has finished its chunks; return whether this rank is the first.

    The first rank folds the results. A single worker returns False at once. If a rank does not
    arrive, a notice reports it; the same command then scores its missing chunks.
    """
    worker = worker_of_launcher()
    if worker.world == 1:
        return False
    from torch import distributed

    try:
        # The process group stays until the process ends: a second one would find the addresses of
        # the first and wait for them forever.
        if not distributed.is_initialized():
            distributed.init_process_group("gloo", timeout=BARRIER_TIMEOUT)
            atexit.register(distributed.destroy_process_group)
        distributed.monitored_barrier(timeout=BARRIER_TIMEOUT)
    except (RuntimeError, ValueError) as error:
        notify(f"not all {worker.world} workers finished: {str(error).splitlines()[0]}")
    return worker.rank == 0
