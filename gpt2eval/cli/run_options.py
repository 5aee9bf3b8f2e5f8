"""Options that only `gpt2eval run` has."""

from typing import Annotated, Optional

from gpt2eval.cli.options import COMPUTE, DATA, MODEL, OUTPUT, PROTOCOL, TASKS, flag, option
from gpt2eval.config.catalog import PAPER

Models = Annotated[
    Optional[list[str]],
    option(
        MODEL,
        metavar="MODEL",
        text="Hub id, folder, SCHEME:REST, MODULE:FACTORY, or 'demo' (default). Repeatable.",
    ),
]
Names = Annotated[
    Optional[list[str]],
    option(
        MODEL,
        metavar="NAME",
        text="Name of the model in folders and tables; one for each --model, in order. Repeatable.",
    ),
]
Revisions = Annotated[
    Optional[str],
    option(MODEL, metavar="REVS", text="Revisions to score, separated by commas."),
]
TrustRemoteCode = Annotated[
    bool, flag(MODEL, "trust-remote-code", "Run code that comes with the model.")
]
OptionalTasks = Annotated[
    Optional[str],
    option(DATA, metavar="TASKS", text=f"{TASKS} Default: {PAPER}; with --text: none."),
]
OwnTexts = Annotated[
    Optional[list[str]],
    option(
        DATA,
        metavar="PLACE",
        text="Your own text: FILE (one stream), DIR (a document per file), FILE.jsonl:KEY, "
        "FILE.parquet:COLUMN or jsonl:KEY:FILE. Repeatable.",
    ),
]
UnitName = Annotated[
    Optional[str],
    option(
        DATA,
        metavar="UNIT",
        text="Denominator for --text: word (default), word+eol, byte or char.",
    ),
]
DetokenizerName = Annotated[
    Optional[str],
    option(
        DATA,
        metavar="NAME",
        text="Detokenizer for --text; 'gpt2eval ls' lists them. Default: none.",
    ),
]
GroupColumn = Annotated[
    Optional[str],
    option(
        DATA,
        "--group",
        metavar="COLUMN",
        text="Key or column of a --text that names each document's group; a folder's groups are "
        "its subfolders.",
    ),
]
ContextSize = Annotated[
    Optional[int],
    option(
        PROTOCOL, metavar="N", text="Window in tokens; default: the task's, at most the model's."
    ),
]
StrideSize = Annotated[
    Optional[int],
    option(PROTOCOL, metavar="N", text="New tokens scored per window; default: the context."),
]
AllowLossy = Annotated[
    bool,
    flag(
        PROTOCOL,
        "allow-lossy",
        "Report bits per byte even if the tokens do not reproduce the text.",
    ),
]
Shard = Annotated[
    Optional[str],
    option(
        COMPUTE,
        metavar="I/N",
        text="Score the I-th of N shards; all shards share --out.",
    ),
]
DeviceMap = Annotated[
    Optional[str],
    option(COMPUTE, metavar="MAP", text="Spread the layers over several devices: auto."),
]
TensorParallel = Annotated[
    Optional[int],
    option(COMPUTE, metavar="N", text="Split tensors over N processes; run under torchrun."),
]
DryRun = Annotated[
    bool,
    flag(
        COMPUTE,
        "dry-run",
        "Only print the plan: tokens, chunks, time (from a short trial), memory and disk.",
    ),
]
CountFlops = Annotated[
    bool, flag(COMPUTE, "flops", "With --dry-run: count floating-point operations, too.")
]
WordStarts = Annotated[
    bool,
    flag(
        OUTPUT,
        "word-starts",
        "Also keep the probability that a word begins at each token, for 'export --words'.",
    ),
]
