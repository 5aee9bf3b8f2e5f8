"""Gap reports for programs: CSV with a row per entry of every list, and JSON with the same."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gpt2eval.analysis.gap_rows import Both, GapPlace, GapReport, GapRow
from gpt2eval.report.strict_json import dumps
from gpt2eval.report.tidy import to_csv

BLANK = "␣"


def gap_csv(reports: Sequence[GapReport]) -> str:
    """Return gap reports as one tidy CSV."""
    rows = [row for report in reports for row in _tidy_rows(report)]
    return to_csv(rows).decode().rstrip("\n")


def gap_json(reports: Sequence[GapReport]) -> str:
    """Return gap reports as a JSON list."""
    return dumps([_document(report) for report in reports])


def edges(tokens: Sequence[str]) -> str:
    """Return tokens with a bar at each edge, and visible spaces.

    >>> edges([" Pe", "ter"])
    '|␣Pe|ter|'
    """
    return f"|{'|'.join(map(with_blanks, tokens))}|" if tokens else ""


def with_blanks(text: str) -> str:
    """Return text whose spaces can be seen."""
    return text.replace(" ", BLANK)


def _document(report: GapReport) -> dict[str, Any]:
    lists = {
        name: {
            "losses": [_place_fields(place) for place in both.losses],
            "gains": [_place_fields(place) for place in both.gains],
        }
        for name, both in _lists(report).items()
    }
    return {
        "task": report.task,
        "models": report.models,
        "signatures": report.signatures,
        "resampled": report.resampled,
        "resampled_units": report.resampled_units,
        "group": report.group,
        "groups": report.groups,
        "without_bytes_bits": report.without_bytes,
        "unscored_bytes": report.unscored,
        "total": _row_fields(report.total),
        "kinds": [_row_fields(row) for row in report.kinds],
        "by": report.by,
        "by_group": [_row_fields(row) for row in report.by_group],
        **lists,
    }


def _lists(report: GapReport) -> dict[str, Both]:
    return {
        "documents": report.documents,
        "segments": report.segments,
        "literals": report.literals,
    }


def _row_fields(row: GapRow) -> dict[str, Any]:
    low, high = row.interval or (None, None)
    return {
        "name": row.name,
        "count": row.count,
        "bytes": row.bytes,
        "first_bits": row.first_bits,
        "second_bits": row.second_bits,
        "difference_bits": row.bits,
        "first_bits_per_byte": row.per_byte(row.first_bits),
        "second_bits_per_byte": row.per_byte(row.second_bits),
        "difference_bits_per_byte": row.per_byte(row.bits),
        "low": low,
        "high": high,
        "p": row.p,
        "share": row.share,
    }


def _place_fields(place: GapPlace) -> dict[str, Any]:
    return _row_fields(place.row) | {
        "kind": place.kind,
        "record": place.record,
        "begin": place.begin,
        "text": place.text,
        "before": place.before,
        "after": place.after,
        "first_tokens": place.first_tokens,
        "second_tokens": place.second_tokens,
    }


def _tidy_rows(report: GapReport) -> Iterator[Mapping[str, object]]:
    stated = {
        "first_model": report.models[0],
        "second_model": report.models[1],
        "resampled": report.resampled,
        "resampled_units": report.resampled_units,
        "first_signature": report.signatures[0],
        "second_signature": report.signatures[1],
    }
    no_place = dict.fromkeys(
        ("kind", "record", "begin", "text", "before", "after", "first_tokens", "second_tokens")
    )
    lists = (("total", [report.total]), ("kind", report.kinds), ("group", report.by_group))
    for name, rows in lists:
        for row in rows:
            head = {"task": report.task, "list": name, "direction": ""}
            yield head | _row_fields(row) | no_place | stated
    for name, both in _lists(report).items():
        for direction, places in (("loss", both.losses), ("gain", both.gains)):
            for place in places:
                head = {"task": report.task, "list": name[:-1], "direction": direction}
                fields = _place_fields(place)
                tokens = {key: edges(fields[key]) for key in ("first_tokens", "second_tokens")}
                yield head | fields | tokens | stated
