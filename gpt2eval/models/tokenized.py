"""What a backend knows without its weights: tokenizer, identity and sizes. Imports no torch."""

from collections.abc import Iterator, Sequence

from gpt2eval.errors import UsageError
from gpt2eval.identity import Sizes, Spelling
from gpt2eval.models.tokenization.loaded import LoadedTokenizer
from gpt2eval.models.tokenization.tiling import TiledEncoder
from gpt2eval.models.tokenization.together import encode_together
from gpt2eval.types import Encoding, ModelIdentity


class TokenizedModel:
    """The part of a backend that encodes texts and states what the model is; a subclass scores.

    Args:
        tokenizer: The tokenizer that the model was trained with.
        identity: What signatures state of the model.
        context: The longest input in tokens.
        sizes: The sizes of the model; its vocabulary is the number of token ids that it has.
    """

    def __init__(
        self, tokenizer: LoadedTokenizer, identity: ModelIdentity, context: int, sizes: Sizes
    ) -> None:
        self.tokenizer = tokenizer
        self.start = tokenizer.start
        self.added = tokenizer.added
        self.end = tokenizer.end
        self.context = context
        self._sizes = sizes
        self._identity = identity

    def encode(self, text: str) -> Encoding:
        """Encode a text; special tokens in it are read as text.

        Raises UsageError for an id that the model does not have.
        """
        return self._checked(self.tokenizer.tokens.encode(text))

    def encode_batch(self, texts: Sequence[str]) -> list[Encoding]:
        """Encode texts as `encode` does, on all cores."""
        encodings = encode_together(self.tokenizer.tokens, texts)
        return [self._checked(encoding) for encoding in encodings]

    def encode_specials(self, text: str) -> Encoding:
        """Encode a text; `<unk>` and other special tokens in it are read as those tokens."""
        return self._checked(self.tokenizer.tokens.encode(text, specials=True))

    def encode_pieces(self, text: str, specials: bool = False) -> Iterator[Encoding]:
        """Encode a text piece by piece, as `encode` and `encode_specials` do."""
        tokens = self.tokenizer.tokens
        if isinstance(tokens, TiledEncoder):
            yield from map(self._checked, tokens.encode_pieces(text, specials=specials))
        else:
            yield self._checked(tokens.encode(text, specials=specials))

    def token_name(self, token: int) -> str:
        """Return how the tokenizer's vocabulary writes a token, such as `<bos>`, or ""."""
        return self.tokenizer.tokens.name(token)

    def spelling(self, token: int) -> Spelling | None:
        """Return what a token stands for; None if it does not exist, or its bytes are unknown."""
        return self.tokenizer.spelling(token)

    def identity(self) -> ModelIdentity:
        """Return what signatures state of the model."""
        return self._identity

    def sizes(self) -> Sizes:
        """Return the sizes of the model."""
        return self._sizes

    def _checked(self, encoding: Encoding) -> Encoding:
        highest = int(encoding.ids.max(initial=0))
        size = self._sizes.vocabulary
        if highest >= size:
            raise UsageError(
                f"model {self._identity.name}: its tokenizer gives token {highest}, but the "
                f"model's vocabulary has {size}; expected --tokenizer with the "
                "tokenizer that it was trained with"
            )
        return encoding
