"""Load the tokenizer of a checkpoint: from its folder, another path, or the Hub.

Finds and loads tokenizers; `tiling.py` encodes with them. Knows no models.
"""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import AutoTokenizer

from gpt2eval.errors import UsageError
from gpt2eval.http import hub_access
from gpt2eval.models.formats.quiet import panics_unprinted, quiet
from gpt2eval.models.load_errors import expected_errors
from gpt2eval.models.tokenization.added import added_token
from gpt2eval.models.tokenization.characters import Characters
from gpt2eval.models.tokenization.claims import check_file, check_place
from gpt2eval.models.tokenization.damage import check_merges, damage_located
from gpt2eval.models.tokenization.fingerprint import CHOICES, choose, fingerprint
from gpt2eval.models.tokenization.loaded import LoadedTokenizer
from gpt2eval.models.tokenization.places import vocabulary_and_merges
from gpt2eval.models.tokenization.tiling import TiledEncoder

END = "<|endoftext|>"
PLACES = "auto, file, a folder, a tokenizer.json, a GGUF file or a Hub id"


def from_characters(vocabulary: Mapping[str, int]) -> LoadedTokenizer:
    """Return a tokenizer with one token per character, and no start token."""
    content = repr(sorted(vocabulary.items())).encode("utf-8", "surrogateescape")
    digits = sha256(content).hexdigest()[:8]
    return LoadedTokenizer(Characters(vocabulary), None, None, None, (), digits)


def from_backend(backend: tokenizers.Tokenizer) -> LoadedTokenizer:
    """Return the tokenizer that a `tokenizer.json` alone defines.

    Texts start with the token that it adds, or else with the end-of-text token, if it exists.
    """
    # before anything is encoded: a file may ask for padding to any length
    backend.no_padding()
    backend.no_truncation()
    specials = [id_ for id_, token in backend.get_added_tokens_decoder().items() if token.special]
    added = added_token(backend)
    end = backend.token_to_id(END)
    return LoadedTokenizer(
        TiledEncoder(backend),
        end if added is None else added,
        added,
        end,
        specials,
        fingerprint(backend),
    )


def from_object(tokenizer: Any) -> LoadedTokenizer:
    """Return the tokenizer of a Python object, which is not modified.

    Accepts a fast tokenizer of transformers, a `tokenizers.Tokenizer`, or the path of a tokenizer
    (see `from_place`). Raises UsageError for anything else.
    """
    if isinstance(tokenizer, str | Path):
        return requested_tokenizer(str(tokenizer)) or from_place(str(tokenizer))
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not isinstance(backend, tokenizers.Tokenizer):
        raise UsageError(
            f"tokenizer {type(tokenizer).__name__}: expected a fast tokenizer of transformers, "
            "a tokenizers.Tokenizer, or a path or Hub id"
        )
    # A copy: encoding switches off truncation and padding.
    loaded = from_backend(tokenizers.Tokenizer.from_str(backend.to_str()))
    if backend is tokenizer:
        return loaded
    return loaded._replace(
        start=_start(tokenizer, loaded.added),
        end=tokenizer.eos_token_id,
        specials=sorted(tokenizer.all_special_ids),
    )


def from_vocabulary_and_merges(vocabulary: Path, merges: Path) -> LoadedTokenizer:
    """Return the tokenizer of GPT-2's two files: `{token: id}` as JSON, and the merges in order.

    Raises UsageError if they cannot be read as such.
    """
    check_file(vocabulary)
    with expected_errors(
        f"{vocabulary} and {merges.name}",
        Exception,  # the library raises nothing narrower
        expectation="GPT-2's vocabulary and its merges",
    ):
        backend = tokenizers.Tokenizer(BPE.from_file(str(vocabulary), str(merges)))
    check_merges(backend, vocabulary, merges)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    if backend.token_to_id(END) is not None:
        backend.add_special_tokens([END])
    return from_backend(backend)


@quiet()
def from_place(
    place: str,
    choice: str | None = None,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> LoadedTokenizer:
    """Return the tokenizer of a Hub id, a folder, a `tokenizer.json` or a GGUF file.

    Where transformers and the checkpoint's own file disagree, `choice` decides; see
    `fingerprint.choose`. Raises UsageError for a tokenizer that is not fast; errors of
    transformers pass through.
    """
    path = Path(place)
    if path.suffix == ".json" and path.is_file():
        check_file(path)
        with panics_unprinted():
            return from_backend(tokenizers.Tokenizer.from_file(place))
    if path.suffix != ".gguf":
        check_place(place, revision)
    with damage_located(path), panics_unprinted():
        return _from_transformers(place, choice, revision, trust_remote_code=trust_remote_code)


def _from_transformers(
    place: str, choice: str | None, revision: str | None, *, trust_remote_code: bool
) -> LoadedTokenizer:
    """Return the tokenizer that transformers builds for a Hub id, a folder or a GGUF file."""
    path = Path(place)
    gguf = {"gguf_file": path.name} if path.suffix == ".gguf" else {}
    tokenizer: Any = AutoTokenizer.from_pretrained(
        str(path.parent) if gguf else place,
        revision=revision,
        trust_remote_code=trust_remote_code,
        **gguf,
    )
    if not getattr(tokenizer, "is_fast", False):
        raise UsageError(
            f"model {place}: its tokenizer has no fast version; expected a tokenizer.json"
        )
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    if gguf:
        digits = fingerprint(backend)
    else:
        backend, digits = choose(place, backend, choice, revision)
    added = added_token(backend)
    return LoadedTokenizer(
        TiledEncoder(backend),
        _start(tokenizer, added),
        added,
        tokenizer.eos_token_id,
        sorted(tokenizer.all_special_ids),
        digits,
    )


def requested_tokenizer(choice: str | None) -> LoadedTokenizer | None:
    """Return the tokenizer of the place that `--tokenizer` names; None if it names no place.

    Raises UsageError if no tokenizer exists there.
    """
    if choice is None or choice in CHOICES:
        return None
    with (
        expected_errors(
            f"--tokenizer {choice}",
            Exception,  # the libraries raise all kinds for a damaged file
            expectation=PLACES,
        ),
        hub_access(f"--tokenizer {choice}", choice),
    ):
        files = vocabulary_and_merges(Path(choice))
        if files and not (Path(choice) / "tokenizer.json").is_file():
            return from_vocabulary_and_merges(*files)
        return from_place(choice)


def _start(tokenizer: Any, added: int | None) -> int | None:
    """Return the token that begins a text: the added one, or else BOS, or else EOS."""
    candidates = (added, tokenizer.bos_token_id, tokenizer.eos_token_id)
    return next((token for token in candidates if token is not None), None)
