"""Several passages as one, whose parts they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from gpt2eval.text.passages import title_starts
from gpt2eval.types import Ids, Part, Passage, Published


@dataclass(frozen=True, slots=True)
class JoinedFrom:
    """The published texts of passages, one after the other; see `types.Published`.

    Attributes:
        text: The published texts.
        sources: The published text of each passage.
        starts: Where each passage's text begins in the joined text, and where the last one ends.
    """

    text: str
    sources: Sequence[Published]
    starts: Sequence[int]

    def origins(self, positions: Ids) -> Ids:
        """Return the positions in the published texts of positions in the joined text.

        The position between two passages is the end of the first one.
        """
        found = np.zeros(len(positions), np.int32)
        ends = np.asarray(self.starts[1:])
        numbers = np.minimum(np.searchsorted(ends, positions, "left"), len(ends) - 1)
        order = np.argsort(numbers, kind="stable")
        bounds = np.searchsorted(numbers[order], np.arange(len(ends) + 1))
        published = 0
        for number, source in enumerate(self.sources):
            chosen = order[bounds[number] : bounds[number + 1]]
            if len(chosen):
                found[chosen] = source.origins(positions[chosen] - self.starts[number]) + published
            published += len(source.text)
        return found


@dataclass(frozen=True, slots=True)
class _Unchanged:
    """A text that is the published one."""

    text: str

    def origins(self, positions: Ids) -> Ids:
        return np.asarray(positions, np.int32)


def joined(passages: Sequence[Passage]) -> Passage:
    """Return passages as one; each is a part, with its units.

    A passage that is the title of an article of WikiText begins an article.
    """
    starts = [0, *accumulate(len(passage.text) for passage in passages)]
    sources = [passage.published or _Unchanged(passage.text) for passage in passages]
    parts = tuple(
        Part(start, start + len(passage.text), passage.parts[0].units)
        for start, passage in zip(starts, passages, strict=False)
    )
    published = "".join(source.text for source in sources)
    begins = [0, *accumulate(len(source.text) for source in sources)]
    # Of parts that begin at one position, all but the last are empty.
    numbers = {begin: number for number, begin in enumerate(begins[:-1])}
    articles = [numbers[title] for title in title_starts(published) if title in numbers]
    return Passage(
        0,
        "".join(passage.text for passage in passages),
        parts,
        articles=tuple(articles),
        published=JoinedFrom(published, sources, starts),
    )
