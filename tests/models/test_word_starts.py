"""The mass of tokens that begin a word: equal to the sum over those tokens, and of no influence."""

import math
from pathlib import Path

import numpy as np
import pytest
from piece_model import PieceModel

from gpt2eval import demo, evaluate
from gpt2eval.analysis.export_rows import RowFiles, export_rows
from gpt2eval.errors import UsageError
from gpt2eval.models import registry
from gpt2eval.models.engine.causal import BestWordModel
from gpt2eval.models.engine.vocabulary import word_starts
from gpt2eval.report.measured import read_measured
from gpt2eval.types import Request, ScoresWordStarts


@pytest.fixture(scope="module")
def model() -> BestWordModel:
    loaded = registry.load_model("demo")
    assert isinstance(loaded, BestWordModel)
    assert isinstance(loaded, ScoresWordStarts)
    return loaded


def test_pieces_that_begin_with_white_space_and_special_tokens_begin_words() -> None:
    pieces = {0: b"a", 1: b" a", 2: b"\n", 3: b"<|eot|>", 4: b"\xc2\xa0x", 5: b"\xe4", 6: b"-"}
    # The rest of a quotation mark and a line end: it goes on with a character.
    pieces |= {7: b"\x9d\n", 8: b" \xe2\x80"}
    found = word_starts(pieces | {9: b" beyond"}, [3], 9)
    assert found.tolist() == [False, True, True, True, True, False, False, False, True]


def test_the_mass_is_the_sum_over_the_tokens(model: BestWordModel) -> None:
    """Against the scores of every such token, asked for one by one."""
    ids = model.encode(" the house was, as they said").ids
    scores = model.score_starts([Request(ids[:2], (ids[2:6], ids[2:3]))])
    starts = np.flatnonzero(model._starts)
    assert 0 < len(starts) < model.sizes().vocabulary
    for number, prefix in enumerate((ids[:2], ids[:3], ids[:4], ids[:5], ids[:2])):
        branches = tuple(np.array([start], np.int32) for start in starts)
        alone = model.score([Request(prefix, branches)]).logprobs.astype(np.float64)
        assert scores.log_starts[number] == pytest.approx(np.logaddexp.reduce(alone), abs=1e-5)
    asked = np.concatenate([ids[2:6], ids[2:3]])
    assert scores.starts_word.tolist() == np.isin(asked, starts).tolist()


def test_the_other_scores_are_the_same_bits(model: BestWordModel) -> None:
    ids = model.encode(" one two three four").ids
    batch = [Request(ids[:1], (ids[1:],)), Request(ids[:2], (ids[2:3],))]
    plain, more = model.score(batch), model.score_starts(batch)
    assert (plain.logprobs == more.logprobs).all()
    assert (plain.is_greedy == more.is_greedy).all()
    assert not len(plain.log_starts)


def test_a_run_with_word_starts_has_the_same_numbers(tmp_path: Path) -> None:
    plain = evaluate("demo", "ptb", out=tmp_path, limit=3)[0]
    more = evaluate("demo", "ptb", out=tmp_path, limit=3, word_starts=True)[0]
    assert more == plain
    one = read_measured(tmp_path)[0]
    starts = one.word_starts()
    assert starts is not None
    tokens = one.tokens()
    assert len(starts["log_starts"]) == len(tokens)
    # A token that begins a word is one of the tokens that do.
    begins = starts["starts_word"]
    assert (tokens.logprob[begins] <= starts["log_starts"][begins] + 1e-5).all()
    assert begins.any()
    assert not begins.all()
    # The next run finds its own journal again.
    assert evaluate("demo", "ptb", out=tmp_path, limit=3, word_starts=True)[0] == plain


def test_a_model_that_cannot_tell_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--word-starts: model pieces does not tell which"):
        evaluate(PieceModel(), "text8", data=demo.data(), limit=1, word_starts=True)


def test_corrected_surprisal_in_closed_form(tmp_path: Path) -> None:
    """Bytes are independent: B is the same everywhere, and only the text's ends differ."""
    text = tmp_path / "mine.txt"
    text.write_text("aa bb  cc\nd\n\ne")
    evaluate("toy:uniform-bytes", texts=text, out=tmp_path / "out", word_starts=True)
    path = tmp_path / "words.parquet"
    export_rows(read_measured(tmp_path / "out"), RowFiles(words=path), texts=text)
    from pyarrow import parquet

    rows = {row["word"]: row for row in parquet.read_table(path).to_pylist()}
    spaces = sum(chr(byte).isspace() for byte in range(128))
    bits = -math.log2(spaces / 256)  # of a white space
    assert rows["bb"]["bits"] == rows["bb"]["corrected_bits"] == pytest.approx(3 * 8)
    assert rows["cc"]["corrected_bits"] == pytest.approx(4 * 8)
    # The first word has no white space before it: its end is all that is added.
    assert rows["aa"]["bits"] == pytest.approx(16)
    assert rows["aa"]["corrected_bits"] == pytest.approx(16 + bits)
    # Nothing says how the last word ends.
    assert rows["e"]["corrected_bits"] is None
    evaluate("toy:uniform-bytes", texts=text, out=tmp_path / "out")
    export_rows(read_measured(tmp_path / "out"), RowFiles(words=path), texts=text)
    assert {row["corrected_bits"] for row in parquet.read_table(path).to_pylist()} == {None}


def test_corrected_surprisal_adds_up(tmp_path: Path) -> None:
    """Corrections telescope: between two word boundaries only the outer ones remain."""
    text = tmp_path / "mine.txt"
    text.write_text("The old man went to the sea, and did not come back.\nNobody knew why.\n")
    evaluate("demo", texts=text, out=tmp_path / "out", word_starts=True)
    one = read_measured(tmp_path / "out")[0]
    path = tmp_path / "words.jsonl"
    export_rows([one], RowFiles(words=path), texts=text)
    import json

    rows = [json.loads(line) for line in path.read_text().splitlines()]
    words = [row for row in rows if row["word"]]
    assert all(row["corrected_nats"] is not None for row in words)
    assert all(row["is_whole"] for row in words)
    starts, tokens = one.word_starts(), one.tokens()
    assert starts is not None
    (last,) = np.flatnonzero(tokens.begin == words[-1]["end"])
    total = math.fsum(row["corrected_nats"] for row in words)
    plain = math.fsum(row["nats"] for row in words)
    assert total == pytest.approx(plain - float(starts["log_starts"][last]))
    differing = [row for row in words if abs(row["corrected_nats"] - row["nats"]) > 1e-3]
    assert len(differing) > 5
