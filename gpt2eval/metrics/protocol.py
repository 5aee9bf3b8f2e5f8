"""The protocol of a task on a model: its windows and its signature fields."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from gpt2eval.config.schema import Task
from gpt2eval.data.records import Corpus
from gpt2eval.errors import UsageError
from gpt2eval.metrics.signature import differences
from gpt2eval.scoring.windows import Window
from gpt2eval.text.detokenizer import Detokenizer, OneWaySteps
from gpt2eval.types import AddsToken, Filter, Model


@dataclass(frozen=True, slots=True)
class ProtocolFields:
    """The protocol of a number, in signature order; a field that is None is omitted.

    `data` is the hash of the text, followed by `!` if it is not the published text. The unit
    follows `detok` in a signature; it is not a field here because it differs between metrics.
    """

    data: str
    ask: str
    records: str | None
    detok: str
    lead: str | None
    join: str | None
    norm: str | None
    filter: str | None
    ctx: int
    stride: int | None
    windows: str | None
    start: str
    specials: str | None
    tokens: str | None
    limit: int | None

    def stated(self) -> dict[str, str]:
        """Return the fields that are not None, as text."""
        return {key: str(value) for key, value in asdict(self).items() if value is not None}


# Marks of detokenizers that cannot be inverted, by class and `invertible`.
MARKS = {(Detokenizer, False): "(one-way)", (OneWaySteps, False): "(published,one-way)"}


def window(
    task: Task, model: Model, context: int | None = None, stride: int | None = None
) -> Window:
    """Return the windows of a task on a model; `context` and `stride` override the task's.

    Raises UsageError for a context above the model's, or a stride above the context.
    """
    context = context or min(task.context, model.context)
    if context > model.context:
        raise UsageError(
            f"--context {context}: the model's context is {model.context}; expected at most that"
        )
    stride = stride or task.stride or context
    if stride > context:
        raise UsageError(
            f"task {task.full_name}: stride {stride} is above the context of {context}"
        )
    start = {"none": None, "own": added(model)}.get(task.start, model.start)
    return Window(context, stride, start, task.windows)


def added(model: Model) -> int | None:
    """Return the token that the model's tokenizer by default adds before a text, or None."""
    return model.added if isinstance(model, AddsToken) else None


def fields(
    task: Task,
    corpus: Corpus,
    limit: int | None,
    window: Window,
    detokenizer: Detokenizer | OneWaySteps | None,
    words: Filter | None,
    *,
    lossy: bool,
    kept: str = "",
) -> ProtocolFields:
    """Return the protocol by which a task is measured.

    `kept` says how many lines the detokenizer kept as published, if they are many.
    """
    filtered = f"{words.name}.w{words.width}.d{words.depth}" if words else "none"
    return ProtocolFields(
        data=corpus.sha256[:8] + ("" if corpus.published else "!"),
        ask=task.ask,
        records=task.format if task.ask == "everything" and task.format != "stream" else None,
        detok=detokenizer.name + MARKS.get((type(detokenizer), detokenizer.invertible), "") + kept
        if detokenizer
        else "none",
        lead=None if task.lead is None else repr(task.lead).strip("'"),
        join=task.join if task.join != "newline" else None,
        norm=task.normalize if task.normalize != "none" else None,
        filter=filtered if "acc" in task.metrics else None,
        ctx=window.context,
        stride=window.stride if task.ask == "everything" else None,
        windows=window.kind if window.kind != "regular" else None,
        start="none" if task.start == "eot" and window.start is None else task.start,
        specials=task.specials if task.specials != "text" else None,
        tokens="lossy-tokenizer" if lossy else None,
        limit=limit,
    )


def check(task: Task, protocol: ProtocolFields, expected: Mapping[str, str]) -> None:
    """Raise UsageError, naming the fields, if a protocol is not the expected one."""
    if differing := differences(expected, protocol.stated()):
        details = "; ".join(
            f"{key}: the signature has {theirs or '(none)'}, this task {ours or '(none)'}"
            for key, theirs, ours in differing
        )
        raise UsageError(f"task {task.full_name}: not the signature's protocol: {details}")
