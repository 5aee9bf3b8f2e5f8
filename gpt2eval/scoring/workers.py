"""Which of several workers this process is, and how they meet at the end.

Workers share nothing but the folder of results: `--shard I/N` says it outright, torchrun and `accelerate launch` say
it by RANK and WORLD_SIZE. There is no exchange while they work, so a lost worker costs only its own units: those of
`--shard` go on without it; torchrun stops the others too, and the same command (or `--max-restarts`) goes on.
"""

import atexit
import os
from datetime import timedelta

from gpt2eval.errors import UsageError
from gpt2eval.notices import notify
from gpt2eval.types import Worker

PATIENCE = timedelta(hours=12)


def worker_of_shard(text: str) -> Worker:
    """`I/N`, counted from 1. Raises UsageError for anything else."""
    part, slash, whole = text.partition("/")
    if not (slash and part.isdecimal() and whole.isdecimal() and 1 <= int(part) <= int(whole)):
        raise UsageError(f"--shard {text}: expected I/N with I from 1 to N, such as 2/8")
    return Worker(int(part) - 1, int(whole))


def worker_of_launcher() -> Worker:
    """The rank that torchrun or accelerate gave this process; the only worker without them.

    Raises UsageError where what they set is not whole.
    """
    rank, world = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if not (rank.isdecimal() and world.isdecimal() and int(rank) < int(world)):
        raise UsageError(
            f"RANK={rank} WORLD_SIZE={world}: expected numbers, as torchrun sets them, or neither"
        )
    if int(world) > 1 and not os.environ.get("MASTER_ADDR"):
        raise UsageError(
            f"WORLD_SIZE={world} without MASTER_ADDR: expected torchrun or accelerate launch; or --shard I/N"
        )
    return Worker(int(rank), int(world))


def wait_for_workers() -> bool:
    """Wait until every rank has done its units; whether this one is to sum up (the first is).

    A rank that does not come is said on stderr; its units are missing then, and the same command does them. Ranks may
    meet any number of times: the process group of the first time stays until the process ends, because a second one
    would find the first one's addresses and wait for them for ever.
    """
    worker = worker_of_launcher()
    if worker.world == 1:
        return False
    from torch import distributed

    try:
        if not distributed.is_initialized():
            distributed.init_process_group("gloo", timeout=PATIENCE)
            atexit.register(distributed.destroy_process_group)
        distributed.monitored_barrier(timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        notify(f"not all of {worker.world} workers came to the end: {str(error).splitlines()[0]}")
    return worker.rank == 0
