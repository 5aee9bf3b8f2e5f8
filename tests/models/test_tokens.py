"""Tokens tile the bytes of any text, or the encoding is marked as lossy."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoModelForCausalLM, AutoTokenizer

from gpt2eval import demo, pipeline
from gpt2eval.config import catalog
from gpt2eval.errors import UsageError
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.registry import load_model
from gpt2eval.models.tokenization import pieces, tiling
from gpt2eval.models.tokenization.tiling import TiledEncoder, char_ends
from gpt2eval.models.toy import ByteModel
from gpt2eval.pipeline import Settings
from gpt2eval.scoring import plan
from gpt2eval.scoring.rolled import Rolled, Stretch
from gpt2eval.types import Encoding, Request, TokenScores

TEXT = [demo.data()[name].read_text(encoding="utf-8") for name in ("wikitext2", "ptb", "lambada")]
SPECIAL = ["<unk>", "<s>", "<|endoftext|>"]


def trained(kind: str) -> Any:
    """Train a small tokenizer of one kind."""
    tokenizer: Any = Tokenizer(
        models.WordPiece(unk_token="<unk>") if kind == "wordpiece" else models.BPE()
    )
    options: dict[str, Any] = {"vocab_size": 500, "special_tokens": SPECIAL, "show_progress": False}
    if kind == "wordpiece":
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.decoder = decoders.WordPiece()
        tokenizer.train_from_iterator(TEXT, trainers.WordPieceTrainer(**options))
        return tokenizer
    if kind == "sentencepiece":
        bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
        tokens = [*SPECIAL, *bytes_, *"▁aehnst", "▁a", "th"]
        vocabulary = {token: i for i, token in enumerate(tokens)}
        tokenizer = Tokenizer(
            models.BPE(vocabulary, [("▁", "a"), ("t", "h")], unk_token="<unk>", byte_fallback=True)
        )
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        )
        tokenizer.add_special_tokens(SPECIAL)
        tokenizer.post_processor = processors.TemplateProcessing(
            "<s> $A", special_tokens=[("<s>", 1)]
        )
        return tokenizer
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=kind == "prefix-space")
    tokenizer.decoder = decoders.ByteLevel()
    if kind == "lower-case":
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.train_from_iterator(
        TEXT, trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **options)
    )
    return tokenizer


KINDS = ("byte-level", "prefix-space", "sentencepiece", "wordpiece", "lower-case")
TOKENIZERS: Mapping[str, Any] = {kind: trained(kind) for kind in KINDS}

stray = st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
letters = st.characters(
    exclude_categories=["Cs"], exclude_characters="▁"
)  # "▁" is SentencePiece's space
texts = st.text(st.one_of(letters, stray, st.sampled_from("the at\n  é名🙂")), max_size=60)


def name_bytes(token: str, kind: str) -> bytes:
    """Return the bytes of a token's name, independently of the package."""
    if kind == "sentencepiece":
        return (
            bytes.fromhex(token[3:5])
            if token.startswith("<0x")
            else token.replace("▁", " ").encode()
        )
    printable = [b for b in range(256) if chr(b).isprintable() and not chr(b).isspace()]
    order = [*printable, *(b for b in range(256) if b not in printable)]
    names = [*map(chr, printable), *(chr(256 + i) for i in range(256 - len(printable)))]
    return bytes(dict(zip(names, order, strict=True))[c] for c in token)


def naive_ends(text: str, byte_ends: Sequence[int]) -> list[int]:
    upto = [len(text[:n].encode("utf-8", "surrogateescape")) for n in range(len(text) + 1)]
    return [next(n for n, size in enumerate(upto) if size >= end) for end in byte_ends]


@given(texts)
@example("")
@example("\udc80the\udcff\udcfe at 名")
@example("the <unk> <s> at <|endoftext|>")
def test_a_byte_level_tokenizer_tiles_any_text(text: str) -> None:
    encoding = TiledEncoder(TOKENIZERS["byte-level"]).encode(text)
    pieces = [
        name_bytes(TOKENIZERS["byte-level"].id_to_token(i), "byte-level")
        for i in encoding.ids.tolist()
    ]
    assert b"".join(pieces) == text.encode("utf-8", "surrogateescape")
    assert encoding.ends.tolist() == naive_ends(
        text, np.cumsum([0, *map(len, pieces)])[1:].tolist()
    )
    assert encoding.ends.tolist() == sorted(encoding.ends.tolist())
    assert not encoding.lossy


@given(texts)
@example("the at")
@example("  the at")
@example("\udc80the at")
@example("the 名\udc80 at\udc81a")
def test_an_added_space_is_not_part_of_the_text(text: str) -> None:
    encoding = TiledEncoder(TOKENIZERS["sentencepiece"]).encode(text)
    names = [TOKENIZERS["sentencepiece"].id_to_token(i) for i in encoding.ids.tolist()]
    joined = b"".join(name_bytes(name, "sentencepiece") for name in names)
    stretches = sum(
        1 for i, c in enumerate(text) if not is_stray(c) and (i == 0 or is_stray(text[i - 1]))
    )
    assert len(joined) == len(text.encode("utf-8", "surrogateescape")) + stretches
    ends = encoding.ends.tolist()
    assert ends == sorted(ends)
    assert ends[-1:] == [len(text)] * bool(text)
    assert not encoding.lossy


def test_a_lossy_tokenizer_gives_no_perplexity_per_byte_alone(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    text = catalog.find("tasks", "enwik8").read_text(encoding="utf-8")
    alone = re.sub(r"^metrics: .*$", "metrics: [byte_ppl]", text, flags=re.MULTILINE)
    alone = alone.partition("published:\n")[0]
    (tmp_path / "tasks" / "mine.yaml").write_text(alone, encoding="utf-8")
    data = {"mine": demo.data()["enwik8"]}
    with pytest.raises(UsageError, match="mine: the model's tokens do not tile"):
        pipeline.evaluate(OneIn500("wordpiece"), "mine", data=data, include=[tmp_path])


@pytest.mark.parametrize("kind", ["byte-level", "prefix-space", "sentencepiece"])
def test_a_text_in_segments_has_the_same_tokens(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(TEXT)[:60_000] + "\udc80" + TEXT[1]
    unsegmented = TiledEncoder(TOKENIZERS[kind]).encode(text)
    monkeypatch.setattr(tiling, "SEGMENT", 700)
    encoder = TiledEncoder(TOKENIZERS[kind])
    segments = list(encoder._segments(TEXT[1]))
    if kind == "sentencepiece":
        assert len(segments) == 1, "it would add a space before each segment"
    else:
        assert len(segments) > 3
    segmented = encoder.encode(text)
    assert (segmented.ids.tolist(), segmented.ends.tolist(), segmented.lossy) == (
        unsegmented.ids.tolist(),
        unsegmented.ends.tolist(),
        unsegmented.lossy,
    )


def is_stray(character: str) -> bool:
    return "\udc80" <= character <= "\udcff"


def test_token_ends_in_known_texts() -> None:
    def ends(kind: str, text: str) -> list[tuple[str, int]]:
        encoding = TiledEncoder(TOKENIZERS[kind]).encode(text)
        names = [TOKENIZERS[kind].id_to_token(i) for i in encoding.ids.tolist()]
        return [*zip(names, encoding.ends.tolist(), strict=True)]

    assert ends("sentencepiece", "a th") == [("▁a", 1), ("▁", 2), ("th", 4)]
    assert ends("sentencepiece", "th") == [("▁", 0), ("th", 2)]
    assert ends("sentencepiece", "é") == [("▁", 0), ("<0xC3>", 1), ("<0xA9>", 1)]
    assert ends("sentencepiece", "\udca9a") == [("<0xA9>", 1), ("▁a", 2)]
    assert ends("byte-level", "\udca9名") == [("©", 1), ("å", 2), ("Ĳ", 2), ("į", 2)]
    assert ends("prefix-space", "and") == [("Ġand", 3)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("special", SPECIAL)
def test_a_special_token_in_the_text_is_read_as_text(kind: str, special: str) -> None:
    encoding = TiledEncoder(TOKENIZERS[kind]).encode(f"the {special} at")
    words = [TOKENIZERS[kind].id_to_token(i) for i in encoding.ids.tolist()]
    assert kind == "wordpiece" or special not in words
    assert "<s>" not in words, "no token is added before the text"
    assert len(words) > 3


@given(
    st.text(
        st.one_of(st.characters(exclude_categories=["Cs"], exclude_characters="▁"), stray),
        max_size=40,
    )
)
def test_byte_positions_map_to_the_ends_of_their_characters(text: str) -> None:
    size = len(text.encode("utf-8", "surrogateescape"))
    assert char_ends(text, np.arange(size + 1)).tolist() == naive_ends(text, range(size + 1))


# -- tokens that do not tile ---------------------------------------------------------------------


class OneIn500(ByteModel):
    """A model that gives every token of a real tokenizer the probability 1/500."""

    def __init__(self, kind: str) -> None:
        super().__init__("one-in-500", np.full(500, 1 / 500))
        self._tokens = TiledEncoder(TOKENIZERS[kind])

    def encode(self, text: str) -> Encoding:
        return self._tokens.encode(text)

    def score(self, batch: Sequence[Request]) -> TokenScores:
        count = sum(len(branch) for request in batch for branch in request.branches)
        return TokenScores(np.full(count, -np.log(500)), np.zeros(count, np.bool_))


@pytest.mark.parametrize("kind", ["wordpiece", "lower-case"])
def test_a_lossy_tokenizer_is_marked_and_gives_no_bits_per_byte(kind: str) -> None:
    model, data = OneIn500(kind), dict(demo.data())
    with pytest.raises(UsageError, match=r"enwik8: the model's tokens do not tile.*--allow-lossy"):
        pipeline.evaluate(model, "enwik8", data=data, settings=Settings(limit=20))
    (allowed,) = pipeline.evaluate(
        model, "enwik8", data=data, settings=Settings(limit=20, allow_lossy=True)
    )
    (words,) = pipeline.evaluate(model, "wikitext2", data=data, settings=Settings(limit=20))
    for result in (allowed, words):
        assert all("|tokens:lossy-tokenizer|" in m.signature for m in result.metrics.values())
        assert result.tally.nats == pytest.approx(result.tally.tokens * np.log(500))
        assert result.tally.tokens > 100


@pytest.mark.parametrize("kind", ["byte-level", "prefix-space", "sentencepiece"])
def test_a_tokenizer_that_tiles_is_not_marked_as_lossy(kind: str) -> None:
    (result,) = pipeline.evaluate(
        OneIn500(kind), "enwik8", data=dict(demo.data()), settings=Settings(limit=20)
    )
    assert "lossy" not in result.signature


def test_a_lower_casing_tokenizer_is_lossless_on_lower_case_text() -> None:
    encoder = TiledEncoder(TOKENIZERS["lower-case"])
    assert not encoder.encode("the cat").lossy
    assert encoder.encode("The cat").lossy


@given(texts)
def test_ends_of_a_lossy_tokenizer_do_not_decrease(text: str) -> None:
    encoding = TiledEncoder(TOKENIZERS["wordpiece"]).encode(text)
    assert encoding.ends.tolist() == sorted(encoding.ends.tolist())
    assert len(encoding.ids) == len(encoding.ends)
    assert max(encoding.ends.tolist(), default=0) <= len(text)


# -- real tokenizers -----------------------------------------------------------------------------


def development_texts(folder: Path) -> Mapping[str, str]:
    """Return the first 200,000 bytes of each development file; they may end inside a character."""
    names = [
        "wikitext-2/wiki.valid.tokens",
        "ptb/ptb.valid.txt",
        "enwik8/enwik8.first2M",
        "text8/text8.first2M",
    ]
    names += [
        "lm1b/news.en.heldout-00010-and-00011.txt",
        "cbt/cbt_valid.txt",
        "lambada/lambada_test.first1000.jsonl",
    ]
    return {
        name: (folder / name).read_bytes()[:200_000].decode("utf-8", "surrogateescape")
        for name in names
    }


def test_gpt2s_tokens_tile_the_development_files(real_models: Path, development_data: Path) -> None:
    backend = AutoTokenizer.from_pretrained(real_models / "gpt2-tokenizer").backend_tokenizer
    plain = Tokenizer.from_file(str(real_models / "gpt2-tokenizer" / "tokenizer.json"))
    plain.encode_special_tokens = True
    for name, text in development_texts(development_data).items():  # longer than a segment
        encoding = TiledEncoder(backend).encode(text)
        assert (encoding.lossy, encoding.ends[-1]) == (False, len(text)), name
        if not any(map(is_stray, text)):
            assert encoding.ids.tolist() == plain.encode(text).ids, name


def test_a_tokenizer_that_adds_a_start_token_gets_one(
    real_models: Path, development_data: Path
) -> None:
    folder = real_models / "babyllama"
    model: Any = load_model(str(folder), LoadOptions(device="cpu"))
    for name, text in development_texts(development_data).items():
        encoding = model.encode(text[-20_000:])
        assert not encoding.lossy, name
        assert model.start not in encoding.ids, name
    text = "Once upon a time there was a little girl."
    inputs = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt").input_ids
    assert inputs[0].tolist() == [model.start, *model.encode(text).ids.tolist()]
    with torch.inference_mode():
        loss = AutoModelForCausalLM.from_pretrained(folder)(
            input_ids=inputs, labels=inputs
        ).loss.item()
    (item,) = Rolled([Stretch(0, model.encode(text).ids)], plan.Window(256, 256, model.start))
    assert -model.score([item.request]).logprobs.astype(float).mean() == pytest.approx(
        loss, rel=1e-5
    )


@pytest.mark.parametrize(
    "decoder",
    [
        decoders.ByteLevel(),
        decoders.WordPiece(),
        decoders.Metaspace(),
        decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]),
        None,
    ],
)
def test_the_pieces_follow_from_the_decoder_in_the_whole_tokenizer(decoder: Any) -> None:
    tokenizer: Any = trained("sentencepiece")
    tokenizer.decoder = decoder
    whole = json.dumps(json.loads(tokenizer.to_str())["decoder"])
    has_bytes = any(name in whole for name in ("ByteLevel", "ByteFallback", "\\u2581"))
    assert (pieces.piece_bytes(tokenizer) is not None) == has_bytes
    if decoder is not None:
        assert json.loads(decoder.__getstate__()) == json.loads(whole)
