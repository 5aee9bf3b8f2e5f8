"""Signatures: parsed, compared, and checked as `rerun` checks them before it scores."""

from contextlib import suppress
from pathlib import Path

from drill import mutations
from drill.attempts import Attempt
from drill.data_files.kinds import part
from gpt2eval.analysis.reproduce import diff, rerun
from gpt2eval.errors import UsageError
from gpt2eval.metrics import signature

LINE = (
    "task:lambada|data:4aa8d02c|ask:last_word|detok:lambada.1|unit:token@8|windows:regular"
    "|start:<|endoftext|>|ctx:1024|stride:512|filter:gpt2.exact|model:toy:unigram@1f2e3d4c"
    "|tok:12345678|dtype:float32|attn:packed|batch:4096|v:0.1.0"
)
SHORT = signature.short(LINE)


def read_line(path: Path) -> object:
    """Give a line to everything that reads signatures. Says `signature` in every error."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    fields = signature.read(text)
    diff(text, LINE)
    with suppress(UsageError):  # names a field
        rerun(text, "toy:uniform-bytes", data="demo")
    return fields


def _problem(path: Path, read: object) -> str | None:
    """Say whether an accepted line is another one once it is written and read again."""
    assert isinstance(read, dict)
    again = signature.read(signature.written(read))
    return None if again == read else f"written and read again: {again}"


PARTS = (
    part(
        "signature",
        [
            Attempt(
                name,
                lambda random, line=line: mutations.of_bytes(
                    line.encode(), random, [LINE.encode()]
                ),
                read_line,
                _problem,
                ("signature",),
            )
            for name, line in (("full", LINE), ("short", SHORT))
        ],
    ),
)
