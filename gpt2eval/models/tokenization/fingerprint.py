"""A fingerprint of what a tokenizer does, and a check of it against the checkpoint's own file.

transformers may rebuild a tokenizer from vocabulary and merges and lose other settings of
`tokenizer.json`. So both encode a probe text, and if they disagree the user has to choose.
"""

from hashlib import sha256
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from transformers.utils.hub import cached_file

from gpt2eval.errors import UsageError, unknown
from gpt2eval.models.load_errors import expected_errors

# Contractions, numbers, runs of white space, several scripts, emoji: where pre-tokenizers differ.
PROBE = (
    "The quick brown fox's 12 oxen didn't  jump 3,456.78 times "
    "(or 1234567890?), they'll say — “never”.\n\n"
    "\tdef f(x):\n\t\treturn x ** 2  # café, naïve, Ærøskøbing\n = Heading = \n <unk> @-@ N $ 5 %\n"
    "Съешь ещё этих мягких булок; 我能吞下玻璃而不伤身体。 日本語のテキスト 🙂👍🏽 مرحبا שלום\n"
    "IT'S I'VE WE'RE she'd you'Re a_b-c/d\\e http://example.org/?q=1&r=2   \r\n end ."
)
CHOICES = ("auto", "file")


def fingerprint(backend: Any) -> str:
    """Return 8 hex digits that depend on what a tokenizer does, not on how it is stored.

    They are the first digits of the SHA-256 of the probe's ids and the sorted vocabulary.
    """
    vocabulary = sorted(backend.get_vocab(with_added_tokens=True).items())
    content = np.array(_ids(backend), "<i4").tobytes() + repr(vocabulary).encode()
    return sha256(content).hexdigest()[:8]


def choose(
    name: str, auto: Any, choice: str | None, revision: str | None = None
) -> tuple[Any, str]:
    """Return the tokenizer to use for a checkpoint, and its fingerprint.

    `auto` is the tokenizer that transformers built. It is used if it agrees with the checkpoint's
    `tokenizer.json` or there is no such file; otherwise `choice` (`auto` or `file`) decides, and
    the fingerprint ends with it. Raises UsageError, with an example of the difference, if they
    disagree and `choice` is None.
    """
    if choice not in (None, *CHOICES):
        raise unknown("tokenizer", str(choice), CHOICES)
    path = cached_file(
        name,
        "tokenizer.json",
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if path is None:
        return auto, fingerprint(auto)
    with expected_errors(path, Exception, expectation="a tokenizer.json"):
        own = Tokenizer.from_file(path)
    if _ids(auto) == _ids(own):
        return auto, fingerprint(auto)
    if choice is None:
        raise UsageError(
            f"model {name}: AutoTokenizer and the checkpoint's tokenizer.json disagree: "
            f"{_first_difference(auto, own)}; expected --tokenizer auto or --tokenizer file, "
            "whichever the model was trained with"
        )
    backend = auto if choice == "auto" else own
    return backend, f"{fingerprint(backend)}.{choice}"


def _ids(backend: Any) -> list[int]:
    backend.no_truncation()
    backend.no_padding()
    return backend.encode(PROBE, add_special_tokens=False).ids


def _first_difference(auto: Any, own: Any) -> str:
    """Return the first word of the probe that the two encode differently, with both encodings."""
    for word in PROBE.split(" "):
        auto_ids = auto.encode(f" {word}", add_special_tokens=False).ids
        own_ids = own.encode(f" {word}", add_special_tokens=False).ids
        if auto_ids != own_ids:
            return f"{word!r} is {auto_ids} and {own_ids}"
    return "they split the probe text differently"
