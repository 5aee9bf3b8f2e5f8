"""The surprisal of words: the nats of tokens, spread over the words of the published text."""

import re
from array import array
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from gpt2eval.report.measured import Measured
from gpt2eval.report.row_files import ROWS, Columns
from gpt2eval.scoring.byte_nats import ByteNats, Layout, Places
from gpt2eval.scoring.token_table import BITS, TokenTable, byte_offsets

WORD = re.compile(r"\S+")


def word_columns(
    measured: Measured,
    tokens: TokenTable,
    texts: Mapping[tuple[int, int], bytes],
    starts: Mapping[str, np.ndarray] | None = None,
) -> Iterator[Columns]:
    """Yield a row per scored word of the published text, some rows at a time.

    Words are split at white space, as the words of perplexities are. A word's surprisal is that of
    its bytes and of the white space before it, because the tokens of most vocabularies begin with
    their space:

        nats(word) = sum of -ln p over the bytes from the end of the word before to the word's end

    A token that belongs to two words is spread over its bytes in equal parts (`scoring.byte_nats`).
    The rows of a text add up to its nats: the white space after the last word is a row without a
    word. A question has the words of its right choice.

    Such a sum is not the probability of the word: it leaves out that the word ends, and includes
    that the word before it ended. The corrected surprisal is that of the word,

        corrected(word) = nats(word) + ln B(before the word) - ln B(after the word)

    where B is the probability of all tokens that begin with white space or end the text. Sources:
    Pimentel and Meister 2024, EMNLP, 18358-18375 (arXiv 2406.14561); Oh and Schuler 2024, arXiv
    2406.10851.

    Args:
        measured: The result.
        tokens: Its tokens.
        texts: Its published text, from `published_texts`.
        starts: B of each token, from a run with `--word-starts` or of a task with `word_ends:
            corrected`; only the latter has B after the last word. Without B, or where a word and
            its tokens have different bounds, there is no corrected surprisal.

    Columns: `model`, `task`, `record`, `number` (of the word in its published text), `word`,
    `begin` and `end` (byte offsets of the word in that text), `tokens` (that have bytes of the word
    or of the white space before it), `is_whole` (no token is shared with another word, and every
    byte is scored), `nats`, `bits`, `corrected_nats` and `corrected_bits`.
    """
    right = np.flatnonzero(tokens.is_right)
    tokens = tokens.select(right)
    layout = Layout.of([tokens])
    spread = ByteNats.of(tokens, layout)
    has_bytes = spread.end > spread.begin
    token_begin, token_end = spread.begin[has_bytes], spread.end[has_bytes]
    boundaries = None
    if starts is not None:
        last = np.array([rows.stop - 1 for rows in tokens.passages()], np.int64)
        boundaries = _Boundaries(starts, right[has_bytes], token_begin, right[last])
    records, choices = layout.record.tolist(), layout.choice.tolist()
    for passage, key in enumerate(zip(records, choices, strict=True)):
        words = _Words(texts[key], layout, passage)
        for first in range(0, len(words.end), ROWS):
            rows = slice(first, first + ROWS)
            low, high = words.low[rows], words.high[rows]
            nats = spread.before(high) - spread.before(low)
            begin, end = words.begin[rows], words.end[rows]
            count = np.searchsorted(token_begin, high) - np.searchsorted(token_end, low, "right")
            edges = _is_among(low, token_begin) & _is_among(high, token_end)
            corrected = np.full(len(nats), np.nan)
            if boundaries is not None:
                stop = int(layout.starts[passage + 1])
                corrected = nats + boundaries.correction(words, rows, passage, stop)
            yield {
                "model": measured.result.model.name,
                "task": measured.result.full_name,
                "record": np.full(len(begin), key[0]),
                "number": words.number[rows],
                "word": [
                    texts[key][a:b].decode("utf-8", "backslashreplace")
                    for a, b in zip(begin.tolist(), end.tolist(), strict=True)
                ],
                "begin": begin,
                "end": end,
                "tokens": count,
                "is_whole": edges & words.is_inside[rows],
                "nats": nats,
                "bits": nats * BITS,
                "corrected_nats": corrected,
                "corrected_bits": corrected * BITS,
            }


class _Boundaries:
    """The log-probability that a word begins, at the places where one does.

    `ends` are the rows of the last tokens of the passages; a word may begin after them, too.
    """

    def __init__(
        self,
        starts: Mapping[str, np.ndarray],
        rows: Places,
        begins: Places,
        ends: Places,
    ) -> None:
        log_starts = starts["log_starts"][rows].astype(np.float64)
        values = np.where(starts["starts_word"][rows], log_starts, np.nan)
        self._begins = np.append(begins, -2)
        self._values = np.append(values, np.nan)
        # Runs of earlier versions lack it.
        after = starts.get("log_after", np.full(len(starts["log_starts"]), np.nan))
        self._after = after[ends].astype(np.float64)

    def at(self, places: Places) -> NDArray[np.float64]:
        """Return it at each place; not a number where no token begins that begins a word."""
        row = np.searchsorted(self._begins[:-1], places)
        return np.where(self._begins[row] == places, self._values[row], np.nan)

    def correction(
        self, words: "_Words", rows: slice, passage: int, stop: int
    ) -> NDArray[np.float64]:
        """Return ln B(before) - ln B(after) of some words of a passage; its places end at `stop`.

        It is not a number for white space alone, and for a word of which not every byte is scored.
        """
        low, high = words.low[rows], words.high[rows]
        before = self.at(low)
        # A text may begin with a word that no white space precedes.
        before[np.isnan(before) & (words.number[rows] == 0)] = 0.0
        after = np.where(high < stop, self.at(np.minimum(high, stop - 1)), self._after[passage])
        is_word = words.end[rows] > words.begin[rows]
        return np.where(is_word & words.is_inside[rows], before - after, np.nan)


def _is_among(places: Places, sorted_places: Places) -> NDArray[np.bool_]:
    row = np.searchsorted(sorted_places, places)
    return np.append(sorted_places, -1)[row] == places


class _Words:
    """The words of a text that have a scored byte, and the white space after the last one."""

    def __init__(self, content: bytes, layout: Layout, passage: int) -> None:
        text = content.decode("utf-8", "surrogateescape")
        bounds = array("q")
        for match in WORD.finditer(text):
            bounds.extend(match.span())
        begin, end = byte_offsets(text)[np.array(bounds, np.int64)].reshape(-1, 2).T
        if not len(end) or end[-1] < len(content):
            begin, end = (np.append(column, len(content)) for column in (begin, end))
        low = np.concatenate([[0], end[:-1]])
        first = int(layout.begins[passage])
        last = first + int(layout.sizes[passage])
        # Places of the layout: those of the word's bytes, and of the white space before it.
        shift = int(layout.starts[passage]) - first
        places = [np.clip(bound, first, last) + shift for bound in (low, end)]
        scored = layout.scored_before(places[1]) - layout.scored_before(places[0])
        self.number: NDArray[np.int64] = np.flatnonzero(scored > 0)
        self.begin, self.end = begin[self.number], end[self.number]
        self.low, self.high = (place[self.number] for place in places)
        self.is_inside = scored[self.number] == self.end - low[self.number]
