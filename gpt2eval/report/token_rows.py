"""The rows of exported tables: a result's records and its tokens, as columns."""

from collections.abc import Iterator, Mapping

import numpy as np

from gpt2eval.metrics.clusters import is_stream
from gpt2eval.report.measured import Measured
from gpt2eval.report.row_files import ROWS, Columns
from gpt2eval.scoring.token_table import BITS, TokenTable


def record_columns(measured: Measured) -> Columns:
    """Return a row per record of a result, or per part of a single text.

    Columns: `model`, `task`, `record`, `part` (of a single text, else 0), `cluster` (its number)
    and `cluster_name` (what an interval takes to be independent), the counts of the published text
    (`words`, `lines`, `bytes`, `chars`), `tokens`, `nats`, `bits`, `bits_per_byte`, `correct` and
    `correct_unfiltered` (with and without the task's stop-word filter; of a single text the whole
    text counts, in its first part), `ties`, `unscored`, `straddling`, `undecided`, and `signature`.
    """
    parts = measured.parts
    is_parts = is_stream(parts)
    number = np.arange(len(parts))
    clusters = measured.independent.numbers
    units = [part.units for part in parts]
    nats = np.array([part.nats for part in parts])
    sizes = np.array([unit.bytes for unit in units])
    per_byte = np.divide(nats * BITS, sizes, out=np.full(len(parts), np.nan), where=sizes > 0)
    return {
        **_named(measured),
        "record": np.zeros_like(number) if is_parts else number,
        "part": number if is_parts else np.zeros_like(number),
        "cluster": number if clusters is None else clusters,
        "cluster_name": measured.independent.name
        if not is_parts or clusters is not None
        else "part",
        "words": np.array([unit.words for unit in units]),
        "lines": np.array([unit.lines for unit in units]),
        "bytes": sizes,
        "chars": np.array([unit.chars for unit in units]),
        "tokens": np.array([part.tokens for part in parts]),
        "nats": nats,
        "bits": nats * BITS,
        "bits_per_byte": per_byte,
        "correct": np.array([part.correct for part in parts]),
        "correct_unfiltered": np.array([part.unfiltered for part in parts]),
        "ties": np.array([part.ties for part in parts]),
        "unscored": np.array([part.unscored for part in parts]),
        "straddling": np.array([part.straddling for part in parts]),
        "undecided": np.array([part.undecided for part in parts]),
        "signature": measured.result.signature,
    }


def token_columns(
    measured: Measured,
    tokens: TokenTable,
    texts: Mapping[tuple[int, int], bytes] | None = None,
    starts: Mapping[str, np.ndarray] | None = None,
) -> Iterator[Columns]:
    """Yield a row per scored token, some rows at a time.

    Columns: `model`, `task`, `record`, `choice` and `is_right` (of a question), `number` (of the
    token in its passage), `id`, `begin` and `end` (byte offsets in the published text), `text`
    (the published bytes from begin to end; empty without `texts`), `logprob` (natural), `nats` and
    `bits` (what the token adds to the result, its weight included), `is_greedy`, `is_tied`,
    `context`, `weight`, and from a run with `--word-starts`, else empty, `log_starts` (the
    log-probability, in the token's place, of all tokens that begin a word).
    """
    number = _numbers(tokens)
    log_starts = np.full(len(tokens), np.nan)
    if starts is not None:
        log_starts = starts["log_starts"].astype(np.float64)
    for first in range(0, len(tokens), ROWS):
        rows = tokens.select(slice(first, first + ROWS))
        logprob = rows.logprob.astype(np.float64)
        nats = 0.0 - logprob * rows.weight
        text = [None] * len(rows) if texts is None else _texts(rows, texts)
        yield {
            **_named(measured),
            "record": rows.record,
            "choice": rows.choice,
            "is_right": rows.is_right,
            "number": number[first : first + ROWS],
            "id": rows.id,
            "begin": rows.begin.astype(np.int64),
            "end": rows.end.astype(np.int64),
            "text": text,
            "logprob": logprob,
            "nats": nats,
            "bits": nats * BITS,
            "is_greedy": rows.is_greedy,
            "is_tied": rows.is_tied,
            "context": rows.context,
            "weight": rows.weight.astype(np.float64),
            "log_starts": log_starts[first : first + ROWS],
        }


def _named(measured: Measured) -> dict[str, str]:
    return {"model": measured.result.model.name, "task": measured.result.full_name}


def _numbers(tokens: TokenTable) -> np.ndarray:
    """Return the number of each token in its passage."""
    number = np.arange(len(tokens))
    for rows in tokens.passages():
        number[rows] -= rows.start
    return number


def _texts(rows: TokenTable, texts: Mapping[tuple[int, int], bytes]) -> list[str]:
    columns = (rows.record, rows.choice, rows.begin, rows.end)
    return [
        texts[record, choice][begin:end].decode("utf-8", "backslashreplace")
        for record, choice, begin, end in zip(*(column.tolist() for column in columns), strict=True)
    ]
