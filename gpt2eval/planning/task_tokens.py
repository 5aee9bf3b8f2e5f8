"""The tokens of a task's passages: of each passage alone, or of all records as one stream."""

from collections.abc import Sequence

from gpt2eval.config.schema import Task
from gpt2eval.errors import UsageError
from gpt2eval.identity import EndsText, Sized
from gpt2eval.metrics import protocol as protocols
from gpt2eval.planning.drawn import drawn_blocks
from gpt2eval.scoring import streams, word_ends
from gpt2eval.scoring.encode import encode_texts, with_token_before
from gpt2eval.scoring.streams import KeptTokens, Packing
from gpt2eval.scoring.windows import Window
from gpt2eval.text import joined
from gpt2eval.types import Encoded, Model, Passage, Record


def is_alone(task: Task, records: Sequence[Record]) -> bool:
    """Return whether a task's only record is a text of its own, to be cut into parts."""
    return len(records) == 1 and not task.joins_tokens


def encode_task(
    model: Model, task: Task, passages: Sequence[Passage], window: Window
) -> tuple[list[Encoded], bool]:
    """Return the tokens of passages, and whether any do not tile their text.

    Where a task joins tokens, all passages become one. Where it draws blocks, each of them is a
    passage. With `start: eot+own`, the token that the tokenizer puts before every text is one more
    scored token. With `word_ends: corrected`, one more token that is not scored closes each
    passage.
    """
    if task.draw:
        return drawn_blocks(model, task, task.draw, passages, window.context)
    texts = [passage.text for passage in passages]
    encodings = encode_texts(model, texts, specials=task.specials == "tokens")
    lossy = any(encoding.lossy for encoding in encodings)
    if task.joins_tokens:
        packing = _packing(model, task, window)
        return [streams.joined(joined.joined(passages), encodings, packing)], lossy
    own = protocols.added(model) if task.start == "eot+own" else None
    encoded = [with_token_before(p, e, own) for p, e in zip(passages, encodings, strict=True)]
    if task.word_ends == "corrected":
        encoded = [word_ends.closed(one) for one in encoded]
    return encoded, lossy


def _packing(model: Model, task: Task, window: Window) -> Packing:
    """Return how a task's records become one stream of a model's tokens."""
    after = end_token(model, f"task {task.full_name}: join: eot") if task.join == "eot" else None
    begin = end = None
    if task.pack and task.pack.begin == "eot":
        own = protocols.added(model)
        begin = model.start if own is None else own
        if begin is None:
            raise UsageError(f"task {task.full_name}: pack: begin: the model has no start token")
    if task.pack and task.pack.end == "eot":
        end = end_token(model, f"task {task.full_name}: pack: end")
    block = window.context if task.block else None
    if block is not None and block < 2 + (begin is not None) + (end is not None):
        raise UsageError(
            f"task {task.full_name}: a block of {block} tokens holds no text; expected more"
        )
    rows = task.drop.rows if task.drop else None
    workers = task.drop.workers if task.drop else 1
    return Packing(after, begin, end, block, rows, workers)


def end_token(model: Model, place: str) -> int:
    """Return the token that ends a text: the model's own, or else its start token.

    Raises UsageError, beginning with `place`, if there is none, or if the model has no such token.
    """
    token = model.end if isinstance(model, EndsText) else None
    if token is None:
        token = model.start
    if token is None:
        raise UsageError(f"{place}: the model has no end-of-text token")
    size = model.sizes().vocabulary if isinstance(model, Sized) else None
    if size is not None and token >= size:
        raise UsageError(
            f"{place}: the tokenizer's end-of-text token is {token}, but the model's vocabulary "
            f"has {size}; expected --tokenizer with the tokenizer that it was trained with"
        )
    return token


def kept_of(task: Task, encoded: Sequence[Encoded], window: Window) -> KeptTokens | None:
    """Return how many of a text's tokens lie in some window; None if all do.

    Raises UsageError if none does.
    """
    if task.ask != "everything":
        return None
    counts = [streams.kept_tokens(one, window) for one in encoded]
    kept = sum(count.kept for count in counts)
    total = sum(count.total for count in counts)
    if total and not kept:
        raise UsageError(
            f"task {task.full_name}: 0 of {total:,} tokens remain, because no window is full; "
            "expected a longer text, fewer workers, or a smaller --context"
        )
    return KeptTokens(kept, total) if kept < total else None


def refuse_lossy(task: Task) -> None:
    """Raise UsageError for bits per byte of tokens that do not tile the bytes.

    The rule does not apply to protocols that read special tokens in the text.
    """
    if task.specials != "tokens" and {"bpb", "bpc", "byte_ppl"} & set(task.metrics):
        raise UsageError(
            f"task {task.full_name}: the model's tokens do not tile the text's bytes, so bits per "
            "byte would not describe this text; --allow-lossy reports them anyway"
        )
