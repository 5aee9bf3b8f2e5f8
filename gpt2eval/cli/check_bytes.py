"""The command `gpt2eval check-bytes`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from gpt2eval.cli.arguments import data_files, load_options, own_texts, settings, size
from gpt2eval.cli.options import (
    DATA,
    MODEL,
    OUTPUT,
    TASKS,
    AllowKept,
    ApiKeyFile,
    ApiMaxAnswer,
    ApiTimeout,
    Attn,
    BatchSize,
    Cache,
    Data,
    Device,
    Dtype,
    Include,
    Limit,
    MaxSize,
    Peft,
    Quantization,
    Revision,
    flag,
    option,
)
from gpt2eval.cli.output import print_styled
from gpt2eval.cli.run_options import (
    ContextSize,
    DetokenizerName,
    OwnTexts,
    StrideSize,
    TrustRemoteCode,
)
from gpt2eval.errors import UsageError

if TYPE_CHECKING:
    from gpt2eval.analysis.byte_account.account import ByteAccount

NOT_CERTIFIED = 1  # exit status

CheckedModel = Annotated[str, option(MODEL, metavar="MODEL", text="As for run.")]
CheckedTasks = Annotated[Optional[str], option(DATA, metavar="TASKS", text=TASKS)]
Unit = Annotated[
    Optional[str],
    option(DATA, metavar="UNIT", text="Unit of a --text that was run before; default: byte."),
]
TokenFile = Annotated[
    Optional[str],
    option(
        DATA,
        "--tokens",
        metavar="FILE",
        text="File of token ids: a shard of llm.c or modded-nanogpt, or uint16:FILE (uint32:FILE) "
        "without a header, such as nanoGPT's val.bin.",
    ),
]
TokensTokenizer = Annotated[
    Optional[str],
    option(
        MODEL,
        "--tokenizer",
        metavar="NAME",
        text="As for run; with --tokens: the tokenizer that wrote them, which must be the model's, "
        "or auto for the model's own.",
    ),
]
MaxTokens = Annotated[
    Optional[int],
    option(
        DATA,
        "--max-tokens",
        metavar="N",
        text="Only the first N tokens of --tokens; default: 10,485,760, as in modded-nanogpt.",
    ),
]
KeptOut = Annotated[
    Optional[Path],
    option(
        OUTPUT,
        "--out",
        metavar="DIR",
        text="Folder of results: what a run has scored there is checked, and not scored again; "
        "default: keep nothing.",
    ),
]
Windows = Annotated[bool, flag(OUTPUT, "windows", "Also print a row for each window.")]
FormatName = Annotated[
    Optional[str],
    option(
        OUTPUT,
        "--format",
        metavar="FORMAT",
        text="terminal, markdown, csv or json; default: terminal, or markdown if piped.",
    ),
]


def check_bytes(
    ctx: typer.Context,
    model: CheckedModel = "demo",
    revision: Revision = None,
    tokenizer: TokensTokenizer = None,
    peft: Peft = None,
    quantization: Quantization = None,
    api_key_file: ApiKeyFile = None,
    api_timeout: ApiTimeout = None,
    api_max_answer: ApiMaxAnswer = None,
    trust_remote_code: TrustRemoteCode = False,
    tasks: CheckedTasks = None,
    data: Data = None,
    text: OwnTexts = None,
    unit: Unit = None,
    detokenizer: DetokenizerName = None,
    token_file: TokenFile = None,
    max_tokens: MaxTokens = None,
    cache: Cache = None,
    max_size: MaxSize = None,
    include: Include = None,
    limit: Limit = None,
    context: ContextSize = None,
    stride: StrideSize = None,
    allow_kept: AllowKept = False,
    device: Device = "auto",
    dtype: Dtype = "float32",
    attn: Attn = None,
    batch_size: BatchSize = None,
    out: KeptOut = None,
    windows: Windows = False,
    form: FormatName = None,
) -> None:
    """Prove that the scored tokens have the bytes of the text.

    Prints what a table of bytes per token would have counted instead. The exit status is 0 if every
    text is certified, and 1 if not.
    """
    _check_sources(tasks, text, token_file, tokenizer, max_tokens, limit)
    from gpt2eval.analysis.byte_account.account import all_certified
    from gpt2eval.analysis.byte_account.render import check_account_format, render_accounts
    from gpt2eval.report.table import default_format

    form = form or default_format()
    check_account_format(form)
    accounts = _accounts(ctx)
    shown = render_accounts(accounts, form, windows=windows)
    if form == "terminal":
        print_styled(shown)
    else:
        print(shown)
    if not all_certified(accounts):
        raise typer.Exit(NOT_CERTIFIED)


def _check_sources(
    tasks: str | None,
    text: list[str] | None,
    tokens: str | None,
    tokenizer: str | None,
    max_tokens: int | None,
    limit: int | None,
) -> None:
    """Raise UsageError unless there is a text to check, and for options that do not apply to it."""
    if not (tasks or text or tokens):
        raise UsageError("check-bytes: nothing to check; expected --text, --tasks or --tokens")
    if tokens and (tasks or text):
        raise UsageError("--tokens: expected without --text and --tasks")
    if tokens and not tokenizer:
        raise UsageError(
            "--tokens: the file does not say which tokenizer wrote it; expected --tokenizer, or "
            "--tokenizer auto for the model's own"
        )
    if tokens and limit is not None:
        raise UsageError(f"--limit {limit}: applies to texts; expected --max-tokens with --tokens")
    if not tokens and max_tokens is not None:
        raise UsageError(f"--max-tokens {max_tokens}: expected --tokens with it")


def _accounts(ctx: typer.Context) -> "list[ByteAccount]":
    """Account for what the options name."""
    from gpt2eval.cli.progress import bars

    shared = {"out": ctx.params["out"], "settings": settings(ctx.params, allow_lossy=True)}
    with bars() as show_progress:
        shared["progress"] = show_progress
        if ctx.params["token_file"]:
            return [_account_of_tokens(ctx.params, shared)]
        return _accounts_of_texts(ctx.params, shared)


def _account_of_tokens(flags: Mapping[str, Any], shared: Mapping[str, Any]) -> "ByteAccount":
    from gpt2eval.analysis.byte_account import shard

    return shard.check_tokens(
        flags["model"],
        flags["token_file"],
        flags["tokenizer"],
        most=shard.MOST if flags["max_tokens"] is None else flags["max_tokens"],
        options=load_options(flags, tokenizer=None),
        **shared,
    )


def _accounts_of_texts(flags: Mapping[str, Any], shared: Mapping[str, Any]) -> "list[ByteAccount]":
    from gpt2eval.analysis.byte_account import tasks

    include = flags["include"] or ()
    unit = flags["unit"] or ("byte" if flags["text"] else None)
    limit = size(flags["max_size"])
    return tasks.check_bytes(
        flags["model"],
        flags["tasks"] or (),
        texts=own_texts(flags["text"], unit, flags["detokenizer"], include, limit),
        data=data_files(flags["data"], include),
        options=load_options(flags),
        include=include,
        **shared,
    )
