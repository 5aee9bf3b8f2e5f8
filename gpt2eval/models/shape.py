"""A shape without weights, `shape:gpt2-LAYERSxWIDTH-VOCABULARY`: plans and counts, scores nothing.

It answers what a run would cost on a model that is not at hand.
"""

import re
from collections.abc import Sequence

from gpt2eval.errors import UsageError
from gpt2eval.identity import Sizes
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization import loading
from gpt2eval.models.tokenization.loading import LoadedTokenizer
from gpt2eval.types import Encoding, ModelIdentity, Request, TokenScores

SHAPE = re.compile(r"gpt2-(?P<layers>\d{1,4})x(?P<width>\d{1,6})-(?P<vocabulary>\d{1,7})")
CONTEXT = 1024  # of every published GPT-2


class Shape:
    """A GPT-2 of some sizes, without weights."""

    context: int = CONTEXT

    def __init__(self, name: str, sizes: Sizes, tokenizer: LoadedTokenizer, device: str) -> None:
        self._name = name
        self._sizes = sizes
        self._tokenizer = tokenizer
        self._device = device
        self.start = tokenizer.start
        self.added = tokenizer.added
        self.end = tokenizer.end

    def encode(self, text: str) -> Encoding:
        """Encode a text; special tokens in it are read as text."""
        return self._tokenizer.tokens.encode(text)

    def encode_specials(self, text: str) -> Encoding:
        """Encode a text; special tokens in it are read as those tokens."""
        return self._tokenizer.tokens.encode(text, specials=True)

    def token_name(self, token: int) -> str:
        """Return how the vocabulary writes a token, or ""."""
        return self._tokenizer.tokens.name(token)

    def sizes(self) -> Sizes:
        """Return the sizes that the name states."""
        return self._sizes

    def score(self, batch: Sequence[Request]) -> TokenScores:
        """Raise UsageError: there are no weights."""
        raise UsageError(f"model {self._name}: a shape has no weights; expected --dry-run")

    def identity(self) -> ModelIdentity:
        return ModelIdentity(
            name=self._name,
            revision="none",
            tokenizer=self._tokenizer.fingerprint,
            dtype="none",
            attn="none",
            device=self._device,
            shape=self._name.removeprefix("shape:"),
        )


def load(rest: str, options: LoadOptions) -> Shape:
    """Return the shape that `gpt2-LAYERSxWIDTH-VOCABULARY` names.

    Raises:
        UsageError: It is another text, or no tokenizer is given.
    """
    name = f"shape:{rest}"
    match = SHAPE.fullmatch(rest)
    if not match or not all(map(int, match.groups())):
        raise UsageError(
            f"model {name}: expected gpt2-LAYERSxWIDTH-VOCABULARY, as in shape:gpt2-12x768-50257"
        )
    options.reject_unsupported(name, "revision", "attn", "device_map", "tp", "peft", "quantization")
    tokenizer = loading.requested_tokenizer(options.tokenizer)
    if tokenizer is None:
        raise UsageError(f"model {name}: a shape has no tokenizer; expected --tokenizer FOLDER")
    layers, width, vocabulary = (int(number) for number in match.groups())
    sizes = Sizes.of_gpt2(layers, width, vocabulary, CONTEXT)
    device = "cpu" if options.device == "auto" else options.device.partition(":")[0]
    return Shape(name, sizes, tokenizer, device)
