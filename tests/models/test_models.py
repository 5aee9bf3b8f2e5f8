"""Backends against an independent loop: one pass per window, no batches, float64 softmax."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers import models as bpe
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedTokenizerFast

from gpt2eval import demo, pipeline
from gpt2eval.config.loader import load_task
from gpt2eval.config.schema import Task
from gpt2eval.data import corpus
from gpt2eval.errors import UsageError
from gpt2eval.models import identified, registry
from gpt2eval.models.engine.causal import CausalModel
from gpt2eval.models.formats import hf
from gpt2eval.models.options import LoadOptions
from gpt2eval.pipeline import Settings
from gpt2eval.planning import task_plan
from gpt2eval.scoring import plan
from gpt2eval.scoring.execute import TaskWork
from gpt2eval.scoring.rolled import Rolled, Stretch
from gpt2eval.text.detokenizer import RoundTrip
from gpt2eval.text.loader import load_detokenizer
from gpt2eval.text.passages import head
from gpt2eval.types import Encoded, Passage, Record, Scored

END = "<|endoftext|>"
VOCABULARY = 400
NATS = 1e-4  # relative, over a task
LOGPROB = 1e-5  # absolute, per token


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Save small random models, with a tokenizer trained on the demo data."""
    torch.set_num_threads(1)
    tokenizer: Any = Tokenizer(bpe.BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    alphabet = ByteLevel.alphabet()
    trainer = BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train([str(path) for name, path in demo.data().items() if name != "enwik8"], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END)
    gpt2: dict[str, Any] = {
        "n_layer": 2,
        "n_head": 2,
        "vocab_size": VOCABULARY,
        "initializer_range": 0.15,
    }
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}
    configs = {
        "gpt2": GPT2Config(n_embd=32, n_positions=64, **gpt2),
        "long": GPT2Config(n_embd=32, n_positions=1024, **gpt2),
        "llama": LlamaConfig(
            **sizes,
            num_hidden_layers=2,
            vocab_size=VOCABULARY,
            max_position_embeddings=64,
            initializer_range=0.15,
        ),
    }
    saved = {}
    for name, config in configs.items():
        saved[name] = tmp_path_factory.mktemp(name)
        torch.manual_seed(7)
        AutoModelForCausalLM.from_config(config).save_pretrained(saved[name])
        fast.save_pretrained(saved[name])
    return saved


@pytest.fixture(scope="session", params=["packed", "sdpa"])
def gpt2(folders: Mapping[str, Path], request: pytest.FixtureRequest) -> CausalModel:
    """Load the same model with either engine."""
    model = load(folders["gpt2"], attn=request.param)
    assert model.identity().attn == request.param
    return model


def load(folder: Path, dtype: str = "float32", attn: str | None = None) -> CausalModel:
    model = registry.load_model(str(folder), LoadOptions(device="cpu", dtype=dtype, attn=attn))
    assert isinstance(model, CausalModel)
    return model


# -- the oracle ----------------------------------------------------------------------------------


class Naive:
    """A model and a tokenizer that use none of the package's code."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def ids(self, text: str) -> list[int]:
        # The name of such a stray byte is its Latin-1 character.
        stray = text[:1] if "\udca1" <= text[:1] <= "\udcff" else ""
        first = [self.tokenizer.token_to_id(chr(ord(c) - 0xDC00)) for c in stray]
        return first + self.tokenizer.encode(text.removeprefix(stray), add_special_tokens=False).ids

    def ends(self, text: str) -> list[int]:
        """Return the end of each token; the name of a token has one character per byte."""
        names = [self.tokenizer.id_to_token(i) for i in self.ids(text)]
        written = np.cumsum([len(name) for name in names]).tolist()
        upto = [len(text[:n].encode()) for n in range(len(text) + 1)]
        return [next(n for n, size in enumerate(upto) if size >= w) for w in written]

    def last(self, inputs: Sequence[int], targets: Sequence[int]) -> list[float]:
        """Return the log-probabilities of the targets; the last one follows the last input."""
        with torch.inference_mode():
            logits = self.model(input_ids=torch.tensor([[*inputs]])).logits[
                0, len(inputs) - len(targets) :
            ]
        return torch.log_softmax(logits.double(), 1)[range(len(targets)), [*targets]].tolist()

    def stream(self, x: Sequence[int], context: int, stride: int) -> list[float]:
        """Score all of `x` except its first token, window by window."""
        scores: list[float] = []
        end = context
        while len(scores) < len(x) - 1:
            inputs = x[max(0, end - context) : min(end, len(x) - 1)]
            scores += self.last(inputs, x[len(scores) + 1 : end + 1])
            end += stride
        return scores

    def question(
        self, passages: Sequence[Passage], context: int, start: list[int]
    ) -> list[list[float]]:
        """Score each choice in its own pass: the tokens after the common prefix, or of the part."""
        texts = [self.ids(p.text) for p in passages]
        ends = [self.ends(p.text) for p in passages]
        if len(texts) > 1:
            first = next(
                i for i, tokens in enumerate(zip(*texts, strict=False)) if len(set(tokens)) > 1
            )
        else:
            first = sum(end <= passages[0].parts[0].start for end in ends[0])
        stops = [
            sum(end <= p.parts[-1].end for end in e) for p, e in zip(passages, ends, strict=True)
        ]
        left = max(0, len(start) + max(stops) - 1 - context)
        return [
            self.last([*start, *t][left : len(start) + n - 1], t[first:n])
            for t, n in zip(texts, stops, strict=True)
        ]

    def scores(
        self, task: Task, records: Sequence[Record], context: int, stride: int
    ) -> list[list[float]]:
        """Return the log-probabilities of every passage's scored tokens."""
        start = [self.tokenizer.token_to_id(END)] if task.start == "eot" else []
        groups = [passages_of(task, [record]) for record in records]
        if task.ask == "everything":
            return [
                self.stream([*start, *self.ids(group[0].text)], context, stride) for group in groups
            ]
        return [scores for group in groups for scores in self.question(group, context, start)]


def passages_of(task: Task, records: Sequence[Record]) -> list[Passage]:
    detokenizer = load_detokenizer(task.detokenizer) if task.detokenizer else None
    return task_plan.prepare(task, records, detokenizer, RoundTrip())


def scored(
    model: CausalModel, task: Task, records: Sequence[Record], stride: int = 64, batch: int = 8
) -> list[Scored]:
    """Return the package's scores of every passage."""
    passages = passages_of(task, records)
    encoded = [Encoded(p, *model.encode(p.text)[:2]) for p in passages]
    window = plan.Window(model.context, stride, model.start if task.start == "eot" else None)
    outcome = TaskWork.for_task(task, encoded, window, batch * 64).score(model)
    assert outcome is not None
    return outcome.passages


def nats(passages: Sequence[Scored]) -> list[float]:
    return [float(passage.nats.sum()) for passage in passages]


def some(name: str, limit: int, **changes: Any) -> tuple[Task, Sequence[Record]]:
    """Return a task with changes, and a few of its demo records."""
    task = load_task(name).model_copy(update=changes)
    return task, head(
        corpus.load_corpus(task, demo.data()[task.name]).records,
        limit,
        stream=task.format == "stream",
    )


# -- against the oracle --------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["eot", "none"])
@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("wikitext2", 5),
        ("lm1b", 6),
        *(
            pytest.param(name, limit, marks=pytest.mark.slow)
            for name, limit in (("text8", 1), ("enwik8", 2), ("ptb", 8))
        ),
    ],
)
def test_streams_and_lines_equal_a_loop_for_any_stride_and_batch(
    folders: Mapping[str, Path], gpt2: CausalModel, name: str, limit: int, start: str
) -> None:
    task, records = some(name, limit, start=start)
    naive = Naive(folders["gpt2"])
    for stride in (64, 32, 8, 1):
        expected = [-sum(s) for s in naive.scores(task, records, 64, stride)]
        assert sum(expected) > 1000
        for batch in (1, 3, 8):
            result = scored(gpt2, task, records, stride, batch)
            assert nats(result) == pytest.approx(expected, rel=NATS)
            assert all(s.unscored == (start == "none") and s.straddling == 0 for s in result)


@pytest.mark.parametrize("start", ["eot", "none"])
@pytest.mark.parametrize(
    "name",
    [
        *("lambada", "cbt_cn"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("lambada/no_detok", "cbt_ne/candidate_only", "cbt_ne/newline")
        ),
    ],
)
def test_last_words_and_choices_equal_a_loop_where_the_context_is_cut(
    folders: Mapping[str, Path], gpt2: CausalModel, name: str, start: str
) -> None:
    task, records = some(name, 3, start=start)
    expected = Naive(folders["gpt2"]).scores(task, records, 64, 64)
    for batch in (1, 3, 8):
        result = scored(gpt2, task, records, batch=batch)
        assert nats(result) == pytest.approx([-sum(s) for s in expected], rel=NATS)
        assert [s.tokens.sum() for s in result] == [len(s) for s in expected]


def test_last_token_scores_the_final_token_of_the_last_word(
    folders: Mapping[str, Path], gpt2: CausalModel
) -> None:
    task, records = some("lambada/last_token", 8)
    words = Naive(folders["gpt2"]).scores(load_task("lambada"), records, 64, 64)
    assert max(len(w) for w in words) > 1
    assert nats(scored(gpt2, task, records)) == pytest.approx([-w[-1] for w in words], abs=LOGPROB)


@pytest.mark.parametrize("start", ["eot", "none"])
@pytest.mark.parametrize("stride", [64, 32, 8, 1])
def test_every_token_equals_a_loop(
    folders: Mapping[str, Path], gpt2: CausalModel, stride: int, start: str
) -> None:
    task, records = some("enwik8", 1, start=start)
    (expected,) = Naive(folders["gpt2"]).scores(task, records, 64, stride)
    window = plan.Window(64, stride, gpt2.start if start == "eot" else None)
    requests = [p.request for p in Rolled([Stretch(0, gpt2.encode(records[0].text).ids)], window)]
    logprobs = np.concatenate(
        [gpt2.score(requests[i : i + 3]).logprobs for i in range(0, len(requests), 3)]
    )
    assert logprobs.dtype == np.float32
    assert np.abs(logprobs - np.array(expected)).max() < LOGPROB


@pytest.mark.parametrize("name", ["cbt_cn", "cbt_ne"])
def test_choices_rank_as_in_ten_full_passes(folders: Mapping[str, Path], name: str) -> None:
    task, records = some(name, 3)
    naive = Naive(folders["long"])
    choice_nats = nats(scored(load(folders["long"]), task, records, batch=10))
    start = naive.tokenizer.token_to_id(END)
    for i, record in enumerate(records):
        texts = [naive.ids(p.text) for p in passages_of(task, [record])]
        assert max(map(len, texts)) < 1024, "nothing is cut"
        whole = [-sum(naive.last([start, *t[:-1]], t)) for t in texts]
        ours = np.array(choice_nats[10 * i : 10 * i + 10])
        assert np.argsort(ours).tolist() == np.argsort(whole).tolist()
        assert ours - ours.min() == pytest.approx(np.array(whole) - min(whole), abs=1e-3)


def test_greedy_tokens_are_the_argmax(folders: Mapping[str, Path], gpt2: CausalModel) -> None:
    naive = Naive(folders["gpt2"])
    ids = gpt2.encode("the cat sat on the mat and ").ids
    with torch.inference_mode():
        best = (
            naive.model(input_ids=torch.from_numpy(ids[None].astype(np.int64)))
            .logits[0]
            .argmax(1)
            .tolist()
        )
    greedy = np.array([*ids, best[-1]], np.int32)
    (item,) = Rolled([Stretch(0, greedy)], plan.Window(64, 64, None))
    expected = [token == guess for token, guess in zip(greedy[1:].tolist(), best, strict=True)]
    assert gpt2.score([item.request]).is_greedy.tolist() == expected
    assert expected[-1]


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_one_window_equals_the_loss_of_transformers(folders: Mapping[str, Path], name: str) -> None:
    _, (record,) = some("text8", 1)
    model = load(folders[name])
    ids = model.encode(record.text[:150]).ids[:64]
    with torch.inference_mode():
        inputs = torch.from_numpy(ids.astype(np.int64))[None]
        loss = Naive(folders[name]).model(input_ids=inputs, labels=inputs).loss.item()
    (item,) = Rolled([Stretch(0, ids)], plan.Window(64, 64, None))
    assert -model.score([item.request]).logprobs.astype(float).mean() == pytest.approx(
        loss, rel=1e-6
    )


@pytest.mark.parametrize("stride", [64, 8])
def test_another_architecture_equals_a_loop(folders: Mapping[str, Path], stride: int) -> None:
    task, records = some("lm1b", 6)
    expected = [-sum(s) for s in Naive(folders["llama"]).scores(task, records, 64, stride)]
    assert nats(scored(load(folders["llama"]), task, records, stride)) == pytest.approx(
        expected, rel=NATS
    )


# -- invariance ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "limit"), [("lm1b", 12), ("cbt_cn", 2), ("lambada", 12), ("text8", 1)]
)
def test_neither_batch_size_nor_record_order_matters(
    gpt2: CausalModel, name: str, limit: int
) -> None:
    task, records = some(name, limit)
    base = nats(scored(gpt2, task, records, 16))
    for batch in (1, 2, 5, 64):
        assert nats(scored(gpt2, task, records, 16, batch)) == pytest.approx(base, rel=1e-6)
    backwards = scored(gpt2, task, records[::-1], 16)
    by_record = sorted(backwards, key=lambda s: (s.passage.record, s.passage.choice))
    assert nats(by_record) == pytest.approx(base, rel=1e-6)


def test_a_special_token_in_the_text_is_read_as_text(gpt2: CausalModel) -> None:
    text = f"one {END} two"
    encoding = gpt2.encode(text)
    assert gpt2.start not in encoding.ids
    assert (encoding.ends[-1], encoding.lossy) == (len(text), False)


def test_the_same_run_gives_the_same_bits(gpt2: CausalModel) -> None:
    task, records = some("text8", 1)
    assert nats(scored(gpt2, task, records, 8)) == nats(scored(gpt2, task, records, 8))


def test_bfloat16_is_close_but_not_equal(folders: Mapping[str, Path], gpt2: CausalModel) -> None:
    task, records = some("text8", 1)
    half = load(folders["gpt2"], dtype="bfloat16")
    assert half.identity().dtype == "bfloat16"
    half_nats = nats(scored(half, task, records))
    expected = nats(scored(gpt2, task, records))
    assert half_nats == pytest.approx(expected, rel=0.01)
    assert half_nats != expected


def test_float64_agrees_with_float32(folders: Mapping[str, Path], gpt2: CausalModel) -> None:
    task, records = some("text8", 1)
    wide = load(folders["gpt2"], dtype="float64")
    assert nats(scored(wide, task, records)) == pytest.approx(
        nats(scored(gpt2, task, records)), rel=1e-6
    )


# -- complete runs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "limit"), [("wikitext2/no_detok", 6), ("lambada", 5), ("cbt_cn", 2), ("lm1b", 5)]
)
def test_the_nats_of_a_result_equal_the_loop(
    folders: Mapping[str, Path], gpt2: CausalModel, name: str, limit: int
) -> None:
    task, records = some(name, limit)
    scores = Naive(folders["gpt2"]).scores(task, records, 64, 32)
    right = [p.right for p in passages_of(task, records)]
    (result,) = pipeline.evaluate(
        gpt2, name, data=dict(demo.data()), settings=Settings(limit=limit, stride=32, batch_size=3)
    )
    assert result.tally.nats == pytest.approx(
        -sum(sum(s) for s, r in zip(scores, right, strict=True) if r), rel=NATS
    )
    assert result.tally.tokens == sum(len(s) for s, r in zip(scores, right, strict=True) if r)


def test_a_score_that_is_not_finite_stops_the_run(folders: Mapping[str, Path]) -> None:
    model = load(folders["gpt2"])
    model._engine.model.transformer.ln_f.weight.data.fill_(float("nan"))
    with pytest.raises(UsageError, match="record 0, token 0: the model's log-probability is nan"):
        pipeline.evaluate(model, "text8", data=dict(demo.data()), settings=Settings(limit=1))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:", "expected a Hub id or a folder"),
        ("tyo:uniform-bytes", "unknown model scheme 'tyo'; did you mean 'toy'?"),
        ("toy:uniform-byte", "did you mean 'uniform-bytes'?"),
        ("json:no_such_factory", "has no attribute"),
        (":x", "unknown model scheme"),
        ("toy:unigram:/no/such/file", "expected a file to count bytes in"),
    ],
)
def test_an_unknown_model_name_is_one_line(name: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        registry.load_model(name)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_folder_without_a_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"^model .*; expected a Hub id or a folder with a causal LM$"
    ):
        registry.load_model(str(tmp_path))


def test_a_revision_in_the_name(
    folders: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[tuple[object, object]] = []

    def from_hub(real: Any) -> Any:
        def load(name: str, *choice: Any, **options: Any) -> Any:
            if name == "a/b":
                requests.append((name, options.pop("revision")))
            loaded = real(str(folders["gpt2"]), *choice, **options)
            if isinstance(loaded, tuple) and hasattr(loaded[0], "config"):
                loaded[0].config._commit_hash = "607a30d783dfa663caf39e06633721c8d4cfcd7e"
            return loaded

        return load

    for auto in (hf.AutoConfig, hf.AutoModelForCausalLM):
        monkeypatch.setattr(auto, "from_pretrained", from_hub(auto.from_pretrained))
    monkeypatch.setattr(hf.loading, "from_place", from_hub(hf.loading.from_place))
    models = [
        registry.load_model("a/b@main"),
        registry.load_model("hf:a/b", LoadOptions(revision="main")),
    ]
    assert requests == [("a/b", "main")] * 6
    identities = [(model.identity().name, model.identity().revision) for model in models]
    assert identities == [("a/b@main", "607a30d7"), ("a/b", "607a30d7")]


def test_a_revision_that_cannot_apply_is_refused(folders: Mapping[str, Path]) -> None:
    with pytest.raises(
        UsageError, match="is a folder and has no revisions; expected a Hub id before the @"
    ):
        registry.load_model(f"{folders['gpt2']}@main")
    with pytest.raises(UsageError, match="model a/b@main, --revision other: expected one revision"):
        registry.load_model("a/b@main", LoadOptions(revision="other"))


def test_a_model_can_be_renamed_in_results(gpt2: CausalModel) -> None:
    model = identified.renamed(gpt2, "mine")
    assert model.identity() == replace(gpt2.identity(), name="mine")
    assert (model.context, model.start, getattr(model, "added", 0)) == (
        gpt2.context,
        gpt2.start,
        gpt2.added,
    )
    with pytest.raises(AttributeError):
        getattr(model, "no_such_capability")  # noqa: B009


@pytest.mark.parametrize("config", ["[]", '{"model_type": "gpt2", "n_layer": "two"}', "{}", "{"])
def test_a_broken_configuration_is_one_line(
    folders: Mapping[str, Path], tmp_path: Path, config: str
) -> None:
    shutil.copytree(folders["gpt2"], tmp_path / "broken")
    (tmp_path / "broken" / "config.json").write_text(config)
    with pytest.raises(
        UsageError, match=r"; expected a (Hub id or a folder with a causal LM|JSON object)$"
    ):
        registry.load_model(str(tmp_path / "broken"))


def test_an_unknown_dtype(folders: Mapping[str, Path]) -> None:
    with pytest.raises(UsageError, match="did you mean 'bfloat16'"):
        load(folders["gpt2"], dtype="bfloat")


def test_a_factory_of_a_third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from functools import partial\nimport numpy as np\n"
    source += "from gpt2eval.models.toy import ByteModel\n"
    source += "Mine = partial(ByteModel, 'mine', np.full(256, 1 / 256))\n"
    (tmp_path / "my_own_backend.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    (result,) = pipeline.evaluate(
        "my_own_backend:Mine", "text8", data=dict(demo.data()), settings=Settings(limit=1)
    )
    assert result.model.name == "mine"
    assert result.primary.value == pytest.approx(8, abs=1e-12)
