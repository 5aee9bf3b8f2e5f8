"""The passages of a task that scores blocks drawn at random from its records."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from gpt2eval.config.schema import Draw, Task
from gpt2eval.errors import UsageError
from gpt2eval.metrics import protocol as protocols
from gpt2eval.scoring.draws import places
from gpt2eval.scoring.encode import encode_texts, with_token_before
from gpt2eval.text.passages import units
from gpt2eval.types import Encoded, Encoding, Model, Part, Passage


def drawn_blocks(
    model: Model, task: Task, draw: Draw, passages: Sequence[Passage], size: int
) -> tuple[list[Encoded], bool]:
    """Return blocks drawn from passages, and whether any of these do not tile their text.

    A token that the tokenizer puts before every text may be part of a block. Only the passages that
    are drawn are encoded.

    Args:
        model: The model.
        task: The task, for errors and its special tokens.
        draw: How many blocks to draw, and the seed.
        passages: All passages of the task.
        size: Tokens of a block.

    Raises:
        UsageError: No passage has as many tokens as a block.
    """
    own = protocols.added(model)
    too_short: set[int] = set()

    @cache
    def encoding(number: int) -> Encoding:
        (found,) = encode_texts(model, [passages[number].text], specials=task.specials == "tokens")
        return found

    def length(number: int) -> int:
        tokens = len(encoding(number).ids) + (own is not None)
        if tokens < size:
            too_short.add(number)
        if len(too_short) == len(passages):
            raise UsageError(
                f"task {task.full_name}: draw: no record has {size:,} tokens; "
                "expected a longer one, or a smaller --context"
            )
        return tokens

    blocks: list[Encoded] = []
    lossy = False
    for number, first in places(length, len(passages), size, draw.blocks, draw.seed):
        lossy = lossy or encoding(number).lossy
        whole = with_token_before(passages[number], encoding(number), own)
        blocks.append(_block(whole, len(blocks), first, size))
    return blocks, lossy


def _block(whole: Encoded, number: int, first: int, size: int) -> Encoded:
    """Return `size` tokens of a passage as passage `number`, with the text that they stand for."""
    start = int(whole.ends[first - 1]) if first else 0
    ends = whole.ends[first : first + size]
    text = whole.passage.text[start : int(ends[-1])]
    part = Part(0, len(text), units(text))
    passage = replace(whole.passage, record=number, text=text, parts=(part,), published=None)
    return Encoded(passage, whole.ids[first : first + size], ends - start)
