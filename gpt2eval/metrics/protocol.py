"""The protocol of a task on a model: its windows and its signature fields."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from gpt2eval.config.schema import Filter, Pack, Task
from gpt2eval.data.records import Corpus
from gpt2eval.errors import UsageError
from gpt2eval.metrics.signature import RULES, Difference, protocol_differences
from gpt2eval.scoring.windows import Window
from gpt2eval.text.detokenizer import Detokenizer, OneWaySteps
from gpt2eval.types import AddsToken, Model, NamesTokens


@dataclass(frozen=True, slots=True)
class ProtocolFields:
    """The protocol of a number, in signature order; a field that is None is omitted.

    `data` is the hash of the text, followed by `!` if it is not the published text. The unit
    follows `detok` in a signature; it is not a field here because it differs between metrics.
    Results of older versions lack the fields with a default.
    """

    data: str
    ask: str
    records: str | None
    detok: str
    lead: str | None
    join: str | None
    pack: str | None = field(default=None, kw_only=True)
    drop: str | None = field(default=None, kw_only=True)
    draw: str | None = field(default=None, kw_only=True)
    norm: str | None
    filter: str | None
    ends: str | None = field(default=None, kw_only=True)
    ctx: int
    stride: int | None
    windows: str | None
    tail: str | None = field(default=None, kw_only=True)
    mean: str | None = field(default=None, kw_only=True)
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

    A task's blocks are windows of the kind `restart` that do not overlap; `context` overrides their
    size. If the model's tokenizer adds a start token, every regular window begins with it.
    Raises UsageError for a context above the model's, for a stride above the context, or beside
    blocks.
    """
    context = context or min(task.block or task.context, model.context)
    if context > model.context:
        raise UsageError(
            f"--context {context}: the model's context is {model.context}; expected at most that"
        )
    if task.block and stride not in (None, context):
        raise UsageError(
            f"task {task.full_name}: --stride {stride}: the task cuts its text into blocks; "
            "expected --context for their size, and no --stride"
        )
    stride = stride or task.stride or context
    if stride > context:
        raise UsageError(
            f"task {task.full_name}: stride {stride} is above the context of {context}"
        )
    own = added(model)
    eot = model.start if own is None else own
    start = {"none": None, "own": own, "eot+own": model.start}.get(task.start, eot)
    kind = "restart" if task.block else task.windows
    replaces = task.start == "replace"
    if replaces and start is None:
        raise UsageError(
            f"task {task.full_name}: start: replace: the model has no start token; expected one "
            "that takes the place of each window's first token"
        )
    repeats = start is not None and start == own and kind == "regular" and not replaces
    return Window(
        context,
        stride,
        start,
        kind,
        repeats,
        replaces,
        drops_tail=task.tail == "drop",
        ends_unscored=task.pack is not None and not task.pack.score_end,
    )


def added(model: Model) -> int | None:
    """Return the token that the model's tokenizer by default adds before a text, or None."""
    return model.added if isinstance(model, AddsToken) else None


def start_name(task: Task, model: Model, window: Window) -> str:
    """Return the names of the tokens before a text, such as `<bos>`, or `none`."""
    names = [token_name(model, window.start)]
    if task.start == "eot+own" and (own := added(model)) is not None:
        names.append(token_name(model, own))
    return "+".join(names)


def token_name(model: Model, token: int | None) -> str:
    """Return a token as the model's vocabulary writes it, `token-ID`, or `none` for None."""
    if token is None:
        return "none"
    name = model.token_name(token) if isinstance(model, NamesTokens) else ""
    return name or f"token-{token}"


def windows_name(window: Window, own: int | None) -> str | None:
    """Return how a signature names windows; `own` is the token that the tokenizer adds.

    Without such a token, `once` is the same as `regular`, which is not stated. With one, the name
    tells whether every window begins with it (`+start`) or none does (`-start`). `+replace` says
    that the start token takes the place of each window's first token.
    """
    kind = "regular" if window.kind == "once" else window.kind
    if window.replaces:
        return f"{kind}+replace"
    if own is None:
        return kind if kind != "regular" else None
    if window.start is None:
        return f"{kind}-start"
    return f"{kind}+start" if window.repeats_start else kind


def pack_name(pack: Pack) -> str:
    """Return how a signature names the tokens around the text of a block.

    >>> pack_name(Pack()), pack_name(Pack(begin="none", score_end=False))
    ('eot+eot', 'none+eot.unscored')
    """
    return f"{pack.begin}+{pack.end}" + ("" if pack.score_end else ".unscored")


def mean_name(task: Task) -> str | None:
    """Return how a signature names what has equal weight in the mean; None for tokens."""
    if task.mean == "tokens":
        return None
    return task.mean if task.batch is None else f"{task.mean}.{task.batch}"


def fields(
    task: Task,
    model: Model,
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
    filtered = f"{words.name}.exact" if words else "none"
    return ProtocolFields(
        data=corpus.sha256[:8] + ("" if corpus.published else "!"),
        ask=task.ask,
        records=task.format if task.ask == "everything" and task.format != "stream" else None,
        detok=detokenizer.name + MARKS.get((type(detokenizer), detokenizer.invertible), "") + kept
        if detokenizer
        else "none",
        lead=None if task.lead is None else repr(task.lead).strip("'"),
        join=task.join if task.join != "newline" else None,
        pack=pack_name(task.pack) if task.pack else None,
        drop=f"{task.drop.rows}x{task.drop.workers}" if task.drop else None,
        draw=f"{task.draw.blocks}.{task.draw.seed}" if task.draw else None,
        norm=task.normalize if task.normalize != "none" else None,
        filter=filtered if "acc" in task.metrics else None,
        ends=task.word_ends if task.word_ends != "none" else None,
        ctx=window.context,
        stride=window.stride if task.ask == "everything" else None,
        windows=windows_name(window, added(model)),
        tail=task.tail if task.tail != "score" else None,
        mean=mean_name(task),
        start=start_name(task, model, window),
        specials=task.specials if task.specials != "text" else None,
        tokens="lossy-tokenizer" if lossy else None,
        limit=limit,
    )


def check(
    task: Task, protocol: ProtocolFields, expected: Mapping[str, str], tokenizer: str
) -> None:
    """Raise UsageError, naming the fields, if a protocol is not the expected one.

    Start tokens of other tokenizers are accepted, see `signature.protocol_differences`; `tokenizer`
    is the fingerprint of this one. So is the task's rule, as older signatures state it.
    """
    differing = protocol_differences(expected, protocol.stated() | {"tok": tokenizer})
    rule = expected.get("start", "")
    if rule in RULES and rule != task.start:
        differing = [pair for pair in differing if pair.field != "start"]
        differing.append(Difference("start", rule, protocol.start))
    if differing:
        details = "; ".join(
            f"{key}: the signature has {theirs or '(none)'}, this task {ours or '(none)'}"
            for key, theirs, ours in differing
        )
        raise UsageError(f"task {task.full_name}: not the signature's protocol: {details}")
