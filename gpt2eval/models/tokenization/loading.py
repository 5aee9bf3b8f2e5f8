"""The tokenizer of a checkpoint, wherever it lies: beside the weights, in a place of its own, on the Hub.

It finds and loads; `tokens.py` encodes. It does not know models.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import tokenizers
from tokenizers import decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import AutoTokenizer

from gpt2eval.errors import UsageError
from gpt2eval.models.tokenization.fingerprint import CHOICES, chosen, fingerprint
from gpt2eval.models.tokenization.tiling import TiledEncoder
from gpt2eval.types import Encoding

END = "<|endoftext|>"
PAIRS = (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt"))
PLACES = "auto, file, a folder, a tokenizer.json, a GGUF file or a Hub id"


class Encoder(Protocol):
    """Text to tokens; `pieces` are their bytes, where those are known."""

    @property
    def pieces(self) -> Mapping[int, bytes] | None: ...

    def encode(self, text: str, *, specials: bool = False) -> Encoding: ...


class LoadedTokenizer(NamedTuple):
    """An encoder, the token that a text may be begun with, the one that is put before every text by itself, the special
    ones, and what it does in a few digits."""

    tokens: Encoder
    start: int | None
    added: int | None
    specials: Sequence[int]
    fingerprint: str


class Characters:
    """A token per character, as in a vocabulary `{character: id}`."""

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self._ids = vocabulary
        self.pieces = {
            id_: char.encode("utf-8", "surrogateescape") for char, id_ in vocabulary.items()
        }

    def encode(self, text: str, *, specials: bool = False) -> Encoding:
        """The ids of a text's characters. Raises UsageError for one that the vocabulary has not."""
        if foreign := set(text) - self._ids.keys():
            first = next(at for at, char in enumerate(text) if char in foreign)
            raise UsageError(
                f"character {text[first]!r} (at {first} of {text[max(0, first - 20) : first + 20]!r}): the model's vocabulary "
                f"has {len(self._ids)} characters, and not this one; expected text of those alone"
            )
        return Encoding(
            np.array([self._ids[c] for c in text], np.int32),
            np.arange(1, len(text) + 1, dtype=np.int32),
            lossy=False,
        )


def of_characters(vocabulary: Mapping[str, int]) -> LoadedTokenizer:
    """A tokenizer by character; nothing begins its texts."""
    said = sha256(repr(sorted(vocabulary.items())).encode("utf-8", "surrogateescape")).hexdigest()[
        :8
    ]
    return LoadedTokenizer(Characters(vocabulary), None, None, (), said)


def of_backend(backend: tokenizers.Tokenizer) -> LoadedTokenizer:
    """A tokenizer that is only its `tokenizer.json`: texts begin with what it adds itself, or with the end-of-text token."""
    specials = [id_ for id_, token in backend.get_added_tokens_decoder().items() if token.special]
    added = _added(backend)
    return LoadedTokenizer(
        TiledEncoder(backend),
        backend.token_to_id(END) if added is None else added,
        added,
        specials,
        fingerprint(backend),
    )


def of_object(words: Any) -> LoadedTokenizer:
    """The tokenizer that a program holds: transformers' (a fast one), `tokenizers`', or the place of one. It is not changed.

    Raises UsageError for anything else.
    """
    if isinstance(words, str | Path):
        return asked_for(str(words)) or of_place(str(words))
    backend = getattr(words, "backend_tokenizer", words)
    if not isinstance(backend, tokenizers.Tokenizer):
        raise UsageError(
            f"tokenizer {type(words).__name__}: expected a fast one of transformers, one of tokenizers, or a place"
        )
    made = of_backend(tokenizers.Tokenizer.from_str(backend.to_str()))
    if backend is words:
        return made
    start = words.eos_token_id if words.bos_token_id is None else words.bos_token_id
    return made._replace(start=start, specials=sorted(words.all_special_ids))


def of_pair(vocabulary: Path, merges: Path) -> LoadedTokenizer:
    """GPT-2's two files: tokens to ids as JSON, and merges in their order."""
    try:
        backend = tokenizers.Tokenizer(BPE.from_file(str(vocabulary), str(merges)))
    except Exception as error:  # the library raises nothing narrower
        raise UsageError(
            f"{vocabulary}: {error}; expected GPT-2's vocabulary, with its merges in {merges.name}"
        ) from None
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    if backend.token_to_id(END) is not None:
        backend.add_special_tokens([END])
    return of_backend(backend)


def of_place(
    place: str,
    choice: str | None = None,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> LoadedTokenizer:
    """The tokenizer of a Hub id, a folder, a `tokenizer.json` or a GGUF file.

    `choice` decides where transformers and the checkpoint's own file do not agree (see `fingerprint.py`). Raises
    UsageError for one without a fast form; transformers' own errors pass through.
    """
    path = Path(place)
    if path.suffix == ".json" and path.is_file():
        return of_backend(tokenizers.Tokenizer.from_file(place))
    gguf = {"gguf_file": path.name} if path.suffix == ".gguf" else {}
    found: Any = AutoTokenizer.from_pretrained(
        str(path.parent) if gguf else place,
        revision=revision,
        trust_remote_code=trust_remote_code,
        **gguf,
    )
    if not getattr(found, "is_fast", False):
        raise UsageError(
            f"model {place}: its tokenizer has no fast form; expected a tokenizer.json"
        )
    backend = found.backend_tokenizer
    backend, said = (
        (backend, fingerprint(backend)) if gguf else chosen(place, backend, choice, revision)
    )
    start = found.eos_token_id if found.bos_token_id is None else found.bos_token_id
    return LoadedTokenizer(
        TiledEncoder(backend), start, _added(backend), sorted(found.all_special_ids), said
    )


def asked_for(choice: str | None) -> LoadedTokenizer | None:
    """The tokenizer of a place that `--tokenizer` names; None where it names none. Raises UsageError if there is none."""
    if choice is None or choice in CHOICES:
        return None
    try:
        pair = _pair(Path(choice))
        return (
            of_pair(*pair)
            if pair and not (Path(choice) / "tokenizer.json").is_file()
            else of_place(choice)
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise UsageError(
            f"--tokenizer {choice}: {' '.join(str(error).split()):.200}; expected {PLACES}"
        ) from None


def for_gpt2(weights: Path, choice: str | None) -> LoadedTokenizer:
    """The tokenizer of a file of GPT-2's shape that brings none: the one asked for, the one beside it, or `gpt2` of the Hub."""
    if found := asked_for(choice):
        return found
    if pair := _pair(weights.parent):
        return of_pair(*pair)
    own = weights.parent / "tokenizer.json"
    try:
        return of_place(str(own) if own.is_file() else "gpt2")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{weights}: no tokenizer beside it, and not the Hub's gpt2 ({' '.join(str(error).split()):.120}); "
            "expected --tokenizer FOLDER, or encoder.json and vocab.bpe beside it"
        ) from None


def _pair(folder: Path) -> tuple[Path, Path] | None:
    pairs = ((folder / vocabulary, folder / merges) for vocabulary, merges in PAIRS)
    return next((pair for pair in pairs if all(path.is_file() for path in pair)), None)


def _added(backend: Any) -> int | None:
    """The token that a tokenizer puts before every text by itself, if it does."""
    bare, full = (backend.encode("a", add_special_tokens=special).ids for special in (False, True))
    return full[0] if full[: len(bare)] != bare else None
