"""Start tokens: a model that needs one gets it everywhere, and a protocol without it says so."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import needs_start
import numpy as np
import pytest
from conftest import Run
from needs_start import CONTEXT, START, naive
from test_api import FakeServer, server  # noqa: F401  (a fixture)
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from gpt2eval import demo, evaluate
from gpt2eval.config.catalog import DEMO
from gpt2eval.config.loader import load_task
from gpt2eval.data.corpus import load_corpus
from gpt2eval.models import registry
from gpt2eval.models.engine.word_scores import ROOM
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization.loading import from_object
from gpt2eval.planning.task_plan import prepare
from gpt2eval.report.store import read_result
from gpt2eval.scoring.start_check import LIMIT, StartCheck
from gpt2eval.settings import Settings
from gpt2eval.text.detokenizer import RoundTrip
from gpt2eval.text.loader import load_detokenizer
from gpt2eval.training.callback import evaluate_module
from gpt2eval.training.watch import watch
from gpt2eval.types import Encoding, Model, ModelIdentity, Request, TokenScores

DATA = demo.data()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return needs_start.save(tmp_path_factory.mktemp("run") / "checkpoint-7")


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Model:
    return registry.load_model(str(folder))


@pytest.fixture(scope="module")
def network() -> Any:
    return needs_start.model()


def token(model: Model) -> int:
    assert model.start is not None
    return model.start


def text(path: Path, lines: int = 12) -> str:
    return "".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:lines])


def streamed(network: Any, ids: Sequence[int], start: int, stride: int) -> float:
    passes = needs_start.windows(list(ids), start, CONTEXT, stride)
    assert [t for _, targets in passes for t in targets] == list(ids)
    return sum(naive(network, inputs, targets) for inputs, targets in passes)


# -- every way in ----------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [64, 17, 1])
def test_every_window_of_a_stream_begins_with_the_token(
    loaded: Model, network: Any, tmp_path: Path, stride: int
) -> None:
    content = text(DATA["text8"])[:700]
    (tmp_path / "mine.txt").write_text(content)
    (result,) = evaluate(loaded, texts=tmp_path / "mine.txt", settings=Settings(stride=stride))
    ids = loaded.encode(content).ids.tolist()
    assert len(ids) > 3 * CONTEXT
    assert result.tally.tokens == len(ids)
    expected = streamed(network, ids, token(loaded), stride)
    assert result.tally.nats == pytest.approx(expected, rel=1e-6)
    assert f"|windows:regular+start|start:{START}|" in result.signature
    assert result.start_loss is None


def test_documents_longer_than_the_context(loaded: Model, network: Any, tmp_path: Path) -> None:
    documents = ["A short one.", text(DATA["text8"])[:400], "x"]
    lines = "".join(json.dumps({"text": document}) + "\n" for document in documents)
    (tmp_path / "mine.jsonl").write_text(lines)
    (result,) = evaluate(loaded, texts=f"{tmp_path / 'mine.jsonl'}:text")
    every = [loaded.encode(document).ids.tolist() for document in documents]
    expected = sum(streamed(network, ids, token(loaded), CONTEXT) for ids in every)
    assert result.tally.nats == pytest.approx(expected, rel=1e-6)


def test_questions_cut_on_the_left_keep_the_token(loaded: Model, network: Any) -> None:
    lambada, cbt = evaluate(loaded, ["lambada", "cbt_cn"], data=DATA, settings=Settings(limit=4))
    assert f"|windows:regular+start|start:{START}|" in lambada.signature
    assert f"|windows:regular+start|start:{START}|" in cbt.signature
    assert (lambada.start_loss, cbt.start_loss) == (None, None)
    passages = [json.loads(line)["text"] for line in text(DATA["lambada"], 4).splitlines()]
    total = 0.0
    for passage in passages:
        context, _, word = passage.strip().rpartition(" ")
        whole = loaded.encode(f"\n{context} {word}").ids.tolist()
        first = len(loaded.encode(f"\n{context}").ids)
        assert len(whole) > CONTEXT, "the passage is cut"
        inputs = [token(loaded), *whole[:-1][1 - CONTEXT :]]
        total += naive(network, inputs, whole[first:])
    assert lambada.tally.nats == pytest.approx(total, rel=1e-6)


def test_choices_cut_on_the_left_keep_the_token(loaded: Model, network: Any) -> None:
    task = load_task("cbt_cn")
    (result,) = evaluate(loaded, ["cbt_cn"], data=DATA, settings=Settings(limit=2))
    records = load_corpus(task, DATA["cbt_cn"]).records[:2]
    passages = prepare(task, records, load_detokenizer("cbt"), RoundTrip())
    total = 0.0
    for record in records:
        choices = [passage for passage in passages if passage.record == record.index]
        rows = [loaded.encode(passage.text).ids.tolist() for passage in choices]
        common = next(i for i, ids in enumerate(zip(*rows, strict=False)) if len({*ids}) > 1)
        longest = max(len(row) for row in rows) - common
        right = rows[next(i for i, passage in enumerate(choices) if passage.right)]
        before = [token(loaded), *right[:common]]
        if len(before) + longest - 1 > CONTEXT:
            before = [token(loaded), *before[longest - CONTEXT :]]
        total += naive(network, [*before, *right[common:-1]], right[common:])
        assert len(before) < common, "the question is cut"
    assert result.tally.nats == pytest.approx(total, rel=1e-6)


def test_the_search_for_the_best_word_keeps_the_token(
    loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed: list[int] = []
    lengths: list[int] = []
    of_engine = loaded._engine.score_and_keep

    def watched(batch: Sequence[Request]) -> Any:
        fed.extend(int(request.prefix[0]) for request in batch)
        lengths.extend(len(request.prefix) for request in batch)
        return of_engine(batch)

    monkeypatch.setattr(loaded._engine, "score_and_keep", watched)
    evaluate(loaded, ["lambada"], data=DATA, settings=Settings(limit=2))
    assert set(fed) == {loaded.start}
    assert max(lengths) == loaded.context - ROOM, "a prefix is cut, to leave room for a word"


def test_a_live_module_and_a_watched_folder(folder: Path, tmp_path: Path) -> None:
    tasks = ["wikitext2", "lambada"]
    settings = Settings(limit=6)
    saved = evaluate(str(folder), tasks, data=DATA, settings=settings)
    for tokenizer in (needs_start.tokenizer(), needs_start.tokenizer().backend_tokenizer):
        module = needs_start.model()
        live = evaluate_module(module, tokenizer, tasks, data=DATA, settings=settings)
        assert [r.tally.nats for r in live] == pytest.approx([r.tally.nats for r in saved])
        assert [r.protocol for r in live] == [r.protocol for r in saved]
    (scored,) = watch(
        folder.parent, tasks, data=DATA, out=tmp_path, settings=settings, every=0.01, once=True
    )
    assert [r.nll_sha256 for r in scored.results] == [r.nll_sha256 for r in saved]
    assert [r.protocol for r in scored.results] == [r.protocol for r in saved]


@pytest.mark.parametrize("adds", [False, True])
def test_a_server(server: FakeServer, tmp_path: Path, adds: bool) -> None:  # noqa: F811
    """A server that adds the token itself is sent none; every prompt begins with it anyway."""
    words = needs_start.tokenizer(adds=True)
    words.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    server.words = words.backend_tokenizer
    server.takes_ids = not adds
    server.start = words.bos_token_id
    server.adds_start = adds
    server.context = 40
    model = registry.load_model(
        server.name, LoadOptions(tokenizer=str(tmp_path / "tokenizer.json"))
    )
    assert (model.start, getattr(model, "added", None)) == (words.bos_token_id,) * 2
    (tmp_path / "mine.txt").write_text(text(DATA["text8"])[:300])
    before = len(server.bodies)
    (result,) = evaluate(model, texts=tmp_path / "mine.txt")
    assert f"|windows:regular+start|start:{START}|" in result.signature
    assert result.tally.unscored == 0
    prompts = [body["prompt"] for body in server.bodies[before:]]
    assert len(prompts) > 3
    if adds:
        assert not any(START in prompt for prompt in prompts)
    else:
        assert {prompt[0] for prompt in prompts} == {words.bos_token_id}


# -- what tokenizers add ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "start", "added"),
    [
        ("<s> $A", "<s>", True),
        ("<s> $A </s>", "<s>", True),
        ("$A </s>", "<|endoftext|>", False),
        ("a $A", "a", True),  # the same token as the text that the check encodes
        ("a $A a", "a", True),
        ("[gMASK] <sop> $A", "[gMASK]", True),
    ],
)
def test_the_token_before_a_text_is_found(
    template: str, start: str, added: bool, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Tokenizer.from_file(str(DEMO / "model" / "tokenizer.json"))
    names = [name for name in template.split() if name != "$A"]
    backend.add_special_tokens([name for name in names if name != "a"])
    backend.post_processor = TemplateProcessing(
        single=template, special_tokens=[(name, backend.token_to_id(name)) for name in {*names}]
    )
    with caplog.at_level(logging.WARNING, logger="gpt2eval"):
        loaded = from_object(backend)
    token = backend.token_to_id(start)
    assert (loaded.start, loaded.added) == (token, token if added else None)
    several = "puts 2 tokens before every text ([gMASK]<sop>); only [gMASK] is used"
    assert (several in caplog.text) == ("<sop>" in template)


# -- protocols that leave it out -------------------------------------------------------------------


def test_a_protocol_that_leaves_the_token_out_says_so(
    folder: Path, tmp_path: Path, gpt2eval: Run
) -> None:
    tasks = "wikitext2/hf_docs,wikitext2/megatron,wikitext2,lambada/lm_eval"
    common = ("--model", folder, "--data", "demo", "--limit", "6")
    ended = gpt2eval("run", *common, "--tasks", tasks, "--out", tmp_path)
    assert ended.code == 0, ended.err
    notices = [line for line in ended.err.splitlines() if "leaves out <s>" in line]
    names = {line.partition("task ")[2].partition(":")[0] for line in notices}
    assert names == {"wikitext2/hf_docs", "wikitext2/megatron", "lambada/lm_eval"}
    assert all("the model loses 5.50 nats per token without it" in line for line in notices)
    for path in tmp_path.rglob("result.json"):
        result = read_result(path)
        expected = None if result.full_name == "wikitext2" else pytest.approx(5.5046, abs=1e-3)
        assert result.start_loss == expected, result.full_name
    again = gpt2eval("run", *common, "--tasks", tasks, "--out", tmp_path)
    assert [line for line in again.err.splitlines() if "leaves out <s>" in line] == notices


def test_none_is_really_none(loaded: Model, network: Any, tmp_path: Path) -> None:
    content = text(DATA["text8"])[:300]
    (tmp_path / "tasks").mkdir()
    source = (DEMO.parents[1] / "tasks" / "text8.yaml").read_text(encoding="utf-8")
    (tmp_path / "tasks" / "bare.yaml").write_text(source.replace("ask: e", "start: none\nask: e"))
    (tmp_path / "bare.txt").write_text(content)
    (result,) = evaluate(loaded, ["bare"], data={"bare": tmp_path / "bare.txt"}, include=[tmp_path])
    ids = loaded.encode(content).ids.tolist()
    total = naive(network, ids[:CONTEXT], ids[1 : CONTEXT + 1])
    for end in range(CONTEXT, len(ids) - 1, CONTEXT):
        inputs = ids[end : end + CONTEXT]
        targets = ids[end + 1 : end + CONTEXT + 1]
        total += naive(network, inputs[: len(targets)], targets)
    assert result.tally.nats == pytest.approx(total, rel=1e-6)
    assert "|windows:regular-start|start:none|" in result.signature
    assert result.start_loss == pytest.approx(5.5046, abs=1e-3)


def test_a_model_whose_tokenizer_adds_no_token_is_told_of_later_windows(tmp_path: Path) -> None:
    """As for some chat models: BOS exists, but only a chat template writes it."""
    model = registry.load_model(str(needs_start.save(tmp_path / "m", adds=False)))
    stream, lambada = evaluate(model, ["text8", "lambada"], data=DATA, settings=Settings(limit=1))
    assert f"|start:{START}|" in stream.signature
    assert "windows:" not in stream.signature
    assert "|start:none|" in lambada.signature
    assert stream.start_loss == lambada.start_loss == pytest.approx(5.5046, abs=1e-3)


def test_a_model_that_needs_no_token_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    tasks = ["lambada", "text8", "wikitext2/hf_docs", "cbt_cn"]
    with caplog.at_level(logging.WARNING, logger="gpt2eval"):
        results = evaluate("demo", tasks, data=DATA, settings=Settings(limit=4))
    assert [result.start_loss for result in results] == [None] * 4
    assert "start token" not in caplog.text
    starts = [result.protocol.start for result in results]
    assert starts == ["none", "<|endoftext|>", "none", "<|endoftext|>"]
    assert [result.protocol.windows for result in results] == [None, None, "restart", None]


# -- the check -------------------------------------------------------------------------------------


class Needy:
    """A backend in which every token costs 1 nat after the start token, and `cost` without it."""

    context = 512
    start: int | None = 7
    cost = 3.0

    def __init__(self, *, foreign: bool = False) -> None:
        self.foreign = foreign
        self.batches = 0

    def encode(self, text: str) -> Encoding:
        ids = np.frombuffer(text.encode(), np.uint8).astype(np.int32) + 10
        return Encoding(ids, np.arange(1, len(ids) + 1, dtype=np.int32), lossy=False)

    def score(self, batch: Sequence[Request]) -> TokenScores:
        self.batches += 1
        values = [
            np.full(len(branch), -1.0 if prefix[0] == self.start else -self.cost)
            for prefix, branches in batch
            for branch in branches
        ]
        return TokenScores(np.concatenate(values), np.zeros(sum(map(len, values)), np.bool_))

    def identity(self) -> ModelIdentity:
        return ModelIdentity("needy", "1", "bytes", "float64", "none", "cpu")


def test_the_loss_is_measured_once() -> None:
    model = Needy()
    check = StartCheck(model)
    assert check.loss() == check.loss() == pytest.approx(2.0)
    assert model.batches == 1
    results = evaluate(model, ["lambada", "text8"], data=DATA, settings=Settings(limit=2))
    assert [result.start_loss for result in results] == [2.0, None]
    assert [result.protocol.start for result in results] == ["none", "token-7"]


def test_a_loss_at_the_limit_is_not_reported() -> None:
    model = Needy()
    model.cost = 1.0 + LIMIT
    (result,) = evaluate(model, ["lambada"], data=DATA, settings=Settings(limit=2))
    assert result.start_loss is None


def test_a_model_without_a_start_token_or_of_a_tiny_context_has_no_loss() -> None:
    bare = Needy()
    bare.start = None
    assert StartCheck(bare).loss() == 0
    tiny = Needy()
    tiny.context = 1
    assert StartCheck(tiny).loss() == 0
    assert tiny.batches == 0


# -- a real model ----------------------------------------------------------------------------------


def test_a_real_llama(real_models: Path, tmp_path: Path) -> None:
    model = registry.load_model(str(real_models / "babyllama"))
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(real_models / "babyllama").eval()
    content = text(DATA["wikitext2"])[:900]
    (tmp_path / "mine.txt").write_text(content)
    (result,) = evaluate(model, texts=tmp_path / "mine.txt", settings=Settings(stride=100))
    ids = model.encode(content).ids.tolist()
    passes = needs_start.windows(ids, 1, 256, 100)
    expected = sum(naive(network, inputs, targets) for inputs, targets in passes)
    assert len(passes) > 3
    assert result.tally.nats == pytest.approx(expected, rel=1e-5)
    assert "|windows:regular+start|start:<s>|" in result.signature
    (lambada,) = evaluate(model, ["lambada"], data=DATA, settings=Settings(limit=1))
    assert lambada.protocol.start == "<s>"
