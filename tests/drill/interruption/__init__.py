"""Kills, faults and full disks: what a run leaves, and whether the next one repairs it."""

from drill.interruption import (
    data_faults,
    disks,
    downloads,
    journal_faults,
    runs,
    watches,
    weight_faults,
)
from drill.part import Part

KILLED = "is killed (SIGKILL, SIGTERM, SIGINT) and resumed: all files as undisturbed, "
EVERY_BIT = 1 << 20  # more than a chunk's file has

PARTS = (
    Part(
        "interruption: run",
        f"A run {KILLED}no finished chunk repeated.",
        72,
        2,
        runs.run,
        is_long=True,
    ),
    Part(
        "interruption: installed command",
        f"The installed command {KILLED}no traceback even while it starts.",
        20,
        0,
        runs.installed,
    ),
    Part(
        "interruption: two workers",
        f"One of two workers or both {KILLED}no finished chunk repeated.",
        36,
        1,
        runs.two_workers,
        is_long=True,
    ),
    Part(
        "interruption: watch",
        f"A watch of two checkpoints {KILLED}no checkpoint scored twice.",
        32,
        0,
        watches.watch,
        is_long=True,
    ),
    Part(
        "interruption: data fetch",
        f"A download from a slow server that hangs up {KILLED}the cache complete.",
        40,
        2,
        downloads.fetch,
    ),
    Part(
        "interruption: disk",
        "The output folder fills up, turns read-only or vanishes, or files are limited: one line.",
        24,
        2,
        disks.disks,
    ),
    Part(
        "interruption: two runs at once",
        "The same run is started twice into one folder: both complete with equal files.",
        6,
        0,
        disks.two_runs,
    ),
    Part(
        "faults: chunk",
        "One bit of a chunk's file, each in turn: one notice, and the chunk is scored again.",
        EVERY_BIT,
        400,
        journal_faults.chunk_bits,
    ),
    Part(
        "faults: output folder",
        "One bit of any file of a finished run: the next run writes the undisturbed files.",
        80,
        2,
        journal_faults.output_folder,
    ),
    Part(
        "faults: data",
        "One byte of the data changes between two runs: the result of the changed data alone.",
        20,
        1,
        data_faults.between_runs,
    ),
    Part(
        "faults: cache and mirror",
        "One bit in the cache, or of what a mirror sends: the published file, or one line.",
        30,
        1,
        data_faults.cached_and_mirrored,
    ),
    Part(
        "faults: weights",
        "One bit of the weights changes before a run resumes: no chunk of the others is used.",
        24,
        0,
        weight_faults.between_runs,
    ),
    Part(
        "faults: memory",
        "One bit of what is remembered of a model: one notice, the same result, and repaired.",
        20,
        0,
        weight_faults.memory,
    ),
)
