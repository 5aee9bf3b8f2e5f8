"""Index the 8-grams of training text in a Bloom filter, and check the filter.

Does not know the tasks.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from gpt2eval.data.compression import PIECE
from gpt2eval.data.documents import Location, stream_documents
from gpt2eval.errors import UsageError
from gpt2eval.notices import notify
from gpt2eval.overlap import bloom, estimate, ngrams
from gpt2eval.overlap.bloom import Bloom
from gpt2eval.types import Progress

CHECKED = 1_000_000  # random 8-grams that the filter is checked with


class TrainingIndex(NamedTuple):
    """The 8-grams of training text.

    `ngrams` is the number of added 8-grams, `false_positives` the bound on the false-positive
    probability, and `random_matches` the number of `CHECKED` random 8-grams that match.
    """

    filter: Bloom
    ngrams: int
    false_positives: float
    random_matches: int


def build_index(
    files: Sequence[Location],
    bound: float,
    progress: Callable[[Progress], None] = lambda report: None,
    max_size: int | None = None,
) -> TrainingIndex:
    """Add the 8-grams of training files to a filter, and look up a million random ones.

    Raises UsageError, with the lowest bound that fits, if the filter exceeds the available memory.
    """
    expected = estimate.expected_words(files)
    _check_memory(expected, bound)
    index = Bloom.empty(expected, bound)
    count = 0
    for grams in ngrams.grams(_stream_with_progress(files, progress, max_size)):
        index.add(grams.hashes)
        count += len(grams.hashes)
    if not count:
        raise UsageError(
            "--train: these files contain no 8-gram (eight words in a row); expected training text"
        )
    false_positives = bloom.false_positive_bound(
        index.fill_bound(), count, index.bits, index.hashes
    )
    text = ngrams.random_text(CHECKED + ngrams.N - 1)
    matches = sum(int(index.contains(grams.hashes).sum()) for grams in ngrams.grams([[text]]))
    notify(
        f"{count:,} 8-grams in {index.bits:,} bits with {index.hashes} hash functions: "
        f"false positives at most {false_positives:.3g}"
    )
    notify(f"{matches} of {CHECKED:,} random 8-grams match")
    return TrainingIndex(index, count, false_positives, matches)


def _check_memory(expected: int, bound: float) -> None:
    size = bloom.filter_bits(bloom.capacity(expected, bound), bound) // 8
    available = estimate.available_memory()
    notify(
        f"about {expected:,} training 8-grams; the filter takes {size / 1e6:,.0f} MB of "
        f"{available / 1e6:,.0f} MB available"
    )
    if size <= available:
        return
    lowest = bloom.lowest_bound(expected, int(0.9 * available))
    remedy = f"{lowest:.2g} or more"
    if lowest > bloom.HIGHEST_BOUND:
        remedy = "more memory; no bound fits"
    raise UsageError(
        f"--false-positives {bound:g}: its filter of {size / 1e9:.1f} GB does not fit into the "
        f"{available / 1e9:.1f} GB of memory available; expected {remedy}"
    )


def _stream_with_progress(
    files: Sequence[Location], progress: Callable[[Progress], None], max_size: int | None
) -> Iterator[Iterator[str]]:
    """Yield the documents of all files, and report progress once per `PIECE` bytes."""
    sizes = [file.path.stat().st_size for file in files]
    offsets = accumulate([0, *sizes])
    total = sum(sizes)
    reported = 0
    for number, (file, offset) in enumerate(zip(files, offsets, strict=False)):

        def on_read(position: int, number: int = number, offset: int = offset) -> None:
            nonlocal reported
            if offset + position - reported >= PIECE:
                reported = offset + position
                progress(Progress("training text", number, len(files), reported, total))

        yield from stream_documents(file, on_read, max_size)
    progress(Progress("training text", len(files), len(files), total, total))
