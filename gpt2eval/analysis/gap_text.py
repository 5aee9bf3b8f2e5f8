"""Gap reports as text for people: terminal and Markdown."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from gpt2eval.analysis.gap_data import edges, with_blanks
from gpt2eval.analysis.gap_rows import GapPlace, GapReport, GapRow
from gpt2eval.report.plain_table import plain_table
from gpt2eval.report.render import render_rows

Cells = Mapping[str, object]
LONGEST = 48  # characters of a text
NOTES = (
    "first, second, difference: bits per byte. bits: those of the second model minus those of the "
    "first; negative: the second model needs fewer.",
    "Documents, literals and segments are listed because their difference is large; the interval "
    "of a literal does not account for that choice.",
)


def gap_text(reports: Sequence[GapReport], form: str) -> str:
    """Return gap reports for people, as `terminal` or `markdown`."""
    if form == "terminal":
        parts = [_parts(report, plain_table, "{}") for report in reports]
    else:
        parts = [_parts(report, render_rows, "## {}") for report in reports]
    return "\n\n".join(text for report in parts for text in report)


def _parts(
    report: GapReport,
    table: Callable[[Sequence[Cells]], str],
    heading: str,
) -> Iterator[str]:
    first, second = report.models
    yield heading.format(f"{report.task}: where {second} (second) differs from {first} (first)")
    yield table([_row_cells(row, report) for row in (report.total, *report.kinds)])
    yield f"{NOTES[0]} {_intervals(report)}"
    for name, both, cells in (
        (f"{report.group}s", report.documents, _document_cells),
        ("literals", report.literals, _literal_cells),
        ("segments", report.segments, _segment_cells),
    ):
        for title, places in (
            (f"Largest losses of the second model: {name}", both.losses),
            (f"Largest gains of the second model: {name}", both.gains),
        ):
            if places:
                yield heading.format(title)
                yield table([cells(place) for place in places])
    if any(report.without_bytes):
        lost = ", ".join(f"{bits:.1f}" for bits in report.without_bytes)
        yield f"Bits of passages without published bytes, in no row: {lost}."
    yield NOTES[1]
    yield "\n".join(
        f"{name}: {line}" for name, line in zip(report.models, report.signatures, strict=True)
    )


def _intervals(report: GapReport) -> str:
    units = f"{report.resampled_units} x {report.resampled}"
    if report.total.interval is None:
        return f"No 95 % interval can be trusted: {units}."
    return f"95 % intervals of the difference per byte resample {units}."


def _row_cells(row: GapRow, report: GapReport) -> Cells:
    return {
        "kind": row.name,
        "segments": f"{row.count:,}",
        "bytes": f"{row.bytes:,}",
        "bytes %": _percent(row.bytes / max(report.total.bytes, 1)),
        "first": _number(row.per_byte(row.first_bits)),
        "second": _number(row.per_byte(row.second_bits)),
        "difference": _number(row.per_byte(row.bits), sign=True),
        "95 %": _interval(row.interval),
        "bits": _bits(row),
        "gap %": _percent(row.share),
    }


def _document_cells(place: GapPlace) -> Cells:
    row = place.row
    return {
        "document": row.name,
        "bytes": f"{row.bytes:,}",
        "first": _number(row.per_byte(row.first_bits)),
        "second": _number(row.per_byte(row.second_bits)),
        "difference": _number(row.per_byte(row.bits), sign=True),
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
        "difference": _number(row.per_byte(row.bits), sign=True),
        "95 %": _interval(row.interval),
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
