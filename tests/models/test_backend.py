"""Backends from outside the package: every mistake is one line that names object and member."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run

from gpt2eval import demo, evaluate
from gpt2eval.errors import LoadError, UsageError
from gpt2eval.identity import EncodesMany, Launches
from gpt2eval.models import identified, registry
from gpt2eval.models.backend import CheckedBackend, check_backend
from gpt2eval.models.toy import ByteModel
from gpt2eval.settings import Settings
from gpt2eval.types import (
    AddsToken,
    EncodesSpecials,
    Encoding,
    FindsBestWords,
    ModelIdentity,
    Request,
    TokenScores,
    WordRequest,
)

UNIFORM = np.full(256, 1 / 256)


class Mine(ByteModel):
    """A complete backend outside the package."""

    def __init__(self) -> None:
        super().__init__("mine", UNIFORM)


def measured(model: Any) -> float:
    result = evaluate(model, ["text8"], data=demo.data(), settings=Settings(limit=1))["text8"]
    return result.primary.value


def failing(model: Any, match: str) -> UsageError:
    with pytest.raises(UsageError, match=match) as caught:
        measured(model)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_complete_backend_gives_the_numbers_of_the_original() -> None:
    assert measured(Mine()) == measured("toy:uniform-bytes") == pytest.approx(8)


@pytest.mark.parametrize("member", ["context", "start", "encode", "score", "identity"])
def test_a_missing_member_is_named(member: str) -> None:
    members = {name: getattr(Mine(), name) for name in ("context", "start")}
    methods = {name: getattr(Mine, name) for name in ("encode", "score", "identity")}
    given = {key: value for key, value in (members | methods).items() if key != member}
    kind = type("Partial", (), given)
    failing(kind(), f"^model Partial: Partial has no {member}; expected context, start, encode")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def F(): return None", "the factory returned None; expected context"),
        ("class G: pass\ndef F(): return G", "the class G instead of an object"),
        ("def F(): return 3", "int has no context"),
        ("F = 3", "not a callable object; expected a factory that takes no arguments"),
        ("def F(a): pass", "missing .*; expected a factory that takes no arguments"),
        ("def F(): raise ValueError('inside\\nit')", "unexpected ValueError while .*: inside it;"),
        ("def F(): raise BaseException('odd')", "unexpected BaseException while loading"),
        ("def F(): raise SystemExit(3)", "unexpected SystemExit while loading .*: 3;"),
        ("G = 1", "has no attribute 'F'; expected 'module:Factory'"),
        ("raise RuntimeError('at import')", "importing .* raised RuntimeError: at import"),
        ("import sys; sys.exit(3)", "importing .* raised SystemExit: 3"),
        ("def F(:", "importing .* raised SyntaxError"),
        ("import no_such_module_here", "No module named 'no_such_module_here'"),
    ],
)
def test_a_factory_that_gives_no_backend(
    code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpt2eval: Run
) -> None:
    name = f"factory_{abs(hash(code))}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=message) as caught:
        registry.load_model(f"{name}:F")
    assert f"model {name}:F" in str(caught.value)
    done = gpt2eval("run", "--model", f"{name}:F", "--tasks", "text8", "--data", "demo")
    assert done.code == 2
    assert len(done.err.splitlines()) == 1


class Broken(Mine):
    """A backend with one member replaced."""

    def __init__(self, **members: Any) -> None:
        super().__init__()
        for name, value in members.items():
            setattr(self, name, value)


@pytest.mark.parametrize("context", [0, -1, None, "512", 1.5, True])
def test_a_context_that_is_no_length(context: Any) -> None:
    failing(Broken(context=context), "^model Broken: its context is .*; expected the longest input")


@pytest.mark.parametrize("start", [-1, "a", 2**31, 0.5])
def test_a_start_that_is_no_token(start: Any) -> None:
    failing(Broken(start=start), "^model Broken: its start is .*; expected a token id or None")


@pytest.mark.parametrize("method", ["encode", "score", "identity"])
def test_methods_of_another_signature(method: str) -> None:
    failing(Broken(**{method: 3}), f"Broken.{method} is not a method")
    failing(Broken(**{method: lambda a, b, c: None}), rf"Broken.{method}\(\): missing .*expected")


def raises(error: BaseException) -> Callable[..., Any]:
    def method(*_: Any) -> Any:
        raise error

    return method


@pytest.mark.parametrize("method", ["encode", "score"])
def test_methods_that_raise(method: str) -> None:
    def one(argument: Any) -> Any:
        raise KeyError("a\nb")

    error = failing(Broken(**{method: one}), rf"its {method}\(\) raised KeyError: 'a.*--traceback")
    assert isinstance(error, LoadError)
    assert isinstance(error.__cause__, KeyError)


def test_requests_to_stop_pass_through() -> None:
    for error in (KeyboardInterrupt(), SystemExit(3)):
        backend = check_backend(Broken(encode=lambda text, error=error: raises(error)()))
        with pytest.raises(type(error)):
            backend.encode("x")


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "NoneType; expected Encoding"),
        ((ints(1), ints(1)), "2 values; expected Encoding"),
        ((ints(1, 2), ints(1), False), "1 ends; expected 2, one per token"),
        ((np.ones((1, 1), int), ints(1), False), r"ids has shape \[1, 1\]"),
        ((np.array([1.5]), ints(1), False), "ids has dtype float64; expected one dimension of int"),
        ((ints(-1), ints(1), False), "ids are outside 0 to"),
        ((np.array([2**40]), ints(1), False), "ids are outside 0 to"),
        ((ints(1, 2), ints(2, 1), False), "ends are not positions in the text"),
        ((ints(1), ints(99), False), "ends are not positions in the text"),
        ((ints(1), ints(-1), False), "ends are not positions in the text"),
        (([object()], [1], False), "ids has dtype object"),
    ],
)
def test_encodings_of_other_shapes(returned: Any, message: str) -> None:
    backend: Any = check_backend(Broken(encode=lambda text: returned))
    with pytest.raises(UsageError, match=rf"^model Broken: its encode\(\) returned .*{message}"):
        backend.encode("text")


def test_lists_are_accepted_as_arrays() -> None:
    backend: Any = check_backend(Broken(encode=lambda text: ([1, 2], [1, 2], 0)))
    encoding = backend.encode("ab")
    assert (encoding.ids.dtype, encoding.ids.tolist(), encoding.lossy) == (np.int32, [1, 2], False)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "NoneType; expected TokenScores"),
        ((np.zeros(2), np.zeros(3, bool)), "2 logprobs; expected 3, one per token"),
        ((np.zeros(3), np.zeros(2, bool)), "2 is_greedy; expected 3"),
        ((np.zeros((3, 1)), np.zeros(3, bool)), r"logprobs has shape \[3, 1\]"),
        ((np.zeros(3, np.float16), np.zeros(3, bool)), "dtype float16; expected float32 or better"),
        ((np.zeros(3, int), np.zeros(3, bool)), "logprobs has dtype int64"),
        ((np.zeros(3), np.zeros(3)), "is_greedy has dtype float64"),
        ((np.ones(3), np.zeros(3, bool)), "a log-probability of 1; expected numbers of 0 or less"),
        (3, "int; expected TokenScores"),
    ],
)
def test_scores_of_other_shapes(returned: Any, message: str) -> None:
    backend: Any = check_backend(Broken(score=lambda batch: returned))
    with pytest.raises(UsageError, match=rf"^model Broken: its score\(\) returned .*{message}"):
        backend.score([Request(ints(1), (ints(2, 3), ints(4)))])


def test_scores_may_be_a_pair() -> None:
    backend: Any = check_backend(Broken(score=lambda batch: (np.zeros(1), np.ones(1, bool))))
    scores = backend.score([Request(ints(1), (ints(2),))])
    assert isinstance(scores, TokenScores)


@pytest.mark.parametrize("identity", [None, 3, "name", []])
def test_an_identity_of_another_type(identity: Any) -> None:
    failing(
        Broken(identity=lambda: identity), "its identity.. returned .*; expected a ModelIdentity"
    )


def test_running_out_of_memory_has_its_remedy() -> None:
    error = failing(
        Broken(score=lambda batch: raises(MemoryError("x"))()), "do not fit into memory"
    )
    assert "--context" in str(error)


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (None, "its score_words.. returned None; expected a list, one entry per batch"),
        ([], "its score_words.. returned .*; expected a list, one entry per batch"),
        ([1], "its score_words.. returned int; expected TokenScores"),
        (
            [TokenScores(np.zeros(2), np.zeros(2, bool))],
            "its score_words.. returned 2 logprobs; expected 1, one per token",
        ),
        (
            [TokenScores(np.zeros(1), np.zeros(1, bool))],
            "its score_words.. returned 0 is_best_word; expected 1, one per token",
        ),
    ],
)
def test_the_decisions_of_a_search_are_checked(returned: Any, expected: str) -> None:
    model: Any = check_backend(Broken(score_words=lambda *_: returned))
    ids = np.array([1], np.int32)
    with pytest.raises(UsageError, match=expected):
        model.score_words([[WordRequest(Request(ids, (ids,)), "x")]], frozenset())


def test_capabilities_are_those_of_the_original() -> None:
    plain: Any = check_backend(Mine())
    assert isinstance(plain, CheckedBackend)
    assert not isinstance(plain, AddsToken | EncodesSpecials | FindsBestWords)
    capable: Any = check_backend(
        Broken(added=3, encode_specials=Mine().encode, score_words=lambda *_: [])
    )
    assert isinstance(capable, AddsToken)
    assert isinstance(capable, EncodesSpecials)
    assert isinstance(capable, FindsBestWords)
    assert capable.encode_specials("ab").ids.tolist() == [97, 98]


def test_backends_of_the_package_are_not_wrapped() -> None:
    model = registry.load_model("toy:uniform-bytes")
    assert type(model) is ByteModel
    assert check_backend(model) is model


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("added", "x", "its added is x; expected a token id or None"),
        ("added", 10**12, "its added is 1000000000000; expected a token id or None"),
    ],
)
def test_an_optional_member_is_checked(member: str, value: Any, message: str) -> None:
    model = type("Other", (Mine,), {member: value})()
    with pytest.raises(UsageError, match=message):
        check_backend(model)


def test_the_name_of_a_token_is_text() -> None:
    model = type("Other", (Mine,), {"token_name": lambda *_: 3})()
    checked: Any = check_backend(model)
    with pytest.raises(UsageError, match=r"its token_name\(\) returned int"):
        checked.token_name(65)


def test_an_identity_is_named_by_its_factory_and_holds_text() -> None:
    nothing = type("Other", (Mine,), {"identity": lambda _: None})()
    with pytest.raises(UsageError, match=r"model m:F: its identity\(\) returned NoneType"):
        registry.checked(nothing, "m:F")
    name: Any = 3
    number = ModelIdentity(name, revision="", tokenizer="", dtype="", attn="", device="")
    numbered = type("Other", (Mine,), {"identity": lambda _: number})()
    assert identified.identity_of(registry.checked(numbered)).name == "3"


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (([[1.0, 2.0], [3.0]], [True]), "one dimension of floating numbers"),
        (TokenScores(np.zeros(1, np.float32), np.ones(1, bool), is_tied=np.ones(3, bool)), "3 is_"),
        (
            TokenScores(np.zeros(1, np.float32), np.ones(1, bool))._replace(is_tied=None),
            "is_tied has shape",
        ),
    ],
)
def test_scores_of_another_shape_are_refused(scores: Any, message: str) -> None:
    model = check_backend(type("Other", (Mine,), {"score": lambda *_: scores})())
    one = np.array([1], np.int32)
    with pytest.raises(UsageError, match=message):
        model.score([Request(one, (one,))])


class Many(Mine):
    """A backend that encodes all texts in one call."""

    calls = 0

    def encode(self, text: str) -> Encoding:
        raise AssertionError("the texts are encoded together")

    def encode_batch(self, texts: Sequence[str]) -> Any:
        self.calls += 1
        return [ByteModel.encode(self, text) for text in texts]


def test_texts_are_encoded_together() -> None:
    model = Many()
    assert measured(model) == measured(Mine())
    assert model.calls == 1


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([], r"its encode_batch\(\) returned \[\]; expected a list, one entry per text"),
        (None, r"its encode_batch\(\) returned None; expected a list, one entry per text"),
        ([3], r"its encode_batch\(\) returned int; expected Encoding\(ids, ends, lossy\)"),
    ],
)
def test_wrong_encodings_of_many_texts_are_named(returned: Any, message: str) -> None:
    class Wrong(Many):
        def encode_batch(self, texts: Sequence[str]) -> Any:
            return returned

    failing(Wrong(), message)


def test_too_little_memory_for_many_texts_is_one_line() -> None:
    class Small(Many):
        def encode_batch(self, texts: Sequence[str]) -> Any:
            raise MemoryError

    failing(Small(), r"out of memory in its encode_batch\(\); expected a shorter text")


class Starting(Many):
    def launch(self, batch: Sequence[Request]) -> Callable[[], TokenScores]:
        return lambda: self.score(batch)


def test_capabilities_outlive_another_name_and_unchecked_scores_do_not_pass() -> None:
    renamed = identified.renamed(Starting(), "other")
    assert isinstance(renamed, EncodesMany)
    assert isinstance(renamed, Launches)
    checked = check_backend(Starting())
    assert isinstance(checked, EncodesMany)
    assert not isinstance(checked, Launches)
