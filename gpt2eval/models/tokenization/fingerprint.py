"""Whether a checkpoint's tokenizer is the one that its own file says, and a short hash of what it does.

transformers may build a tokenizer anew from vocabulary and merges, and lose what else `tokenizer.json` says. So a probe
text goes through both, and where they do not agree somebody has to choose. It does not know models.
"""

from hashlib import sha256
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from transformers.utils.hub import cached_file

from gpt2eval.errors import UsageError, unknown

PROBE = (
    "The quick brown fox's 12 oxen didn't  jump 3,456.78 times (or 1234567890?), they'll say — “never”.\n\n"
    "\tdef f(x):\n\t\treturn x ** 2  # café, naïve, Ærøskøbing\n = Heading = \n <unk> @-@ N $ 5 %\n"
    "Съешь ещё этих мягких булок; 我能吞下玻璃而不伤身体。 日本語のテキスト 🙂👍🏽 مرحبا שלום\n"
    "IT'S I'VE WE'RE she'd you'Re a_b-c/d\\e http://example.org/?q=1&r=2   \r\n end ."
)
CHOICES = ("auto", "file")


def fingerprint(backend: Any) -> str:
    """What a tokenizer does, not how it is stored: 8 digits of the sha256 over the probe's ids and the sorted vocabulary."""
    vocabulary = sorted(backend.get_vocab(with_added_tokens=True).items())
    return sha256(np.array(_ids(backend), "<i4").tobytes() + repr(vocabulary).encode()).hexdigest()[
        :8
    ]


def chosen(
    name: str, auto: Any, choice: str | None, revision: str | None = None
) -> tuple[Any, str]:
    """The tokenizer of a checkpoint and its fingerprint: transformers' own, or the file's if so chosen.

    Where the two do not agree the fingerprint ends in the choice. Raises UsageError, showing the text that they cut
    differently, where nobody chose.
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
    own = Tokenizer.from_file(path)
    if _ids(auto) == _ids(own):
        return auto, fingerprint(auto)
    if choice is None:
        raise UsageError(
            f"model {name}: AutoTokenizer and the checkpoint's tokenizer.json do not agree: {_first_difference(auto, own)}; "
            "expected --tokenizer auto or --tokenizer file to say which one the model was trained with"
        )
    backend = auto if choice == "auto" else own
    return backend, f"{fingerprint(backend)}.{choice}"


def _ids(backend: Any) -> list[int]:
    backend.no_truncation()
    backend.no_padding()
    return backend.encode(PROBE, add_special_tokens=False).ids


def _first_difference(auto: Any, own: Any) -> str:
    """The first word of the probe that the two encode differently, with both encodings."""
    for word in PROBE.split(" "):
        a, b = (backend.encode(f" {word}", add_special_tokens=False) for backend in (auto, own))
        if a.ids != b.ids:
            return f"{word!r} is {a.ids} and {b.ids}"
    return "they cut the probe text differently"
