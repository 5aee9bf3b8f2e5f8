"""Options that several commands have, their help, and what they mean."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from gpt2eval.errors import UsageError

if TYPE_CHECKING:
    from gpt2eval.data.custom import Text

PAPER = "gpt2-paper"

TASKS = "Tasks, variants (task/variant) and suites, separated by commas."
Tasks = Annotated[str, typer.Option(help=TASKS)]
Include = Annotated[
    Optional[list[Path]],
    typer.Option(
        "--include", help="Folder with tasks/ or detokenizers/ of your own; may be repeated."
    ),
]
Data = Annotated[
    Optional[list[str]],
    typer.Option(
        "--data",
        help="TASK=PATH: a local file (or archive with it) for a task; or 'demo'. May be repeated.",
    ),
]
Cache = Annotated[
    Optional[Path],
    typer.Option(
        help="Folder of published data; by default the one that 'gpt2eval data where' prints."
    ),
]
Out = Annotated[Path, typer.Option(help="Folder for results.")]
Limit = Annotated[
    Optional[int], typer.Option(help="Only the first N records (of a stream, lines).")
]
BatchSize = Annotated[
    Optional[int],
    typer.Option(
        help="Windows of the context in a forward pass; by default 1,024 tokens (GPU: 32,768)."
    ),
]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, float16 or float64.")]
Device = Annotated[
    str, typer.Option(help="cpu, cuda, cuda:1, ...; auto takes a GPU if there is one.")
]
Revision = Annotated[Optional[str], typer.Option(help="Branch, tag or commit of a Hub model.")]
Attn = Annotated[
    Optional[str],
    typer.Option(help="Attention implementation of transformers, such as eager or sdpa."),
]
TokenizerOption = Annotated[
    Optional[str],
    typer.Option(
        help="A folder, file or Hub id; or, where the checkpoint's own two do not agree, auto or file."
    ),
]
Peft = Annotated[
    Optional[str],
    typer.Option(help="An adapter's folder or Hub id, merged into the model's weights."),
]
Quantization = Annotated[
    Optional[str],
    typer.Option(help="bnb-8bit, bnb-4bit, gptq or awq; needs its package, and a GPU."),
]
ApiKeyFile = Annotated[
    Optional[str], typer.Option(help="A file with the key of the server of an api: model.")
]


def named(models: Sequence[str], revisions: str | None) -> list[str]:
    """Every model, each once; with revisions (`step1000,step2000`) every one at every revision, as `M@step1000`."""
    listed = revisions.split(",") if revisions is not None else []
    if not all(listed):
        raise UsageError(
            f"--revisions {revisions}: expected branches, tags or commits, separated by commas"
        )
    return list(
        dict.fromkeys(f"{model}@{revision}" for model in models for revision in listed)
        if listed
        else dict.fromkeys(models)
    )


def files_of(data: list[str] | None, include: Sequence[Path]) -> dict[str, Path] | None:
    """`TASK=PATH` arguments as a mapping; `demo` stands for all the embedded records."""
    if not data:
        return None
    from gpt2eval.config.loader import load_task

    files: dict[str, Path] = {}
    for item in data:
        name, equals, path = item.partition("=")
        if item == "demo":
            from gpt2eval import demo

            files = demo.data() | files
        elif not equals or not name or not path:
            raise UsageError(f"--data {item}: expected TASK=PATH, or 'demo'")
        else:
            files[load_task(name, include).full_name] = Path(path)
    return files


def texts_of(
    where: list[str] | None, unit: str | None, detokenizer: str | None, include: Sequence[Path]
) -> list["Text"]:
    """`--text` arguments, read. Raises UsageError for `--unit` and `--detokenizer` without one."""
    if not where:
        alone = [
            f"--{name} {value}"
            for name, value in (("unit", unit), ("detokenizer", detokenizer))
            if value is not None
        ]
        if alone:
            raise UsageError(
                f"{alone[0]}: it says how a --text is measured; expected one, or the protocol's task in --tasks"
            )
        return []
    from gpt2eval.data import custom

    return custom.load_texts(
        [custom.load_text(text, unit or "word", detokenizer, include) for text in where]
    )
