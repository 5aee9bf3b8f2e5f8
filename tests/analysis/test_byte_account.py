"""The byte account: certified where every byte has its token; a wrong byte is found and named."""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from piece_model import PieceModel
from spelled_models import SpelledModel, byte_fallback, byte_level

from gpt2eval import Settings, demo, evaluate
from gpt2eval.analysis.byte_account.account import ByteAccount
from gpt2eval.analysis.byte_account.render import render_accounts
from gpt2eval.analysis.byte_account.tasks import check_bytes
from gpt2eval.config import loader
from gpt2eval.errors import UsageError
from gpt2eval.identity import Spelling
from gpt2eval.models.registry import load_model
from gpt2eval.models.toy import ByteModel
from gpt2eval.scoring.array_files import write_arrays
from gpt2eval.scoring.run_files import RunFiles
from gpt2eval.scoring.token_table import TokenTable
from gpt2eval.types import Encoding

TASKS = [
    *("wikitext2", "ptb", "lm1b", "lambada", "cbt_cn", "text8", "enwik8", "wikitext2/s32"),
    *("wikitext2/hf_docs", "wikitext2/lm_eval"),
]
# Several scripts, so that tokens lie inside characters.
WORDS = "the cat, na\u00efve \u201cquotes\u201d \u65e5\u672c\u8a9e \U0001f642 the mat.\n"


def text_file(folder: Path, text: str | bytes = WORDS * 20) -> Path:
    path = folder / "text.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def account(model: Any, path: Path, **settings: Any) -> ByteAccount:
    """The account of a text, counted in bytes as the command counts it."""
    from gpt2eval.data.custom import load_text

    chosen = Settings(allow_lossy=True, **settings)
    return check_bytes(model, texts=[load_text(path, "byte")], settings=chosen)[0]


def bytes_of(found: ByteAccount) -> dict[str, int]:
    return {rule.name: rule.bytes for rule in found.rules}


def with_variants() -> list[str]:
    """Every task of the demo data under every protocol."""
    loaded = [loader.load_task(name) for name in demo.data()]
    return [
        name
        for task in loaded
        for name in (task.name, *(f"{task.name}/{v}" for v in task.variants))
    ]


def model_for(name: str) -> Any:
    """A model for a task: blocks need an end-of-text token and a short context."""
    task = loader.load_task(name)
    if task.block:
        return SpelledModel(byte_level())
    return "demo" if task.filter == "terminated" else "toy:unigram"


@pytest.mark.parametrize(
    ("model", "task"),
    [*((None, task) for task in with_variants()), *(("demo", task) for task in TASKS)],
)
def test_tasks_are_certified(model: str | None, task: str) -> None:
    chosen = Settings(limit=6, allow_lossy=True, allow_kept=True)
    scorer = model or model_for(task)
    (found,) = check_bytes(scorer, task, data=demo.data(), settings=chosen)
    assert found.verdict == "certified"
    assert found.scored_bytes + found.unscored_bytes == found.text_bytes
    assert found.windows
    assert all(window.bytes == window.end - window.begin for window in found.windows)


@pytest.mark.parametrize("task", ["wikitext2", "lambada", "cbt_cn", "wikitext2/hf_docs"])
def test_the_account_agrees_with_the_result(task: str) -> None:
    """The nats are those of a run; with all tokens scored, so are the bytes."""
    (found,) = check_bytes("demo", task, data=demo.data(), settings=Settings(limit=6))
    (result,) = evaluate("demo", task, data=demo.data(), limit=6)
    assert found.nats == result.tally.nats
    assert found.scored == result.tally.tokens
    if task == "wikitext2":
        assert found.scored_bytes == result.tally.units.bytes


@pytest.mark.parametrize(("context", "stride"), [(64, 64), (64, 7), (16, 16), (5, 1)])
@pytest.mark.parametrize("tokenizer", [byte_level, byte_fallback])
def test_every_window_has_the_bytes_of_its_tokens(
    tmp_path: Path, tokenizer: Any, context: int, stride: int
) -> None:
    path = text_file(tmp_path)
    found = account(SpelledModel(tokenizer()), path, context=context, stride=stride)
    assert found.is_certified
    assert found.scored_bytes == found.unit_bytes == path.stat().st_size
    assert found.bits_per(found.scored_bytes) == pytest.approx(
        found.nats / math.log(2) / path.stat().st_size
    )
    # The windows lie end to end, and their nats add up.
    assert [window.begin for window in found.windows[1:]] == [
        window.end for window in found.windows[:-1]
    ]
    assert sum(window.bytes for window in found.windows) == path.stat().st_size
    assert sum(window.nats for window in found.windows) == pytest.approx(found.nats, rel=1e-6)
    assert max(window.tokens for window in found.windows[1:]) <= stride


def test_documents_and_stray_bytes_are_certified(tmp_path: Path) -> None:
    for name, content in (("a.txt", WORDS), ("b.txt", "\u00e9 the"), ("c.txt", "the mat")):
        (tmp_path / name).write_text(content, encoding="utf-8")
    found = account(SpelledModel(byte_fallback()), tmp_path)
    assert found.is_certified
    assert found.records == 3
    assert found.text_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    stray = text_file(tmp_path, b"the \xff\xfe cat \x80 mat\n")
    for tokenizer in (byte_level, byte_fallback):
        found = account(SpelledModel(tokenizer()), stray)
        assert found.is_certified
        assert found.text_bytes == stray.stat().st_size


JOINED = """
title: t
citation: c
licence: l
version: 1
source: {file: {name: x}}
format: rows
ends: anywhere
ask: everything
join: JOIN
block: 16
pack: PACK
start: none
tail: TAIL
unit: token
metrics: [nats_per_token]
"""


@pytest.mark.parametrize("join", ["eot", "none"])
@pytest.mark.parametrize("pack", ["null", "{begin: eot, end: eot, score_end: true}"])
@pytest.mark.parametrize("tail", ["score", "drop"])
@pytest.mark.parametrize("tokenizer", [byte_level, byte_fallback])
def test_streams_of_tokens_are_certified(
    tmp_path: Path, tokenizer: Any, join: str, pack: str, tail: str
) -> None:
    """The end-of-text tokens between records and around blocks have no bytes."""
    (tmp_path / "tasks").mkdir()
    content = JOINED.replace("JOIN", join).replace("PACK", pack).replace("TAIL", tail)
    (tmp_path / "tasks" / "mine.yaml").write_text(content)
    path = text_file(tmp_path, "the cat\nthe mat, na\u00efve\n\n\u65e5\u672c the rat\n" * 9)
    (found,) = check_bytes(
        SpelledModel(tokenizer()), "mine", data={"mine": path}, include=[tmp_path]
    )
    assert found.verdict == "certified"
    assert found.scored_bytes + found.unscored_bytes == found.text_bytes
    # The first token of each block is not scored, unless it is an inserted one.
    assert (found.unscored > 0) == (pack == "null" or tail == "drop")
    assert (found.inserted > 0) == (pack != "null")


class EndsLate(SpelledModel):
    """States that a token ends a character later than it does."""

    def encode(self, text: str) -> Encoding:
        encoding = super().encode(text)
        ends = encoding.ends.copy()
        ends[100] += 1
        return encoding._replace(ends=np.maximum.accumulate(ends))


class SpellsAnother(SpelledModel):
    """States other bytes for a token than those that the tokenizer encodes."""

    def spelling(self, token: int) -> Spelling | None:
        spelling = super().spelling(token)
        if spelling and spelling.raw.endswith(b"s"):
            return spelling._replace(raw=spelling.raw + b"s")
        return spelling


class LosesTheEnd(SpelledModel):
    """Encodes all but the last character."""

    def encode(self, text: str) -> Encoding:
        return super().encode(text[:-1])


class LowerCase(SpelledModel):
    """Encodes the text in lower case: the tokens do not spell the text."""

    def encode(self, text: str) -> Encoding:
        return super().encode(text.lower())


def test_a_wrong_end_is_named(tmp_path: Path) -> None:
    path = text_file(tmp_path)
    good = account(SpelledModel(byte_level()), path, context=16, stride=4)
    found = account(EndsLate(byte_level()), path, context=16, stride=4)
    assert good.is_certified
    assert not found.is_certified
    fault = found.faults[0]
    assert fault.token == 100
    window = next(w for w in found.windows if w.first <= 100 < w.first + w.tokens)
    assert fault.window == window.number
    assert "ends at character" in fault.problem
    assert f"window {window.number}, record 0, token 100" in found.verdict


@pytest.mark.parametrize(
    ("model", "text", "problem"),
    [
        (SpellsAnother, WORDS, "spells b'ss'; the text has b's\\xe2' at its byte"),
        (LosesTheEnd, WORDS, f"spell {len(WORDS.encode()) - 1} bytes; the text has"),
        (LowerCase, "the Cat", "spells b' cat'; the text has b' Cat' at its byte 3"),
    ],
)
def test_tokens_that_do_not_spell_the_text_are_named(
    tmp_path: Path, model: Any, text: str, problem: str
) -> None:
    found = account(model(byte_level()), text_file(tmp_path, text))
    assert not found.is_certified
    assert problem in found.faults[0].problem


def test_a_blank_after_a_character_of_several_bytes_is_found(tmp_path: Path) -> None:
    """Only where tokenizing starts anew may a token have a blank that the text has not."""

    class AddsBlank(SpelledModel):
        def encode(self, text: str) -> Encoding:
            encoding = super().encode(text)
            (plain,), (spaced,) = super().encode("the").ids, super().encode(" the").ids
            return encoding._replace(ids=np.where(encoding.ids == plain, spaced, encoding.ids))

    found = account(AddsBlank(byte_level()), text_file(tmp_path, "a \u65e5the"))
    assert not found.is_certified
    assert "spells b' the'; the text has b'the' at its byte 5" in found.faults[0].problem
    # After a byte that is no text, the tokenizer itself starts anew.
    assert account(AddsBlank(byte_level()), text_file(tmp_path, b"a \xffthe")).is_certified


def test_a_text_of_unknown_origin_is_not_certified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt2eval.analysis.byte_account.rows.walked", lambda passage: None)
    found = account(SpelledModel(byte_level()), text_file(tmp_path))
    assert "its place in the published text is unknown" in found.verdict


def test_a_backend_that_states_no_bytes_is_not_certified(tmp_path: Path) -> None:
    found = account(PieceModel(), text_file(tmp_path))
    assert not found.is_certified
    assert found.faults == ()
    assert "has no spelling()" in found.verdict
    assert found.scored_bytes == found.text_bytes


def test_a_wrong_spelling_is_an_error_of_the_backend(tmp_path: Path) -> None:
    class Wrong(SpelledModel):
        def spelling(self, token: int) -> Any:
            return "text"

    with pytest.raises(UsageError, match=r"spelling\(\d+\) returned 'text'; expected a gpt2eval"):
        account(Wrong(byte_level()), text_file(tmp_path))


def run_of(out: Path, model: Any, task: str, **settings: Any) -> tuple[RunFiles, TokenTable]:
    """Run a task into a folder; return its files and its token table."""
    evaluate(model, task, data=demo.data(), out=out, **settings)
    path = next(out.rglob("*.tokens"))
    files = RunFiles(path.parent, path.name.removesuffix(".tokens"))
    table = files.read_tokens()
    assert table is not None
    return files, table


def checked(out: Path, model: Any, task: str, **settings: Any) -> ByteAccount:
    return check_bytes(model, task, data=demo.data(), out=out, settings=Settings(**settings))[0]


@pytest.mark.parametrize("task", ["enwik8", "ptb", "lm1b", "wikitext2/s32", "lambada", "cbt_cn"])
def test_a_wrong_byte_in_a_kept_table_is_found(tmp_path: Path, task: str) -> None:
    """A boundary between two tokens is moved by a byte; the table still tiles the text."""
    model = load_model("demo")
    files, table = run_of(tmp_path, model, task, limit=4)
    assert checked(tmp_path, model, task, limit=4).is_certified
    joints = np.flatnonzero((table.end[:-1] == table.begin[1:]) & (np.diff(table.record) == 0))
    for place, by in itertools.product((0, 3, -2), (-1, 1)):
        begin, end = table.begin.copy(), table.end.copy()
        row = int(joints[place])
        end[row] += by
        begin[row + 1] += by
        files.write_tokens(replace(table, begin=begin, end=end))
        found = checked(tmp_path, model, task, limit=4)
        assert not found.is_certified
        fault = found.faults[0]
        assert fault.record == table.record[row]
        assert fault.id in (table.id[row], table.id[row + 1])
        assert fault.window > 0


@settings(max_examples=60)
@given(st.data())
def test_any_moved_boundary_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """In a text without a detokenizer, whatever boundary moves, and by however many bytes."""
    from gpt2eval.analysis.byte_account import tasks

    path = text_file(tmp_path_factory.mktemp("moved"), WORDS * 3)
    size = path.stat().st_size
    original = tasks.token_table
    moved: list[int] = []

    def wrong(*arguments: Any) -> TokenTable:
        table = original(*arguments)
        begin, end = table.begin.copy(), table.end.copy()
        row = data.draw(st.integers(0, len(table) - 2))
        value = data.draw(st.integers(0, size).filter(lambda byte: byte != end[row]))
        end[row] = begin[row + 1] = value
        moved.append(row)
        return replace(table, begin=begin, end=end)

    tasks.token_table = wrong
    try:
        found = account(SpelledModel(byte_level()), path, context=16, stride=4)
    finally:
        tasks.token_table = original
    assert not found.is_certified
    assert found.faults[0].token in (moved[0], moved[0] + 1, moved[0] + 2)


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("id", 7, "id 7, expected"),
        ("logprob", -0.5, "logprob -0.5, expected"),
        ("record", 99, "record 99, expected"),
        ("weight", 0.5, "weight 0.5, expected 1.0"),
    ],
)
def test_a_row_of_another_token_is_found(
    tmp_path: Path, column: str, value: float, problem: str
) -> None:
    files, table = run_of(tmp_path, "demo", "ptb", limit=3)
    changed = getattr(table, column).copy()
    changed[20] = value
    files.write_tokens(replace(table, **{column: changed}))
    found = checked(tmp_path, "demo", "ptb", limit=3)
    assert found.faults[0].token == 20
    assert problem in found.faults[0].problem


def test_a_missing_row_is_found(tmp_path: Path) -> None:
    files, table = run_of(tmp_path, "demo", "ptb", limit=3)
    files.write_tokens(table.select(slice(0, len(table) - 1)))
    found = checked(tmp_path, "demo", "ptb", limit=3)
    problem = f"{len(table) - 1:,} rows; the windows score {len(table):,} tokens"
    assert problem in found.faults[0].problem


def test_what_a_run_scored_is_not_scored_again(tmp_path: Path) -> None:
    class Silent(ByteModel):
        def score(self, batch: Sequence[Any]) -> Any:
            raise AssertionError("scored again")

    probabilities = np.full(256, 1 / 256)
    run_of(tmp_path, ByteModel("same", probabilities), "ptb", limit=3)
    silent = Silent("same", probabilities)
    silent.__class__.__module__ = "gpt2eval.models.toy"
    assert checked(tmp_path, silent, "ptb", limit=3).is_certified


def test_a_damaged_table_is_made_anew(tmp_path: Path) -> None:
    files, _ = run_of(tmp_path, "demo", "ptb", limit=3)
    write_arrays(files.path("tokens"), {"record": np.zeros(1, np.int32)})
    assert checked(tmp_path, "demo", "ptb", limit=3).is_certified


def test_replaced_bytes_are_priced() -> None:
    """nanochat, pull request 693: decoding a byte of a character alone gives U+FFFD, 3 bytes."""
    model = SpelledModel(byte_level())
    ids = model.encode("\u65e5").ids.tolist()
    spellings = [model.spelling(token) for token in ids]
    assert [len(one.decoded.encode()) for one in spellings if one] == [3, 3, 3]
    assert [len(one.raw) for one in spellings if one] == [1, 1, 1]


def test_rules_of_a_byte_level_vocabulary(tmp_path: Path) -> None:
    text = "the cat \u65e5\u672c\u8a9e sat"  # 12 letters and blanks, 9 bytes of three characters
    found = account(SpelledModel(byte_level()), text_file(tmp_path, text))
    counted = bytes_of(found)
    assert found.scored_bytes == counted["byte table"] == 21
    assert counted["decode([id])"] == 21 + 9 * 2
    assert counted["characters"] == 15
    assert counted["vocabulary string"] == 21 + 3 + 9  # Ġ and the characters of bytes have 2 bytes
    assert "\u2581 twice" not in counted


def test_rules_of_a_vocabulary_with_byte_tokens(tmp_path: Path) -> None:
    """parameter-golf, pull requests 1289 (U+FFFD for byte tokens) and 1734 (a blank counted twice).

    The text has 4 blanks; the tokenizer adds one. Its five 3-byte characters are byte tokens.
    """
    text = "the cat \u65e5\u672c\u8a9e the \u201cmat\u201d"
    found = account(SpelledModel(byte_fallback()), text_file(tmp_path, text))
    assert found.is_certified
    exact = len(text.encode())
    counted = bytes_of(found)
    assert found.scored_bytes == exact
    assert counted["byte table"] == exact + 1  # the blank before the text
    assert counted["\u2581 inside the text"] == exact
    assert counted["\u2581 never"] == exact - 4
    assert counted["\u2581 twice"] == exact + 4 + 1
    assert counted["bytes as U+FFFD"] == exact + 1 + 15 * 2
    assert counted["vocabulary string"] == exact + 5 * 3 - 4 + 15 * 5


def test_a_vocabulary_without_a_blank_is_not_certified(tmp_path: Path) -> None:
    """parameter-golf, issue 897: each blank becomes the three bytes of a character."""
    found = account(SpelledModel(byte_fallback(has_blank=False)), text_file(tmp_path, "the cat"))
    assert not found.is_certified
    assert "spells b'\\xe2'; the text has b't' at its byte 0" in found.faults[0].problem


def test_detokenized_bytes_are_priced() -> None:
    (found,) = check_bytes("demo", "ptb", data=demo.data(), settings=Settings(limit=6))
    assert bytes_of(found)["detokenized text"] < found.text_bytes


def test_formats() -> None:
    found = check_bytes("demo", "ptb", data=demo.data(), settings=Settings(limit=3))
    (plain,) = json.loads(render_accounts(found, "json"))
    assert plain["certified"] is True
    assert plain["windows"][0]["bytes"] == found[0].windows[0].bytes
    assert plain["rules"][0]["count"] == "exact"
    rows = render_accounts(found, "csv").splitlines()
    assert len(rows) == 2 + len(found[0].rules)
    assert len(render_accounts(found, "csv", windows=True).splitlines()) == 2
    for form in ("markdown", "terminal"):
        assert "certified" in render_accounts(found, form, windows=True)
    with pytest.raises(UsageError, match="unknown format"):
        render_accounts(found, "latex")
