"""Where one model loses bits to another: by document, kind of segment, and literal.

The tokens of both models are spread over the same published bytes, so that their tokenizers may
differ. No model runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gpt2eval.analysis.gap_rows import Both, GapPlace, GapReport, GapRow
from gpt2eval.analysis.gap_table import GapTable
from gpt2eval.analysis.published_texts import Texts
from gpt2eval.metrics.clusters import Clusters, block_name
from gpt2eval.metrics.decisions import holm
from gpt2eval.metrics.dependence import merged
from gpt2eval.metrics.paired import FEWEST_PAIRED, PairedDifference, compare_rates
from gpt2eval.report.comparison.pairs import check_pair
from gpt2eval.report.measured import Measured
from gpt2eval.scoring.token_table import BITS
from gpt2eval.text.segments import NAMES

TOP = 20  # entries of each list
AROUND = 40  # bytes shown before and after a segment
BEGINNING = 80  # bytes shown of a document


def gap_report(first: Measured, second: Measured, texts: Texts, top: int = TOP) -> GapReport:
    """Return where the second of two results on the same text loses bits to the first.

    A token's nats are spread over its published bytes in equal parts (`scoring.byte_nats`), and
    segments tile the published text (`text.segments`). So the rows of all kinds, of all groups and
    of all documents add up to the nats of the results. Intervals and p are those of
    `paired.compare_rates`, over documents or blocks of a text, of the bytes of a row. A row that
    occurs in fewer than 9 of them has none.

    Args:
        first: The baseline.
        second: The model compared with it.
        texts: Published text by record and choice, as `published_texts` returns it.
        top: Entries of each list.

    Raises:
        UsageError: The results are of different protocols, versions or texts.
    """
    check_pair(first, second)
    table = GapTable.of(first, second, texts)
    return _Builder(first, second, table, top).report()


class _Builder:
    """Turns the arrays of a gap into the rows of a report."""

    def __init__(self, first: Measured, second: Measured, table: GapTable, top: int) -> None:
        self._first = first
        self._second = second
        self._table = table
        self._top = top
        self._nats = float(table.difference.sum())

    def report(self) -> GapReport:
        table, by = self._table, self._first.independent
        total, found = self._row("all bytes", np.arange(len(table.kinds)))
        grouping = self._first.grouping()
        names: tuple[str, ...] = grouping.groups() if grouping else ()
        of_entry = grouping.of_tallies(table.entries) if grouping else np.zeros(0, np.int64)
        blocks = block_name(by, self._first.parts, found.resampled) if found.in_blocks else by.name
        first_lost, second_lost = (spread.without_bytes * BITS for spread in table.spread)
        return GapReport(
            task=self._first.result.full_name,
            models=(self._first.result.model.name, self._second.result.model.name),
            signatures=(self._first.result.signature, self._second.result.signature),
            total=total,
            kinds=self._rows(NAMES, table.kinds),
            group=table.documents.name,
            groups=len(table.documents.bounds) - 1,
            by=grouping.by if grouping else "",
            by_group=self._rows(names, of_entry[table.entry]) if names else (),
            documents=self._documents(),
            segments=_both(table.difference, self._segment, self._top),
            literals=self._literals(),
            resampled=blocks,
            resampled_units=found.resampled,
            without_bytes=(first_lost, second_lost),
            unscored=table.unscored(),
        )

    def _rows(self, names: Sequence[str], numbers: NDArray[np.integer]) -> tuple[GapRow, ...]:
        """Return a row for each name that numbers a segment, the largest difference first."""
        rows = [
            self._row(name, chosen)[0]
            for number, name in enumerate(names)
            if len(chosen := np.flatnonzero(numbers == number))
        ]
        adjusted = holm([row.p for row in rows])
        rows = [replace(row, p=p) for row, p in zip(rows, adjusted, strict=True)]
        return tuple(sorted(rows, key=lambda row: -abs(row.bits)))

    def _row(self, name: str, chosen: NDArray[np.int64]) -> tuple[GapRow, PairedDifference]:
        """Return the row of some segments, and their difference in nats per byte."""
        by = self._first.independent
        sums = self._table.by_entry(chosen)
        found = compare_rates(sums.first, sums.second, sums.bytes, by.numbers, serial=by.serial)
        row = self._sums(
            name,
            int(np.count_nonzero(self._table.sizes[chosen])),
            int(sums.bytes.sum()),
            float(sums.first.sum()),
            float(sums.second.sum()),
        )
        if found.interval and _is_spread(sums.bytes, by, found):
            low, high = found.interval
            row = replace(row, interval=(low * BITS, high * BITS), p=found.p)
        return row, found

    def _sums(
        self,
        name: str,
        count: int,
        size: int,
        first: float,
        second: float,
    ) -> GapRow:
        """Return a row with the given sums of nats."""
        share = (second - first) / self._nats if self._nats else None
        return GapRow(name, count, size, first * BITS, second * BITS, share)

    def _documents(self) -> Both:
        table = self._table
        bounds = table.documents.bounds
        first, second = (np.diff(spread.before(bounds)) for spread in table.spread)
        begins = np.searchsorted(table.bounds, bounds)
        sizes = np.diff(table.layout.scored_before(bounds))

        def place(number: int) -> GapPlace:
            begin, end = int(bounds[number]), int(bounds[number + 1])
            record, offset = table.position(begin)
            row = self._sums(
                f"{table.documents.name} {table.documents.numbers[number]}",
                int(begins[number + 1] - begins[number]),
                int(sizes[number]),
                float(first[number]),
                float(second[number]),
            )
            return GapPlace(row, "", record, offset, _decoded(table.content[begin:end][:BEGINNING]))

        return _both(second - first, place, self._top)

    def _segment(self, number: int) -> GapPlace:
        """Return a segment with its surroundings."""
        table = self._table
        text = _decoded(table.text(number))
        first, second = float(table.first[number]), float(table.second[number])
        return self._place(number, self._sums(text, 1, int(table.sizes[number]), first, second))

    def _place(self, number: int, row: GapRow) -> GapPlace:
        """Return a row with the surroundings of a segment."""
        table = self._table
        begin, end = int(table.bounds[number]), int(table.bounds[number + 1])
        record, offset = table.position(begin)
        text = table.texts[table.passage(begin)]
        behind = offset + end - begin
        first, second = (
            tuple(
                _decoded(table.content[a:b])
                for a, b in zip(spread.begin[rows].tolist(), spread.end[rows].tolist(), strict=True)
            )
            for spread in table.spread
            for rows in [spread.tokens(begin, end)]
        )
        return GapPlace(
            row,
            NAMES[table.kinds[number]],
            record,
            offset,
            _decoded(table.text(number)),
            _decoded(text[max(offset - AROUND, 0) : offset]),
            _decoded(text[behind : behind + AROUND]),
            first,
            second,
        )

    def _literals(self) -> Both:
        table = self._table
        numbers = table.literals()
        counts = np.bincount(numbers, table.sizes > 0)
        differences = np.bincount(numbers, table.difference).astype(np.float64)
        differences[counts < 2] = 0.0

        def place(number: int) -> GapPlace:
            chosen = np.flatnonzero(numbers == number)
            example = chosen[np.argmax(table.difference[chosen] * np.sign(differences[number]))]
            return self._place(int(example), self._row(_decoded(table.text(example)), chosen)[0])

        return _both(differences, place, self._top)


def _is_spread(sizes: NDArray[np.float64], by: Clusters, found: PairedDifference) -> bool:
    """Return whether bytes of a kind are in enough of the units that an interval resamples.

    Units without such bytes say nothing about them; with a few others, no residual would be left.
    """
    if by.numbers is not None:
        sizes = np.add.reduceat(sizes, np.flatnonzero(np.diff(by.numbers, prepend=-1)))
    if found.in_blocks:
        sizes = merged(sizes, found.resampled)
    return bool(np.count_nonzero(sizes) >= FEWEST_PAIRED)


def _both(differences: NDArray[np.float64], place: Callable[[int], GapPlace], top: int) -> Both:
    """Return the places of the largest and of the smallest differences."""
    order = np.argsort(differences, kind="stable").tolist()
    losses = [number for number in order[::-1][:top] if differences[number] > 0]
    gains = [number for number in order[:top] if differences[number] < 0]
    return Both(tuple(map(place, losses)), tuple(map(place, gains)))


def _decoded(content: bytes) -> str:
    """Return bytes as text; bytes of no character, or of a part of one, become escapes."""
    return content.decode("utf-8", "backslashreplace")
