"""Models behind a server: a fake that fails in every way, and llama-cpp-python if installed."""

import json
import math
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
import torch
from tenacity import wait_none
from tokenizers import Tokenizer
from tokenizers.normalizers import Prepend
from transformers import AutoModelForCausalLM

from gpt2eval import demo, evaluate
from gpt2eval.config.catalog import DEMO
from gpt2eval.errors import UsageError
from gpt2eval.models import registry
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.server import client
from gpt2eval.pipeline import Settings
from gpt2eval.scoring import plan
from gpt2eval.types import Request

WORDS = Tokenizer.from_file(str(DEMO / "model" / "tokenizer.json"))
SIZE = WORDS.get_vocab_size() + 1  # a test adds a token
TEXT = "It was a bright cold day, café — and the clocks were striking thirteen."
Answer = dict[str, Any]


@cache
def distribution(last: int) -> np.ndarray:
    """Return the log-probabilities of the next token, which depend only on the last token."""
    logits = np.random.default_rng(last).normal(0, 2, SIZE)
    return logits - np.log(np.exp(logits).sum())


def top(last: int, count: int) -> dict[str, float]:
    """Return the most likely next tokens and their log-probabilities."""
    ids = distribution(last).argsort()[::-1][:count].tolist()
    return {
        WORDS.decode([id_], skip_special_tokens=False): float(distribution(last)[id_])
        for id_ in ids
    }


class FakeServer:
    """A server whose next token depends only on the last one.

    `spoil` may change an answer, replace it with a status, or drop the connection (None).
    """

    def __init__(self) -> None:
        self.takes_ids = True
        self.adds_start = False
        self.start = 0
        self.context = 0
        self.words = WORDS
        self.bodies: list[Any] = []
        self.spoil: Callable[[int, Answer], Answer | int | None] = lambda number, answer: answer
        self.key = ""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                card = {"id": "tiny"} | ({"max_model_len": outer.context} if outer.context else {})
                self.answer(200, {"data": [card]} if self.path == "/v1/models" else {})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path != "/v1/completions":
                    self.answer(404, {"error": "no such path"})
                elif outer.key and self.headers.get("Authorization") != f"Bearer {outer.key}":
                    self.answer(401, {"error": {"message": "wrong key"}})
                elif isinstance(body["prompt"], list) and not outer.takes_ids:
                    self.answer(422, {"detail": "prompt: Input should be a valid string"})
                else:
                    outer.bodies.append(body)
                    answer = outer.spoil(len(outer.bodies), outer.completion(body))
                    if answer is None:
                        self.close_connection = True
                        self.connection.shutdown(socket.SHUT_RDWR)
                    elif isinstance(answer, int):
                        self.answer(answer, {"error": {"message": "try later"}})
                    else:
                        self.answer(200, answer)

            def answer(self, status: int, content: Any) -> None:
                raw = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                if status == 429:
                    self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def name(self) -> str:
        return f"api:http://127.0.0.1:{self.http.server_address[1]}#tiny"

    def completion(self, body: Answer) -> Answer:
        """Answer as OpenAI's completions: echoed tokens, then the likeliest or forced one."""
        prompt = body["prompt"]
        ids = (
            prompt
            if isinstance(prompt, list)
            else self.words.encode(prompt, add_special_tokens=False).ids
        )
        if isinstance(prompt, str) and self.adds_start:
            ids = [self.start, *ids]
        forced = [int(token) for token in body.get("logit_bias", {})]
        generated = forced[0] if forced else int(distribution(ids[-1]).argmax())
        shown = [*ids, generated] if body.get("echo") else [generated]
        before = [None, *ids] if body.get("echo") else [ids[-1]]
        logprobs = [
            None if last is None else float(distribution(last)[id_])
            for last, id_ in zip(before, shown, strict=True)
        ]
        names = [self.words.decode([id_], skip_special_tokens=False) for id_ in shown]
        tops = [
            None if last is None else {name: logprob} | top(last, body["logprobs"])
            for last, name, logprob in zip(before, names, logprobs, strict=True)
        ]
        listed = {"tokens": names, "token_logprobs": logprobs, "top_logprobs": tops}
        return {
            "choices": [{"logprobs": listed}],
            "usage": {"prompt_tokens": len(ids), "completion_tokens": 1},
        }


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setattr(client, "BACKOFF", wait_none())
    fake = FakeServer()
    yield fake
    fake.http.shutdown()
    fake.http.server_close()


def load(server: FakeServer, **more: Any) -> Any:
    return registry.load_model(server.name, LoadOptions(tokenizer=str(DEMO / "model"), **more))


def expected(ids: list[int]) -> list[float]:
    return [float(distribution(last)[id_]) for last, id_ in pairwise(ids)]


@pytest.mark.parametrize(
    ("takes_ids", "adds_start"), [(True, False), (False, False), (False, True)]
)
def test_scores_are_those_of_the_server(
    server: FakeServer, takes_ids: bool, adds_start: bool
) -> None:
    server.takes_ids, server.adds_start = takes_ids, adds_start
    model = load(server)
    ids = WORDS.encode(TEXT, add_special_tokens=False).ids
    assert (model.start, model.added) == (0, 0 if adds_start else None)
    assert model.token_name(0) == "<|endoftext|>"
    assert model.identity().attn == ("server+bos" if adds_start else "server")
    row = np.array([0, *ids], np.int32)
    requests = [Request(row[:2], (row[2:],)), Request(row[:5], (row[5:9], row[7:8]))]
    scores = model.score(requests)
    logprobs = (
        expected([0, *ids])[1:]
        + expected([0, *ids])[4:8]
        + [float(distribution(int(row[4]))[row[7]])]
    )
    np.testing.assert_allclose(scores.logprobs, logprobs, atol=1e-6)
    tops = [float(distribution(int(last)).max()) for last in row[:-1]]
    assert scores.is_greedy.tolist()[: len(ids) - 1] == [
        v > top - 1e-3 for v, top in zip(logprobs, tops[1:], strict=False)
    ]
    assert isinstance(server.bodies[-1]["prompt"], list if takes_ids else str)


@pytest.mark.parametrize("adds_start", [False, True])
def test_a_blank_that_the_server_puts_before_a_text(
    server: FakeServer, adds_start: bool, tmp_path: Path
) -> None:
    """As SentencePiece does; the text is sent without the blank of its first token."""
    words = Tokenizer.from_str(WORDS.to_str())
    words.normalizer = Prepend(" ")
    words.save(str(tmp_path / "tokenizer.json"))
    server.words, server.takes_ids, server.adds_start = words, False, adds_start
    model = registry.load_model(
        server.name, LoadOptions(tokenizer=str(tmp_path / "tokenizer.json"))
    )
    ids = words.encode(TEXT, add_special_tokens=False).ids
    assert model.encode(TEXT).ids.tolist() == ids
    row = np.array([0, *ids], np.int32)
    scores = model.score([Request(row[:1], (row[1:],))])
    np.testing.assert_allclose(scores.logprobs, expected(row.tolist()), atol=1e-6)
    assert server.bodies[-1]["prompt"] == ("" if adds_start else "<|endoftext|>") + TEXT


def test_a_task_and_its_signature(server: FakeServer, tmp_path: Path) -> None:
    server.context = 66
    model = load(server)
    assert model.context == 64
    results = evaluate(
        model, ["text8", "cbt_cn"], data=demo.data(), out=tmp_path, settings=Settings(limit=3)
    )
    assert "attn:server" in results[0].signature
    assert "|ctx:64|" in results[0].signature
    text = demo.data()["text8"].read_text()
    assert results[0].tally.units.chars <= len(text)
    count = len(server.bodies)
    again = evaluate(
        model, ["text8", "cbt_cn"], data=demo.data(), out=tmp_path, settings=Settings(limit=3)
    )
    assert [result.nll_sha256 for result in again] == [result.nll_sha256 for result in results]
    assert len(server.bodies) == count


@pytest.mark.parametrize("trouble", [429, 500, 503, None])
def test_a_temporary_failure_is_retried(server: FakeServer, trouble: int | None) -> None:
    model = load(server)
    row = np.array([0, 5, 6, 7], np.int32)
    undisturbed = model.score([Request(row[:1], (row[1:],))]).logprobs
    first = len(server.bodies)
    server.spoil = lambda number, answer: answer if number > first + 3 else trouble
    assert model.score([Request(row[:1], (row[1:],))]).logprobs.tolist() == undisturbed.tolist()
    assert len(server.bodies) == first + 4


def test_a_permanent_failure_is_an_error_and_loses_no_results(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "CHUNK_TOKENS", 1024)
    data = demo.data()
    settings = Settings(context=256, batch_size=4)
    model = load(server)
    complete = evaluate(model, ["text8"], data=data, out=tmp_path / "a", settings=settings)[0]
    needed = len(server.bodies)
    server.spoil = lambda number, answer: answer if number < needed + needed // 2 else 500
    with pytest.raises(
        UsageError,
        match=r"completions: status 500: try later, 8 times; expected a server that answers",
    ):
        evaluate(model, ["text8"], data=data, out=tmp_path / "b", settings=settings)
    server.spoil = lambda number, answer: answer
    before = len(server.bodies)
    assert (
        evaluate(model, ["text8"], data=data, out=tmp_path / "b", settings=settings)[0].nll_sha256
        == complete.nll_sha256
    )
    assert len(server.bodies) - before < needed - 3


def edited(**changes: Any) -> Callable[[int, Answer], Answer]:
    def spoil(_: int, answer: Answer) -> Answer:
        listed = answer["choices"][0]["logprobs"]
        for key, change in changes.items():
            listed[key] = change(listed[key])
        return answer

    return spoil


def without(key: str) -> Callable[[int, Answer], Answer]:
    def spoil(_: int, answer: Answer) -> Answer:
        del answer["choices"][0]["logprobs"][key]
        return answer

    return spoil


def generated_only(_: int, answer: Answer) -> Answer:
    listed = answer["choices"][0]["logprobs"]
    answer["choices"][0]["logprobs"] = {key: values[-1:] for key, values in listed.items()}
    return answer


def no_logprobs(_: int, answer: Answer) -> Answer:
    answer["choices"][0]["logprobs"] = None
    return answer


def fewer(values: list[Any]) -> list[Any]:
    return [values[0], *values[2:]]


def one_off(values: list[Any]) -> list[Any]:
    return [values[0], *values[2:], -9.0]


CASES: dict[str, tuple[Callable[[int, Answer], Answer], str]] = {
    "count": (edited(tokens=fewer, token_logprobs=fewer, top_logprobs=fewer), "expected"),
    "lengths": (
        edited(tokens=lambda t: t[1:]),
        r"\d+ tokens, \d+ log-probabilities, \d+ tops; expected one each",
    ),
    "nan": (
        edited(token_logprobs=lambda t: [*t[:2], math.nan, *t[3:]]),
        "log-probability of token 2 .* is nan",
    ),
    "positive": (
        edited(token_logprobs=lambda t: [*t[:2], 0.5, *t[3:]]),
        "is 0.5; expected a number of 0 or less",
    ),
    "null": (
        edited(token_logprobs=lambda t: [*t[:2], None, *t[3:]]),
        "no log-probability of token 2",
    ),
    "text": (edited(token_logprobs=lambda t: [*t[:2], "-1", *t[3:]]), "is -1; expected a number"),
    "no tokens": (without("tokens"), "no 'tokens' in the answer; expected"),
    "no tops": (without("top_logprobs"), "no 'top_logprobs' in the answer"),
    "no echo": (generated_only, "a prompt of 3 tokens came back as 0; expected"),
    "no logprobs": (no_logprobs, "no usable logprobs in the answer; expected choices"),
    "no choices": (lambda _, answer: {"choices": []}, "in the answer; expected choices"),
    "one off": (edited(token_logprobs=one_off, top_logprobs=one_off), ""),
    "other tokens": (
        edited(tokens=lambda t: [t[0], *("zzz" for _ in t[1:])]),
        r"is 'zzz' on the server, .* in the tokenizer",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_impossible_answer_is_rejected_at_the_start(server: FakeServer, case: str) -> None:
    server.spoil, message = CASES[case]
    with pytest.raises(UsageError, match=f"http://127.0.0.1.*{message}") as caught:
        load(server)
    assert "\n" not in str(caught.value)


def test_misplaced_log_probabilities_are_detected(server: FakeServer) -> None:
    """As llama-cpp-python returns them for prompts without its start token: one token early."""

    def shifted(_: int, answer: Answer) -> Answer:
        listed = answer["choices"][0]["logprobs"]
        for key in ("token_logprobs", "top_logprobs"):
            listed[key] = [
                None,
                *listed[key][2:],
                {"the top": -1.0, "x": -9.0} if key == "top_logprobs" else -9.0,
            ]
        return answer

    server.spoil = shifted
    with pytest.raises(
        UsageError,
        match="is not its most likely token, so its log-probabilities belong to other tokens",
    ):
        load(server)


def test_a_cache_that_changes_scores_is_detected(server: FakeServer) -> None:
    def cached(number: int, answer: Answer) -> Answer:
        return edited(
            token_logprobs=lambda t: [None, *(v - 0.2 * (number > 3) for v in t[1:-1]), t[-1]]
        )(number, answer)

    server.spoil = cached
    with pytest.raises(
        UsageError,
        match=r"same tokens again differs by 0.200 nats; expected a server without prefix caching",
    ):
        load(server)


def test_addresses_keys_and_tokenizers(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("api:http://127.0.0.1:8000", "api:127.0.0.1:8000#x", "api:#x"):
        with pytest.raises(UsageError, match="expected api:URL#MODEL"):
            registry.load_model(name, LoadOptions())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        UsageError,
        match=r"no tokenizer of that name, and the server offers none .*; expected --tokenizer",
    ):
        registry.load_model(server.name, LoadOptions())
    server.key = "secret"
    with pytest.raises(UsageError, match="status 401: wrong key"):
        load(server)
    (tmp_path / "key").write_text("secret\n")
    assert "secret" not in str(load(server, api_key_file=str(tmp_path / "key")).identity())
    with pytest.raises(UsageError, match=r"--api-key-file .*none: No such file"):
        load(server, api_key_file=str(tmp_path / "none"))
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(
        UsageError, match=r"ConnectError: .*, 3 times; expected a server that answers$"
    ):
        load(server)


# -- a real server ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run llama-cpp-python's server on the demo model as GGUF, with a float32 cache."""
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python with its server")
    from test_formats import gguf

    model = AutoModelForCausalLM.from_pretrained(DEMO / "model", dtype=torch.float32)
    path = gguf(model, DEMO / "model", tmp_path_factory.mktemp("llama") / "demo.gguf")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "model": path,
        "port": port,
        "n_ctx": 512,
        "logits_all": True,
        "n_threads": 1,
        "type_k": 0,
        "type_v": 0,
    }
    command = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    process = subprocess.Popen(
        [sys.executable, "-m", "llama_cpp.server", *command], stderr=subprocess.DEVNULL
    )
    for _ in range(240):
        try:
            httpx.get(f"http://127.0.0.1:{port}/v1/models")
            break
        except httpx.TransportError:
            time.sleep(0.25)
    yield f"api:http://127.0.0.1:{port}#demo"
    process.kill()
    process.wait()


@pytest.mark.parametrize("words", [None, str(DEMO / "model")])
def test_llama_cpp(real: str, words: str | None) -> None:
    model = registry.load_model(real, LoadOptions(tokenizer=words))
    ours = registry.load_model("demo", LoadOptions(device="cpu"))
    assert model.context == 510
    remote = model.encode(TEXT)
    local = ours.encode(TEXT)
    assert (remote.ids.tolist(), remote.ends.tolist(), remote.lossy) == (
        local.ids.tolist(),
        local.ends.tolist(),
        False,
    )
    row = np.array([0, *local.ids], np.int32)
    requests = [Request(row[:1], (row[1:],)), Request(row[:9], (row[9:12], row[4:6]))]
    np.testing.assert_allclose(
        model.score(requests).logprobs, ours.score(requests).logprobs, atol=5e-3
    )  # its GELU is a float16 table
    measured, expected_result = (
        evaluate(m, ["lambada"], data=demo.data(), settings=Settings(limit=3))[0]
        for m in (model, ours)
    )
    assert measured.primary.value == pytest.approx(expected_result.primary.value, rel=5e-3)
    plain = model.encode("was a bright cold day in April, and the clocks").ids
    within = [Request(plain[:3], (plain[3:],))]  # whose echo is off by one on this server
    np.testing.assert_allclose(model.score(within).logprobs, ours.score(within).logprobs, atol=5e-3)
