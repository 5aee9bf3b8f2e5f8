"""The 8-grams of training text, put into a filter that is checked. It does not know what is looked up in it."""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from gpt2eval.data import documents
from gpt2eval.errors import UsageError
from gpt2eval.notices import notify
from gpt2eval.overlap import bloom, estimate, ngrams
from gpt2eval.overlap.bloom import Bloom
from gpt2eval.types import Progress

CHECKED = 1_000_000  # random 8-grams that the filter is asked for


class TrainingIndex(NamedTuple):
    """The 8-grams of training text; the `odds` of a false positive, and how many of a million `random` ones were found."""

    filter: Bloom
    ngrams: int
    odds: float
    random: int


def build_index(
    paths: Sequence[Path], bound: float, watch: Callable[[Progress], None] = lambda progress: None
) -> TrainingIndex:
    """Put the 8-grams of training files into a filter, and see what it says of a million random ones.

    Raises UsageError, with the bound that would fit, where the filter exceeds the memory available.
    """
    expected = estimate.expected_words(paths)
    items, available = bloom.enough(expected, bound), estimate.memory()
    size = bloom.bits(items, bound) // 8
    notify(
        f"about {expected:,} training 8-grams; the filter takes {size / 1e6:,.0f} MB of {available / 1e6:,.0f} MB available"
    )
    if size > available:
        least = bloom.affordable(expected, int(0.9 * available))
        raise UsageError(
            f"--false-positives {bound:g}: its filter of {size / 1e9:.1f} GB does not fit into the {available / 1e9:.1f} GB of "
            f"memory available; expected {f'{least:.2g} or more' if least <= bloom.MOST else 'more memory, no bound fits'}"
        )
    made = Bloom.of(expected, bound)
    count = 0
    for grams in ngrams.grams(_watched(paths, watch)):
        made.add(grams.hashes)
        count += len(grams.hashes)
    if not count:
        raise UsageError(
            "--train: these files have no 8-gram, no eight words in a row; expected training text"
        )
    odds = bloom.odds(made.fill(), count, made.bits, made.hashes)
    text = ngrams.random_text(CHECKED + ngrams.N - 1)
    random = sum(int(made.found(grams.hashes).sum()) for grams in ngrams.grams([[text]]))
    notify(
        f"{count:,} 8-grams in {made.bits:,} bits by {made.hashes} hashes: false positives at most {odds:.3g}"
    )
    notify(f"of {CHECKED:,} random 8-grams {random} were found")
    return TrainingIndex(made, count, odds, random)


def _watched(paths: Sequence[Path], watch: Callable[[Progress], None]) -> Iterator[Iterator[str]]:
    sizes = [path.stat().st_size for path in paths]
    total, last = sum(sizes), 0
    for number, (path, before) in enumerate(zip(paths, accumulate([0, *sizes]), strict=False)):

        def seen(at: int, number: int = number, before: int = before) -> None:
            nonlocal last
            if before + at - last >= documents.PIECE:
                last = before + at
                watch(Progress("training text", number, len(paths), last, total))

        yield from documents.documents(path, seen)
    watch(Progress("training text", len(paths), len(paths), total, total))
