"""Open beginnings of words after prefixes: over kept keys and values, or by running prefixes anew.

To open a beginning is to ask the model how it may go on, see `openings.py`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gpt2eval.models.engine.kept import Block, Continuation, Continued, NewPieces
from gpt2eval.models.engine.openings import Opening
from gpt2eval.types import Ids


class Row(NamedTuple):
    """Input tokens; the logits after the last `asked` of them are asked for."""

    ids: Ids
    asked: int


class KeptPrefixes:
    """The prefixes of several blocks, in order; opens beginnings of words after them.

    `run` returns the states of a continuation at the positions given, `[tokens, width]`; `project`
    returns the logits of states. `rows` are the states that are projected at once.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        run: Callable[[Continuation, Tensor], Tensor],
        project: Callable[[Tensor], Tensor],
        rows: int,
    ) -> None:
        self._blocks = blocks
        self._run = run
        self._project = project
        self._rows = rows
        # The block of each prefix, and its number there.
        self._requests = [(b, i) for b, block in enumerate(blocks) for i in range(len(block.used))]

    def logits(self, openings: Sequence[Opening]) -> Iterator[Tensor]:
        """Yield the logits of the next piece after each opening; see `openings.Prefixes`."""
        # The state after each opening: a group and a row of it. The first groups are the states
        # that scoring left in each block, the next ones those of its new pieces.
        new = [NewPieces(block) for block in self._blocks]
        read: list[tuple[int, int]] = []
        for opening in openings:
            number, request = self._requests[opening.prefix]
            state = self._blocks[number].state(request, opening.pieces)
            if state is None:
                state = new[number].add(request, opening.pieces)
                number += len(self._blocks)
            read.append((number, state))
        groups = [*(block.states for block in self._blocks), *self._new_states(new)]
        starts = np.cumsum([0, *map(len, groups)])
        rows = torch.tensor([int(starts[number]) + state for number, state in read])
        states = torch.cat(groups)
        for part in rows.to(states.device).split(self._rows):
            yield self._project(states[part])

    def _new_states(self, new: Sequence[NewPieces]) -> tuple[Tensor, ...]:
        """Run the new pieces of all blocks through the model; return the states of each block."""
        parts = [part for part in new if part.ids]
        sizes = [len(part.ids) for part in new]
        if not parts:
            return ()
        device = parts[0].block.keys[0].device
        attention = Continued([part.attention(device) for part in parts])
        row = [pair for part in parts for pair in zip(part.ids, part.positions, strict=True)]
        ids, positions = torch.tensor(row).to(device).T
        read = torch.arange(len(ids), device=device)
        return self._run(Continuation(ids, positions, attention.attends), read).split(sizes)


class PrefixesAnew:
    """Prefixes of a model that cannot be packed: every call runs them again.

    `run` yields the logits that rows ask for, in order, `[asked of some rows, vocabulary]`.
    """

    def __init__(
        self,
        prefixes: Sequence[Ids],
        run: Callable[[Sequence[Row]], Iterator[Tensor]],
    ) -> None:
        self._prefixes = prefixes
        self._run = run

    def logits(self, openings: Sequence[Opening]) -> Iterator[Tensor]:
        """Yield the logits of the next piece after each opening; see `openings.Prefixes`."""
        rows: list[Row] = []
        for opening in openings:
            prefix = self._prefixes[opening.prefix]
            ids = np.concatenate([prefix, np.array(opening.pieces, prefix.dtype)])
            # The pieces of one word, opened one after the other, share a row.
            if rows and opening.pieces and np.array_equal(rows[-1].ids, ids[:-1]):
                rows[-1] = Row(ids, rows[-1].asked + 1)
            else:
                rows.append(Row(ids, 1))
        yield from self._run(rows)
