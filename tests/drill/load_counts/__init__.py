"""Load by number: many records, choices, results and chunks, in bounded time and memory."""

from drill.load_counts import journal, records, table
from drill.part import Part

PARTS: tuple[Part, ...] = (
    Part(
        "load: records",
        "a document per line is scored; a repeated run scores again only what was lost",
        60_000,
        500,
        records.documents,
    ),
    Part(
        "load: choices",
        "a question with ten choices is scored; a repeated run equals the first",
        2000,
        20,
        records.choices,
    ),
    Part(
        "load: table",
        "a model with nine results stands in table, csv, terminal and JSON",
        1000,
        20,
        table.run,
    ),
    Part(
        "load: journal",
        "a chunk of a journal is scored, found again, or listed as missing",
        10_000,
        300,
        journal.run,
    ),
)
