"""Notices after `run` about chunks that are not scored yet, and the commands that score them."""

import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from gpt2eval.errors import scrub
from gpt2eval.notices import notify


def report_incomplete(
    out: Path,
    models: Sequence[str],
    requested: str | Sequence[str],
    text_tasks: Sequence[str],
    include: Sequence[Path],
    shard: str | None,
) -> None:
    """Emit a notice for each requested task with missing chunks, and for each shard that remains.

    `models` are names in results. With `--shard I/N`, chunk k belongs to shard 1 + k modulo N, so
    the missing chunks tell which shards are left.
    """
    from gpt2eval.config.loader import select_tasks
    from gpt2eval.scoring import journal

    tasks = {*(task.full_name for task in select_tasks(requested, include)), *text_tasks}

    def wanted(decides: "journal.Inputs") -> bool:
        return decides.get("task") in tasks and decides.get("name") in models

    if shard is None:
        for line in journal.incomplete([out], wanted):
            notify(f"{line}; run the same command again to score them")
        return
    count = int(shard.partition("/")[2])
    remaining: set[int] = set()
    for line, missing in journal.missing_chunks([out], wanted):
        shards = sorted({1 + number % count for number in missing})
        remaining.update(shards)
        listed = ", ".join(f"{number}/{count}" for number in shards)
        notify(f"{line}; they belong to shard {listed}")
    for number in sorted(remaining):
        notify(f"to score shard {number}/{count}: {shard_command(sys.argv[1:], number, count)}")


def shard_command(arguments: Iterable[str], number: int, count: int) -> str:
    """Return the same command for another shard.

    >>> shard_command(["run", "--shard", "1/2", "--out", "my dir"], 2, 2)
    "gpt2eval run --shard 2/2 --out 'my dir'"
    """
    words = [scrub(word) for word in arguments]
    wanted = f"{number}/{count}"
    for index, word in enumerate(words):
        if word.startswith("--shard="):
            words[index] = f"--shard={wanted}"
            break
        if word == "--shard" and index + 1 < len(words):
            words[index + 1] = wanted
            break
    else:
        words += ["--shard", wanted]  # a --config file sets it
    return shlex.join(["gpt2eval", *words])
