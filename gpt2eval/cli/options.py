"""Options that several commands share, and the settings built from them.

Each option belongs to a named group of the help: model, data, protocol, compute or output.
"""

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from gpt2eval.cli.session import make_importable

MODEL = "Model"
DATA = "Data"
PROTOCOL = "Protocol"
COMPUTE = "Compute"
OUTPUT = "Output"


def option(
    group: str,
    *names: str,
    metavar: str = "",
    text: str,
    default: bool = True,
    callback: Any = None,
) -> Any:
    """Return an option in a help group; the help shows its default value if `default`."""
    return typer.Option(
        *names,
        metavar=metavar or None,
        help=text,
        show_default=default,
        callback=callback,
        rich_help_panel=group,
    )


def flag(group: str, name: str, text: str) -> Any:
    """Return a flag that `--no-NAME` unsets, for instance when a --config file sets it."""
    return option(group, f"--{name}/--no-{name}", text=text, default=False)


TASKS = "Tasks, variants (TASK/VARIANT) and suites, separated by commas."
Tasks = Annotated[str, option(DATA, metavar="TASKS", text=TASKS)]
Include = Annotated[
    Optional[list[Path]],
    option(
        DATA,
        "--include",
        metavar="DIR",
        text="Folder with your own tasks/ or detokenizers/. Repeatable.",
        callback=make_importable,
    ),
]
Data = Annotated[
    Optional[list[str]],
    option(
        DATA,
        "--data",
        metavar="TASK=PATH",
        text="Local file of a task, or an archive that contains it; a folder with published files; "
        "or 'demo'. Repeatable.",
    ),
]
MeasuredText = Annotated[
    Optional[list[str]],
    option(
        DATA,
        "--text",
        metavar="PATH",
        text="Your own text that was measured, as for run. Repeatable.",
    ),
]
Sizes = Annotated[
    Optional[list[str]],
    option(
        DATA,
        "--size",
        metavar="MODEL=N",
        text="Weights of a model in a plot of scores by size, such as gpt2=124M; default: from a "
        "GPT-2's shape, or from the name. Repeatable.",
    ),
]
Cache = Annotated[
    Optional[Path],
    option(
        DATA,
        metavar="DIR",
        text="Folder of downloaded data; 'gpt2eval data where' prints the default.",
    ),
]
MaxSize = Annotated[
    Optional[str],
    option(
        DATA,
        "--max-size",
        metavar="SIZE",
        text="Most that a local file may have or unpack to, such as 20GB; default: 2GB, and "
        "100 times a packed file.",
    ),
]
StrictData = Annotated[
    bool, flag(DATA, "strict-data", "Reject data whose checksum is not the published one.")
]
Limit = Annotated[
    Optional[int],
    option(PROTOCOL, metavar="N", text="Only the first N records (for a stream: lines)."),
]
AllowKept = Annotated[
    bool,
    flag(
        PROTOCOL,
        "allow-kept",
        "Accept text of which the detokenizer keeps more than 5 % of the lines as they are.",
    ),
]
BatchSize = Annotated[
    Optional[str],
    option(
        COMPUTE,
        metavar="N",
        text="Windows per forward pass, or auto for the fastest; default: as many as 1,024 tokens "
        "hold (GPU: 32,768).",
    ),
]
Dtype = Annotated[
    str, option(COMPUTE, metavar="TYPE", text="float32, bfloat16, float16 or float64.")
]
Device = Annotated[
    str,
    option(COMPUTE, metavar="NAME", text="cpu, cuda, cuda:1, ...; auto uses a GPU if one exists."),
]
Attn = Annotated[
    Optional[str],
    option(COMPUTE, metavar="NAME", text="Attention of transformers, such as eager or sdpa."),
]
Revision = Annotated[
    Optional[str], option(MODEL, metavar="REV", text="Branch, tag or commit of a Hub model.")
]
TokenizerOption = Annotated[
    Optional[str],
    option(
        MODEL,
        metavar="NAME",
        text="Folder, file or Hub id; if a checkpoint's two tokenizers disagree, auto or file.",
    ),
]
Peft = Annotated[
    Optional[str],
    option(MODEL, metavar="NAME", text="Adapter (folder or Hub id) to merge into the weights."),
]
Quantization = Annotated[
    Optional[str],
    option(
        MODEL,
        metavar="NAME",
        text="bnb-8bit, bnb-4bit, gptq or awq; needs its package and a GPU.",
    ),
]
ApiKeyFile = Annotated[
    Optional[str],
    option(MODEL, metavar="FILE", text="File with the API key for an api: model, on one line."),
]
ApiTimeout = Annotated[
    Optional[float],
    option(
        MODEL,
        metavar="SECONDS",
        text="Time in which an api: server must begin an answer; default: 600.",
    ),
]
ApiMaxAnswer = Annotated[
    Optional[int],
    option(
        MODEL,
        metavar="BYTES",
        text="Largest answer of an api: server; default: 8 MiB, and 256 for each byte sent.",
    ),
]
Out = Annotated[Path, option(OUTPUT, metavar="DIR", text="Folder for results.")]
Signatures = Annotated[
    bool,
    flag(OUTPUT, "signatures", "Print every signature in full below the table."),
]
Track = Annotated[
    Optional[list[str]],
    option(
        OUTPUT,
        "--track",
        metavar="PLACE",
        text="Log the numbers to tensorboard:DIR, mlflow, mlflow:URI or wandb:PROJECT. Repeatable.",
    ),
]
