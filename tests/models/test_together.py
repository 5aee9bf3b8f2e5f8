"""Many texts are encoded like each text alone, whatever they share."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from gpt2eval.models.tokenization import loading, together
from gpt2eval.models.tokenization.loaded import Encoder
from gpt2eval.models.tokenization.tiling import TiledEncoder
from gpt2eval.models.tokenization.together import encode_together

PLACES = ("gpt2-tokenizer", "babyllama")  # byte-level, and SentencePiece with a space in front
WORDS = st.sampled_from(
    [
        "the",
        "cat",
        "Alice",
        "naïve",
        "1,000",
        "don't",
        "-",
        "…",
        "日本",
        "\n",
        "é",
        "\xa0",
        "\udce9",
    ]
)
TEXTS = st.one_of(st.text(max_size=20), st.lists(WORDS, max_size=30).map(" ".join))


def byte_level(pieces: list[str]) -> Tokenizer:
    """Return a BPE over bytes with one merge for each piece of two tokens `left|right`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [(left, right) for left, right in (piece.split("|") for piece in pieces)]
    tokens = [*alphabet, *("".join(pair) for pair in merges)]
    backend = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)  # pyright: ignore[reportAttributeAccessIssue]
    backend.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    return backend


def assert_equal(encoder: Encoder, texts: list[str]) -> None:
    together_ = encode_together(encoder, texts)
    assert len(together_) == len(texts)
    for text, encoding in zip(texts, together_, strict=True):
        alone = encoder.encode(text)
        assert encoding.ids.tolist() == alone.ids.tolist()
        assert encoding.ends.tolist() == alone.ends.tolist()
        assert encoding.lossy == alone.lossy
        assert encoding.ids.dtype == alone.ids.dtype
        assert encoding.ends.dtype == alone.ends.dtype


@pytest.fixture(scope="session", params=PLACES)
def encoder(request: pytest.FixtureRequest, real_models: Path) -> Encoder:
    return loading.from_place(str(real_models / request.param)).tokens


@settings(max_examples=60)
@given(shared=TEXTS, endings=st.lists(TEXTS, min_size=1, max_size=5), others=st.lists(TEXTS))
def test_texts_with_a_common_beginning(
    encoder: Encoder, shared: str, endings: list[str], others: list[str]
) -> None:
    beginning = (shared + " so she sat by the old river ") * 8
    assert_equal(encoder, [*others, *(beginning + ending for ending in endings), *others, ""])


@pytest.mark.parametrize("pieces", [["e|Ġ"], ["e|Ġ", "eĠ|a"]])
def test_a_vocabulary_that_crosses_seams_is_never_cut(pieces: list[str]) -> None:
    encoder = TiledEncoder(byte_level(pieces))
    texts = ["the cat sat here a " * 30 + end for end in ("ab", "an end", "are")]
    assert not together._is_cuttable(encoder)
    assert_equal(encoder, texts)


def test_spaces_after_spaces_do_not_cross_a_seam() -> None:
    """GPT-2 has tokens of alternating spaces and no-break spaces."""
    encoder = TiledEncoder(byte_level(["Ġ|Â", "ĠÂ|ł", "ĠÂł|Ġ"]))
    assert together._is_cuttable(encoder)
    assert_equal(encoder, ["the cat \xa0 sat " * 30 + end for end in ("ab", " \xa0 end")])


class Counting:
    """A tokenizer of the library that counts the characters it is given."""

    def __init__(self, backend: Tokenizer) -> None:
        self._backend = backend
        self.characters = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def encode_batch_fast(self, texts: list[str], **options: Any) -> Any:
        self.characters += sum(map(len, texts))
        return self._backend.encode_batch_fast(texts, **options)


def test_what_texts_share_is_encoded_once(encoder: Encoder) -> None:
    assert isinstance(encoder, TiledEncoder)
    backend: Any = Counting(encoder.backend)
    counting = TiledEncoder(backend)
    context = "Alice was beginning to get very tired of sitting by her sister. " * 40
    texts = [context + ending for ending in ("One end.", "Another end.", "And a third one.") * 3]
    assert_equal(counting, texts)
    assert backend.characters < 1.5 * len(texts[0])
