"""The byte account of a file of tokens: scored as one stream, with the bytes of its text."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spelled_models import CONTEXT, END, SpelledModel, byte_fallback, byte_level, logprobs

from gpt2eval import Settings
from gpt2eval.analysis.byte_account.account import ByteAccount
from gpt2eval.analysis.byte_account.shard import check_tokens
from gpt2eval.errors import UsageError
from gpt2eval.types import Request, TokenScores

DOCUMENTS = [
    "the cat sat on the mat.",
    "na\u00efve \u65e5\u672c\u8a9e text, the hat",
    " a blank before and after ",
    "the rat " * 60,
]


def stream(model: SpelledModel, documents: Sequence[str], *, before: bool) -> list[int]:
    """The tokens of documents, with the end-of-text token before each, or after each."""
    end = model.tokenizer.tokens.backend.token_to_id(END)  # type: ignore[attr-defined]
    ids: list[int] = []
    for document in documents:
        own = model.encode(document).ids.tolist()
        ids += [end, *own] if before else [*own, end]
    return ids


def shard(path: Path, ids: Sequence[int]) -> str:
    header = np.zeros(256, "<i4")
    header[:3] = [20240520, 1, len(ids)]
    path.write_bytes(header.tobytes() + np.array(ids, "<u2").tobytes())
    return str(path)


def account(model: Any, place: str, **arguments: Any) -> ByteAccount:
    return check_tokens(model, place, "auto", **arguments)


def naive_nats(ids: Sequence[int], context: int) -> float:
    """Disjoint windows: each predicts `context` tokens from those of the window before them."""
    total = 0.0
    for first in range(0, len(ids) - 1, context):
        inputs = np.array(ids[first : first + context])
        targets = np.array(ids[first + 1 : first + 1 + context])
        total -= logprobs(inputs[: len(targets)], targets, 1).sum()
    return total


@pytest.mark.parametrize("tokenizer", [byte_level, byte_fallback])
@pytest.mark.parametrize("before", [True, False])
def test_the_bytes_are_those_of_the_documents(tmp_path: Path, tokenizer: Any, before: bool) -> None:
    model = SpelledModel(tokenizer())
    ids = stream(model, DOCUMENTS, before=before)
    found = account(model, shard(tmp_path / "val.bin", ids))
    assert found.verdict == "certified"
    # SentencePiece writes "a" and " a" alike, so that decoding loses a document's first blank.
    lost = sum(document.startswith(" ") for document in DOCUMENTS) * (tokenizer is byte_fallback)
    assert found.text_bytes == sum(len(document.encode()) for document in DOCUMENTS) - lost
    assert found.scored == len(ids) - 1
    assert found.unscored == 1
    assert found.nats == pytest.approx(naive_nats(ids, CONTEXT), rel=1e-12)
    assert found.special.tokens == len(DOCUMENTS) - before
    (fact,) = [text for label, text in found.facts if label == "Documents"]
    assert fact == "4; encoded again to the same tokens: 4"


@pytest.mark.parametrize(("context", "stride"), [(8, 8), (16, 3), (64, 64)])
def test_windows_and_strides(tmp_path: Path, context: int, stride: int) -> None:
    model = SpelledModel(byte_level())
    ids = stream(model, DOCUMENTS, before=True)
    place = shard(tmp_path / "val.bin", ids)
    found = account(model, place, settings=Settings(context=context, stride=stride))
    assert found.is_certified
    assert sum(window.tokens for window in found.windows) == len(ids) - 1
    if context == stride:
        assert found.nats == pytest.approx(naive_nats(ids, context), rel=1e-12)


def test_the_first_tokens_alone(tmp_path: Path) -> None:
    model = SpelledModel(byte_level())
    ids = stream(model, DOCUMENTS, before=True)
    for most in range(2, len(ids) - 1, 7):
        found = account(model, shard(tmp_path / "val.bin", ids), most=most)
        raw = b"".join(
            spelling.raw
            for id_ in ids[:most]
            if (spelling := model.spelling(id_)) and not spelling.is_special
        )
        assert found.faults == ()
        assert found.text_bytes == len(raw)
        assert found.nats == pytest.approx(naive_nats(ids[:most], CONTEXT), rel=1e-12)
        assert f"limit:{most}" in found.signature


def test_end_of_text_by_its_name_counts_too_much(tmp_path: Path) -> None:
    model = SpelledModel(byte_level())
    found = account(model, shard(tmp_path / "val.bin", stream(model, DOCUMENTS, before=True)))
    counted = {rule.name: rule.bytes for rule in found.rules}
    assert counted["byte table"] == found.scored_bytes
    assert counted["with special tokens"] == found.scored_bytes + 3 * len(END)


def test_tokens_of_another_tokenizer_are_not_certified(tmp_path: Path) -> None:
    """The same vocabulary in another segmentation: single characters instead of merges."""
    model = SpelledModel(byte_level())
    letters = [id_ for char in "the cat" for id_ in model.encode(char).ids.tolist()]
    end = stream(model, [""], before=True)
    found = account(model, shard(tmp_path / "val.bin", [*end, *letters, *end]))
    assert not found.is_certified
    assert found.faults == ()
    assert "perhaps another tokenizer wrote it" in found.verdict


def test_a_document_that_cannot_be_compared_is_stated(tmp_path: Path) -> None:
    """The first document may be the rest of one, so its tokens may differ."""
    model = SpelledModel(byte_level())
    letters = [id_ for char in "the cat" for id_ in model.encode(char).ids.tolist()]
    place = shard(tmp_path / "val.bin", [*letters, *stream(model, ["the mat"], before=True)])
    found = dict(account(model, place).facts)
    assert found["Documents"] == "2; encoded again to the same tokens: 1"
    assert found["Not compared"] == "1, cut by an end of the file"


def test_an_interrupted_call_resumes(tmp_path: Path) -> None:
    class Silent(SpelledModel):
        def score(self, batch: Sequence[Request]) -> TokenScores:
            raise AssertionError("scored again")

    ids = stream(SpelledModel(byte_level()), DOCUMENTS, before=True)
    place = shard(tmp_path / "val.bin", ids)
    first = account(SpelledModel(byte_level()), place, out=tmp_path / "out")
    again = account(Silent(byte_level()), place, out=tmp_path / "out")
    assert again == first


@pytest.mark.parametrize(
    ("ids", "problem"),
    [
        ([0], "one token; expected 2 or more"),
        ([5, 400, 6], "token 1: the tokenizer of spelled does not state the bytes of token 400"),
    ],
)
def test_wrong_tokens_are_named(tmp_path: Path, ids: list[int], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        account(SpelledModel(byte_level()), shard(tmp_path / "val.bin", ids))


def test_a_file_of_special_tokens_has_no_text(tmp_path: Path) -> None:
    model = SpelledModel(byte_level())
    end = stream(model, [""], before=True)
    with pytest.raises(UsageError, match="only special tokens"):
        account(model, shard(tmp_path / "val.bin", end * 3))


def test_the_tokenizer_must_be_the_models(tmp_path: Path) -> None:
    model = SpelledModel(byte_level())
    place = shard(tmp_path / "val.bin", stream(model, DOCUMENTS, before=True))
    for name, tokenizer in (("own", byte_level()), ("other", byte_fallback())):
        tokenizer.save(str(tmp_path / f"{name}.json"))
    assert check_tokens(model, place, str(tmp_path / "own.json")).is_certified
    with pytest.raises(UsageError, match=r"its fingerprint is .*, and that of the model's"):
        check_tokens(model, place, str(tmp_path / "other.json"))


# The command.


def test_the_command_checks_a_text(tmp_path: Path, gpt2eval: Any) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("the caf\u00e9 \u65e5\u672c\n" * 30, encoding="utf-8")
    ended = gpt2eval("check-bytes", "--model", "toy:uniform-bytes", "--text", path, "--format=json")
    assert ended.code == 0
    (plain,) = json.loads(ended.out)
    assert plain["bits_per_byte"] == pytest.approx(8)
    assert plain["scored_bytes"] == path.stat().st_size
    assert plain["nats"] == pytest.approx(8 * math.log(2) * path.stat().st_size)
    shown = gpt2eval("check-bytes", "--model", "toy:uniform-bytes", "--text", path, "--windows")
    assert "certified" in shown.out
    assert "| window" in shown.out


def test_the_exit_status_is_1_if_a_text_is_not_certified(
    tmp_path: Path, gpt2eval: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("the cat")
    (tmp_path / "wrong_model.py").write_text(
        "from gpt2eval.models.toy import load\n"
        "from gpt2eval.models.options import LoadOptions\n"
        "class Wrong:\n"
        "    def __init__(self): self._m = load('uniform-bytes', LoadOptions())\n"
        "    context, start = 1024, 256\n"
        "    def encode(self, text): return self._m.encode(text[:-1])\n"
        "    def score(self, batch): return self._m.score(batch)\n"
        "    def spelling(self, token): return self._m.spelling(token)\n"
        "    def identity(self): return self._m.identity()\n"
    )
    monkeypatch.chdir(tmp_path)
    ended = gpt2eval("check-bytes", "--model", "wrong_model:Wrong", "--text", path)
    assert ended.code == 1
    assert "not certified: window 1, record 0, token 5" in ended.out
    assert "the tokens spell 6 bytes; the text has 7" in ended.out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "nothing to check; expected --text, --tasks or --tokens"),
        (["--tokens", "a.bin", "--tasks", "ptb"], "expected without --text and --tasks"),
        (["--tokens", "a.bin"], "does not say which tokenizer wrote it; expected --tokenizer"),
        (["--tokens", "a.bin", "--tokenizer", "auto"], "No such file"),
        (["--tokens", "a.bin", "--tokenizer", "auto", "--limit", "3"], "expected --max-tokens"),
        (["--tasks", "ptb", "--max-tokens", "3"], "expected --tokens with it"),
        (["--tasks", "ptb", "--unit", "byte"], "applies to --text only"),
        (["--tasks", "ptb", "--format", "latex"], "unknown format"),
        (["--tasks", "nope"], "unknown task"),
        (["--text", "no/such.txt"], "no/such.txt"),
    ],
)
def test_mistakes_are_one_line(gpt2eval: Any, arguments: list[str], problem: str) -> None:
    ended = gpt2eval("check-bytes", "--model", "toy:uniform-bytes", *arguments)
    assert ended.code == 2
    assert problem in ended.err
    assert len(ended.err.strip().splitlines()) == 1
