"""The token table: every scored token once, and every published byte once."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval import demo, evaluate
from gpt2eval.config import loader
from gpt2eval.report.measured import Measured, read_measured
from gpt2eval.scoring.array_files import write_arrays
from gpt2eval.scoring.token_table import TokenTable, byte_offsets
from gpt2eval.text.edits import Edit, EditedText, apply_edits
from gpt2eval.text.loader import load_detokenizer
from gpt2eval.text.origins import DetokenizedFrom
from gpt2eval.text.prepare import detokenize
from gpt2eval.text.walked import walked
from gpt2eval.types import Passage

TASKS = ["wikitext2", "ptb", "lm1b", "lambada", "cbt_cn", "text8", "enwik8", "wikitext2/s32"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Measured]:
    out = tmp_path_factory.mktemp("tokens")
    evaluate("toy:unigram", TASKS, data=demo.data(), out=out, limit=12)
    return {one.result.full_name: one for one in read_measured(out)}


@pytest.mark.parametrize("task", TASKS)
def test_tokens_add_up_to_the_result(measured: dict[str, Measured], task: str) -> None:
    one = measured[task]
    tokens = one.tokens()
    right = tokens.select(tokens.is_right)
    nats = -math.fsum((right.logprob.astype(np.float64) * right.weight).tolist())
    assert nats == pytest.approx(one.result.tally.nats, rel=1e-6)
    assert len(right) == one.result.tally.tokens
    assert (tokens.context > 0).all()


@pytest.mark.parametrize("task", ["wikitext2", "ptb", "lm1b", "text8", "enwik8", "wikitext2/s32"])
def test_tokens_tile_the_published_bytes(measured: dict[str, Measured], task: str) -> None:
    one = measured[task]
    tokens = one.tokens()
    ends = 0
    for rows in tokens.passages():
        passage = tokens.select(rows)
        assert passage.begin[0] == 0
        assert (passage.begin[1:] == passage.end[:-1]).all()
        assert (passage.begin <= passage.end).all()
        ends += int(passage.end[-1])
    assert ends == one.result.tally.units.bytes


def test_the_scored_word_ends_where_the_published_passage_ends(
    measured: dict[str, Measured],
) -> None:
    tokens = measured["lambada"].tokens()
    texts = demo_texts("lambada")
    for rows in tokens.passages():
        passage = tokens.select(rows)
        text = texts[int(passage.record[0])].rstrip().encode()
        word = text[int(passage.begin[0]) : int(passage.end[-1])]
        assert word.split() == [text.split()[-1]]


def demo_texts(task: str) -> list[str]:
    from gpt2eval.data import corpus
    from gpt2eval.settings import Settings

    loaded = corpus.load(loader.load_task(task), demo.data(), Settings())
    return [record.text for record in loaded.records]


def test_a_repeated_run_writes_a_table_that_was_deleted(tmp_path: Path) -> None:
    evaluate("toy:unigram", "ptb", data=demo.data(), out=tmp_path, limit=3)
    path = next(tmp_path.rglob("*.tokens"))
    before = path.read_bytes()
    path.unlink()
    chunks = {chunk: chunk.stat().st_mtime_ns for chunk in tmp_path.rglob("*.safetensors")}
    evaluate("toy:unigram", "ptb", data=demo.data(), out=tmp_path, limit=3)
    assert path.read_bytes() == before
    assert chunks == {chunk: chunk.stat().st_mtime_ns for chunk in chunks}


@pytest.mark.parametrize("kind", ["tokens", "starts"])
@pytest.mark.parametrize("damage", ["corrupt", "incomplete"])
def test_a_repeated_run_repairs_a_table(kind: str, damage: str, tmp_path: Path) -> None:
    def run() -> None:
        evaluate("toy:unigram", "ptb", data=demo.data(), out=tmp_path, limit=3, word_starts=True)

    run()
    path = next(tmp_path.rglob(f"*.{kind}"))
    before = path.read_bytes()
    if damage == "corrupt":
        path.write_bytes(before[:-1])
    else:
        write_arrays(path, {"record": np.zeros(1, np.int32)})
    run()
    assert path.read_bytes() == before


TEXTS = st.text(alphabet="ab ,.'é\n", max_size=40)


@st.composite
def edited_texts(draw: st.DrawFn) -> tuple[str, EditedText]:
    text = draw(TEXTS)
    bounds = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pairs = zip(bounds[::2], bounds[1::2], strict=False)
    edits = tuple(Edit(start, end, draw(st.text("xy", max_size=3))) for start, end in pairs)
    return text, EditedText(apply_edits(text, edits), edits)


@given(edited_texts(), st.integers(0, 2))
def test_origins_invert_positions(pair: tuple[str, EditedText], shift: int) -> None:
    """A character that no edit touches comes from its own place; origins never decrease."""
    text, edited = pair
    back = DetokenizedFrom.of(text, edited, shift)
    positions = np.arange(len(edited.text) + 1, dtype=np.int32) + shift
    origins = back.origins(positions)
    assert (np.diff(origins) >= 0).all()
    touched = {place for edit in edited.edits for place in range(edit.start, edit.end + 1)}
    for place in range(len(text)):
        if place not in touched and place + 1 not in touched:
            (moved,) = edited.positions([place])
            assert origins[moved] == place
            assert edited.text[moved] == text[place]


@pytest.mark.parametrize("name", ["megatron", "wikitext", "ptb", "lm1b", "moses"])
def test_every_letter_comes_from_its_own_place(name: str) -> None:
    """Also inside brackets and quotes, which some rules rewrite as a whole."""
    text = ' = Heron = \n It \'s " about 60 cm ( 24 in ) long " , [ so @-@ called ] { c d } . \n'
    edited = detokenize(text, load_detokenizer(name))
    back = DetokenizedFrom.of(text, edited)
    origins = back.origins(np.arange(len(edited.text) + 1, dtype=np.int32))
    for place, char in enumerate(edited.text):
        if char.isalnum():
            assert text[origins[place] : origins[place + 1]].strip(' @"(=') == char


@given(st.text(max_size=30), st.binary(max_size=5))
def test_byte_offsets_count_utf8(text: str, raw: bytes) -> None:
    text += raw.decode("utf-8", "surrogateescape")
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    offsets = byte_offsets(text)
    expected = [len(text[:n].encode("utf-8", "surrogateescape")) for n in range(len(text) + 1)]
    assert offsets.tolist() == expected


def test_a_table_of_another_version_is_absent() -> None:
    assert TokenTable.of({"record": np.zeros(1, np.int32)}) is None


@given(edited_texts(), st.integers(0, 2))
def test_walking_the_edits_gives_the_same_positions(
    pair: tuple[str, EditedText], shift: int
) -> None:
    text, edited = pair
    back = DetokenizedFrom.of(text, edited, shift)
    length = len(edited.text) + shift
    origin = walked(Passage(0, " " * shift + edited.text, (), published=back))
    assert origin is not None
    assert origin.ends.tolist() == back.origins(np.arange(1, length + 1, dtype=np.int32)).tolist()
