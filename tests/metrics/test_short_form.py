"""The short form of signatures: it reads back, and keeps two protocols apart."""

import json
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.metrics.protocol import ProtocolFields
from gpt2eval.metrics.short_form import LEFT_OUT, LONG, SHORT
from gpt2eval.metrics.signature import (
    MODEL,
    comparable,
    differences,
    protocol_differences,
    read,
    short,
    written,
)

ROOT = Path(__file__).parents[2]
SIGNATURES = sorted(
    {
        metric["signature"]
        for path in (ROOT / "results").rglob("result.json")
        for metric in json.loads(path.read_text(encoding="utf-8"))["metrics"].values()
    }
)
PTB = (
    "task:ptb|data:dd65dff3|ask:everything|detok:ptb.1|unit:word+eol@82430|ctx:1024|stride:1024|"
    "start:<|endoftext|>|model:gpt2@607a30d7|tok:96c4a1fb|dtype:float32|attn:packed|gemm:onednn|"
    "batch:1024|v:0.1.0"
)


def test_the_short_form_of_a_signature() -> None:
    assert short(PTB) == (
        "t:ptb|d:dd65dff3|dt:ptb.1|u:word+eol@82430|c:1024|st:<|endoftext|>|m:gpt2@607a30d7|"
        "to:96c4a1fb|v:0.1.0"
    )


@pytest.mark.parametrize("line", SIGNATURES)
def test_it_reads_back_to_all_but_the_last_digits(line: str) -> None:
    fields = read(line)
    kept = {key: value for key, value in fields.items() if key not in LEFT_OUT}
    assert read(short(line)) == kept
    assert [*read(short(line))] == [*kept], "in the order of a signature"
    assert short(short(line)) == short(line)
    assert len(short(line)) < len(line)


def test_different_protocols_and_models_have_different_short_forms() -> None:
    for first, second in combinations(SIGNATURES, 2):
        fields = read(first), read(second)
        same = protocol_differences(*fields, ignored={*LEFT_OUT}) == []
        if not same or fields[0]["model"] != fields[1]["model"]:
            assert short(first) != short(second)


@pytest.mark.parametrize(
    ("change", "to"),
    [
        ("stride:1024", "stride:512"),
        ("ctx:1024", "ctx:512"),
        ("ask:everything", "ask:last_word"),
        ("dtype:float32", "dtype:bfloat16"),
        ("start:<|endoftext|>", "start:none"),
        ("data:dd65dff3", "data:dd65dff3!"),
        ("|model:", "|limit:5|model:"),
    ],
)
def test_every_change_shows(change: str, to: str) -> None:
    changed = PTB.replace(change, to)
    assert changed != PTB
    assert short(changed) != short(PTB)
    assert read(short(changed)).items() <= read(changed).items()


VALUES = st.text("abcXYZ019.+@!<|>: %", min_size=1, max_size=8)


@given(
    st.fixed_dictionaries({"task": VALUES, "data": VALUES}),
    st.dictionaries(st.sampled_from([key for key in SHORT if key not in ("task", "data")]), VALUES),
)
def test_any_two_signatures_differ_in_short_if_they_differ_in_full(
    first: dict[str, str], others: dict[str, str]
) -> None:
    fields = {key: (first | others)[key] for key in SHORT if key in first | others}
    line = written(fields)
    back = read(short(line))
    assert {key: back[key] for key in read(line)} == read(line)


def test_every_field_of_a_signature_has_a_short_key() -> None:
    fields = {"task", "unit", *ProtocolFields.__dataclass_fields__, *MODEL}
    assert fields == SHORT.keys() | LEFT_OUT
    assert len(LONG) == len(SHORT)
    assert not (LONG.keys() & SHORT.keys()) - {"v"}


def test_it_is_found_in_prose_and_compared_with_a_full_one() -> None:
    found = read(f"PTB, gpt2: 35.13 `{short(PTB)}` (as printed).")
    assert found["task"] == "ptb"
    assert comparable(read(short(PTB)), read(PTB))[0]
    assert {pair.field for pair in differences(read(short(PTB)), read(PTB))} == {
        *("attn", "gemm", "batch")
    }
