"""Check a backend from outside the package: its members once, and every value that it returns.

A mistake in a backend becomes one line that names the object, the member and the expectation,
instead of a traceback from deep inside the package. Knows no tasks.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt2eval.errors import LoadError, UsageError, one_line, quoted
from gpt2eval.models.load_errors import is_panic
from gpt2eval.models.members import EXPECTED, check_method, member
from gpt2eval.types import Encoding, Model, ModelIdentity, Request, TokenScores, WordRequest

# The methods that every backend has, and the number of their arguments.
METHODS = {"encode": 1, "score": 1, "identity": 0}
MEMBERS = ("context", "start", *METHODS)
HIGHEST_ID = np.iinfo(np.int32).max
SLACK = 1e-3  # nats by which rounding may lift a log-probability above 0


class CheckedBackend:
    """A backend with the capabilities of the original; what it returns is checked."""

    def __init__(self, model: Any, subject: str) -> None:
        self._model = model
        self._subject = subject
        self.context = int(model.context)
        self.start = None if model.start is None else int(model.start)
        # Optional capabilities are recognized by their names, see `gpt2eval.types`.
        # `launch` is left out: what it returns could not be checked where it is started. So are
        # `encode_pieces`, `score_starts` and `score_terminated`, which only our backends have.
        left_out = ("launch", "encode_pieces", "score_starts", "score_terminated")
        for name in dir(model):
            if not name.startswith("_") and not hasattr(self, name) and name not in left_out:
                setattr(self, name, getattr(model, name))
        for name in ("encode_batch", "encode_specials", "token_name", "score_words"):
            if hasattr(model, name):
                setattr(self, name, getattr(self, f"_{name}"))  # checked

    def encode(self, text: str) -> Encoding:
        """Encode a text. Raises UsageError if the backend fails or returns no valid encoding."""
        return self._encoding("encode", text)

    def _encode_batch(self, texts: Sequence[str]) -> list[Encoding]:
        with self._enough_memory("encode_batch"):
            returned = self._call("encode_batch", texts)
        if not isinstance(returned, list) or len(returned) != len(texts):
            raise self._wrong("encode_batch", f"{returned!r:.40}", "a list, one entry per text")
        return [
            self._valid("encode_batch", value, text)
            for value, text in zip(returned, texts, strict=True)
        ]

    def _encode_specials(self, text: str) -> Encoding:
        return self._encoding("encode_specials", text)

    def _token_name(self, token: int) -> str:
        name = self._call("token_name", token)
        if not isinstance(name, str):
            expected = "the token's text, or an empty one"
            raise self._wrong("token_name", type(name).__name__, expected)
        return name

    def score(self, batch: Sequence[Request]) -> TokenScores:
        """Score a batch. Raises UsageError if the backend fails or returns no valid scores."""
        return self._scores("score", self._call("score", batch), batch)

    def _score_words(
        self, batches: Sequence[Sequence[WordRequest]], banned: frozenset[str]
    ) -> list[TokenScores]:
        returned = self._call("score_words", batches, banned)
        if not isinstance(returned, list) or len(returned) != len(batches):
            raise self._wrong("score_words", f"{returned!r:.40}", "a list, one entry per batch")
        return [self._decided(*pair) for pair in zip(batches, returned, strict=True)]

    def _decided(self, batch: Sequence[WordRequest], returned: Any) -> TokenScores:
        scores = self._scores("score_words", returned, [item.request for item in batch])
        best = self._array("score_words", "is_best_word", scores.is_best_word, len(batch), np.bool_)
        return scores._replace(is_best_word=best, is_undecided=np.zeros(len(batch), np.bool_))

    def _scores(self, method: str, returned: Any, batch: Sequence[Request]) -> TokenScores:
        fields = self._unpacked(method, returned, TokenScores, 2)
        scores = TokenScores(*fields)
        count = sum(len(branch) for request in batch for branch in request.branches)
        logprobs = self._array(method, "logprobs", scores.logprobs, count, np.floating)
        is_greedy = self._array(method, "is_greedy", scores.is_greedy, count, np.bool_)
        if logprobs.itemsize < 4:
            raise self._wrong(method, f"logprobs has dtype {logprobs.dtype}", "float32 or better")
        highest = logprobs.max(initial=0.0)
        if highest > SLACK:
            raise self._wrong(method, f"a log-probability of {highest:g}", "numbers of 0 or less")
        is_tied = scores.is_tied
        if np.size(is_tied):  # empty where it is not known
            is_tied = self._array(method, "is_tied", is_tied, count, np.bool_)
        return scores._replace(logprobs=logprobs, is_greedy=is_greedy, is_tied=is_tied)

    def identity(self) -> Any:
        """Return the backend's identity. Raises UsageError if it is none, or the backend fails."""
        identity = self._call("identity")
        if not isinstance(identity, ModelIdentity | Mapping):
            raise self._wrong(
                "identity", type(identity).__name__, "a ModelIdentity, or a mapping of its fields"
            )
        return asdict(identity) if isinstance(identity, ModelIdentity) else identity

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._model, method)(*arguments)
        except UsageError:
            raise
        except MemoryError:
            raise MemoryError from None  # without arguments, which only our own engines define
        except BaseException as error:
            if not isinstance(error, Exception) and not is_panic(error):
                raise
            raise LoadError(
                f"{self._subject}: its {method}() raised {type(error).__name__}: "
                f"{one_line(error, 200)}; --traceback shows where"
            ) from error

    def _encoding(self, method: str, text: str) -> Encoding:
        with self._enough_memory(method):
            returned = self._call(method, text)
        return self._valid(method, returned, text)

    @contextmanager
    def _enough_memory(self, method: str) -> Iterator[None]:
        try:
            yield
        except MemoryError:
            raise UsageError(
                f"{self._subject}: out of memory in its {method}(); expected a shorter text"
            ) from None

    def _valid(self, method: str, returned: Any, text: str) -> Encoding:
        fields = self._unpacked(method, returned, Encoding, 3)
        ids = self._array(method, "ids", fields[0], None, np.integer)
        ends = self._array(method, "ends", fields[1], len(ids), np.integer)
        if len(ids) and not (ids.min() >= 0 and ids.max() <= HIGHEST_ID):
            raise self._wrong(method, "ids are outside 0 to 2^31 - 1", "token ids")
        is_sorted = (ends[1:] >= ends[:-1]).all()
        if len(ends) and not (is_sorted and ends[0] >= 0 and ends[-1] <= len(text)):
            raise self._wrong(
                method, "ends are not positions in the text", "ascending character positions"
            )
        return Encoding(ids.astype(np.int32), ends.astype(np.int32), bool(fields[2]))

    def _unpacked(self, method: str, value: Any, kind: Any, count: int) -> tuple[Any, ...]:
        expected = f"{kind.__name__}({', '.join(kind._fields[:count])})"
        try:
            fields = tuple(value)
        except TypeError:
            raise self._wrong(method, quoted(type(value).__name__)[1:-1], expected) from None
        if not count <= len(fields) <= len(kind._fields):
            raise self._wrong(method, f"{len(fields)} values", expected)
        return fields

    def _array(
        self, method: str, name: str, value: Any, count: int | None, kind: Any
    ) -> NDArray[Any]:
        """Return a one-dimensional array of a kind of numbers, of `count` if that is given."""
        expected = f"one dimension of {kind.__name__.rstrip('_')} numbers"
        try:
            array = np.asarray(value)
        except (ValueError, TypeError, RuntimeError) as error:  # ragged, or a tensor with gradient
            raise self._wrong(method, f"{name}: {one_line(error, 80)}", expected) from None
        if array.ndim != 1:
            raise self._wrong(method, f"{name} has shape {list(array.shape)}", expected)
        if count is not None and len(array) != count:
            raise self._wrong(method, f"{len(array)} {name}", f"{count}, one per token")
        if len(array) and not np.issubdtype(array.dtype, kind):
            raise self._wrong(method, f"{name} has dtype {array.dtype}", expected)
        return array

    def _wrong(self, method: str, found: str, expected: str) -> UsageError:
        return UsageError(f"{self._subject}: its {method}() returned {found}; expected {expected}")


def check_backend(model: Any, name: str = "") -> Model:
    """Return a backend whose values are checked; one of this package is returned as it is.

    Args:
        model: What a factory returned, or the caller's object.
        name: The name of the factory; by default the object's type.

    Raises:
        UsageError: If a member of the protocol `gpt2eval.types.Model` is missing or wrong.
    """
    subject = f"model {name or type(model).__name__}"
    if type(model).__module__.startswith("gpt2eval."):
        return model
    if model is None:
        raise UsageError(f"{subject}: the factory returned None; {EXPECTED}")
    if inspect.isclass(model):
        raise UsageError(
            f"{subject}: the class {model.__name__} instead of an object; expected an instance"
        )
    kind = type(model).__name__
    values = {name: member(subject, model, name) for name in MEMBERS}
    for method, count in METHODS.items():
        check_method(subject, kind, method, values[method], count)
    context = values["context"]
    if not _is_integer(context) or context < 1:
        raise UsageError(
            f"{subject}: its context is {quoted(context)[1:-1]}; expected the longest input in "
            "tokens, 1 or more"
        )
    for name in ("start", "added", "end"):
        token = getattr(model, name, None)
        if token is not None and not (_is_integer(token) and 0 <= token <= HIGHEST_ID):
            raise UsageError(
                f"{subject}: its {name} is {quoted(token)[1:-1]}; expected a token id or None"
            )
    return CheckedBackend(model, subject)


def _is_integer(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
