"""Gap reports as text for people: terminal and Markdown."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gpt2eval.analysis.gap_data import edges, with_blanks
from gpt2eval.analysis.gap_rows import GapPlace, GapReport, GapRow
from gpt2eval.report.escape import markdown_cell, visible
from gpt2eval.report.render import render_rows
from gpt2eval.report.rows import Row

Cells = Mapping[str, object]
DIFFERENCE, INTERVAL = "difference", "95 %"
LONGEST = 48  # characters of a text
NOTES = (
    "first, second, difference: bits per byte. bits: those of the second model minus those of the "
    "first; negative: the second model needs fewer.",
    "Documents, literals and segments are listed because their difference is large; the interval "
    "of a literal does not account for that choice.",
)


def gap_text(reports: Sequence[GapReport], form: str, width: int | None = None) -> str:
    """Return gap reports for people, as `terminal` or `markdown`.

    `width` is that of `terminal` in characters; by default the terminal's.
    """
    style = _Style(render_rows, lambda text: f"## {markdown_cell(text)}", str)
    if form == "terminal":
        from gpt2eval.report.terminal import terminal_notes

        style = _Style(
            lambda rows: _terminal_table(rows, width),
            visible,
            lambda note: terminal_notes([note], width),
        )
    return "\n\n".join(text for report in reports for text in _parts(report, style))


class _Style(NamedTuple):
    """How the parts of a report are written."""

    table: Callable[[Sequence[Cells]], str]
    heading: Callable[[str], str]
    note: Callable[[str], str]


def _terminal_table(rows: Sequence[Cells], width: int | None) -> str:
    """Return rows as a table that fits a terminal; an interval stands beside its difference."""
    from gpt2eval.report.terminal import terminal_table

    first, *columns = (name for name in rows[0] if name != INTERVAL)
    shown = [{name: visible(str(text)) for name, text in row.items()} for row in rows]
    lines = [
        Row(texts[first], "ours", texts, {}, {DIFFERENCE: texts.get(INTERVAL, "")}, {})
        for texts in shown
    ]
    return terminal_table(lines, columns, width, first=first)


def _parts(report: GapReport, style: _Style) -> Iterator[str]:
    first, second = report.models
    title = f"{report.task}: where {second} (second) differs from {first} (first)"
    yield style.heading(title)
    yield style.table([_row_cells(row, report) for row in (report.total, *report.kinds)])
    yield style.note(f"{NOTES[0]} {_intervals(report)}")
    if report.by_group:
        yield style.heading(f"By {report.by}")
        yield style.table([_row_cells(row, report, "group") for row in report.by_group])
    for name, both, cells in (
        (f"{report.group}s", report.documents, _document_cells),
        ("literals", report.literals, _literal_cells),
        ("segments", report.segments, _segment_cells),
    ):
        for change, places in (("losses", both.losses), ("gains", both.gains)):
            if places:
                yield style.heading(f"Largest {change} of the second model: {name}")
                yield style.table([cells(place) for place in places])
    if any(report.without_bytes):
        lost = ", ".join(f"{bits:.1f}" for bits in report.without_bytes)
        yield style.note(f"Bits of passages without published bytes, in no row: {lost}.")
    if any(report.unscored):
        first_bytes, second_bytes = report.unscored
        yield style.note(
            f"Bytes scored by one model only, with its bits in the rows: {first_bytes:,} that the "
            f"first leaves out, {second_bytes:,} that the second does."
        )
    yield style.note(NOTES[1])
    yield "\n".join(
        visible(f"{name}: {line}")
        for name, line in zip(report.models, report.signatures, strict=True)
    )


def _intervals(report: GapReport) -> str:
    units = f"{report.resampled_units} x {report.resampled}"
    if not any(row.interval for row in (report.total, *report.kinds)):
        return f"No 95 % interval can be trusted: {units}."
    lists = "kinds and of groups" if report.by_group else "kinds"
    return f"95 %, p: of the difference, over {units}; the p of {lists} are adjusted (Holm)."


def _row_cells(row: GapRow, report: GapReport, of: str = "kind") -> Cells:
    return {
        of: row.name,
        "segments": f"{row.count:,}",
        "bytes": f"{row.bytes:,}",
        "bytes %": _percent(row.bytes / max(report.total.bytes, 1)),
        **_bits_per_byte(row),
        INTERVAL: _interval(row.interval),
        "p": "" if row.p is None else f"{row.p:.4f}",
        "bits": _bits(row),
        "gap %": _percent(row.share),
    }


def _bits_per_byte(row: GapRow) -> Cells:
    return {
        "first": _number(row.per_byte(row.first_bits)),
        "second": _number(row.per_byte(row.second_bits)),
        DIFFERENCE: _number(row.per_byte(row.bits), sign=True),
    }


def _document_cells(place: GapPlace) -> Cells:
    row = place.row
    return {
        "document": row.name,
        "bytes": f"{row.bytes:,}",
        **_bits_per_byte(row),
        "bits": _bits(row),
        "gap %": _percent(row.share),
        "begins": _short(place.text),
    }


def _literal_cells(place: GapPlace) -> Cells:
    row = place.row
    return {
        "literal": with_blanks(_short(place.text)),
        "kind": place.kind,
        "count": f"{row.count:,}",
        DIFFERENCE: _number(row.per_byte(row.bits), sign=True),
        INTERVAL: _interval(row.interval),
        "bits": _bits(row),
        "gap %": _percent(row.share),
        "first tokens": edges(place.first_tokens),
        "second tokens": edges(place.second_tokens),
    }


def _segment_cells(place: GapPlace) -> Cells:
    row = place.row
    return {
        "segment": with_blanks(_short(place.text)),
        "kind": place.kind,
        "first bits": f"{row.first_bits:.1f}",
        "second bits": f"{row.second_bits:.1f}",
        "bits": _bits(row),
        "first tokens": edges(place.first_tokens),
        "second tokens": edges(place.second_tokens),
        "record:byte": f"{place.record}:{place.begin}",
        "before": place.before[-LONGEST // 2 :],
        "after": place.after[: LONGEST // 2],
    }


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _number(value: float | None, *, sign: bool = False) -> str:
    if value is None:
        return ""
    return f"{value:+.4f}" if sign else f"{value:.4f}"


def _bits(row: GapRow) -> str:
    return f"{row.bits:+,.1f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"[{interval[0]:+.4f}, {interval[1]:+.4f}]"
