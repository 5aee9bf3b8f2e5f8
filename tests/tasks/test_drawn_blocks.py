"""Blocks drawn from C4's documents are those of GPTQ's loader, written anew."""

import json
import random
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from planned_windows import Ids, TokensOnly, Window, planned
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from gpt2eval import UsageError, demo, evaluate
from gpt2eval.config.loader import load_task
from gpt2eval.config.schema import Draw
from gpt2eval.data.records import parse_corpus
from gpt2eval.models.registry import load_model
from gpt2eval.models.tokenization.loading import from_place
from gpt2eval.planning.task_plan import plan_task
from gpt2eval.scoring.draws import places

TASK = "c4/gptq"
Encode = Callable[[str], Ids]


def gptq(texts: Sequence[str], encode: Encode, size: int) -> list[Window]:
    """Return 256 blocks as get_c4 draws them, which opt_eval scores but for their first tokens."""
    random.seed(0)
    blocks = []
    for _ in range(256):
        while True:
            number = random.randint(0, len(texts) - 1)
            ids = encode(texts[number])
            if len(ids) >= size:
                break
        first = random.randint(0, len(ids) - size - 1)
        blocks.append((ids[first : first + size], size - 1))
    return blocks


@pytest.fixture(scope="module")
def texts(development_data: Path) -> list[str]:
    """Return documents of one to eight passages of LAMBADA: some are long enough, some are not."""
    path = development_data / "test" / "lambada" / "lambada_test.jsonl"
    passages = [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()[:1400]]
    documents = []
    while passages:
        count = 1 + len(documents) % 8
        documents.append("\n".join(passages[:count]))
        passages = passages[count:]
    return documents


def as_jsonl(texts: Sequence[str]) -> bytes:
    return "".join(json.dumps({"text": text, "url": "u"}) + "\n" for text in texts).encode()


@pytest.mark.parametrize("context", [256, 512])
def test_the_blocks_are_those_of_gptq(texts: list[str], real_models: Path, context: int) -> None:
    folder = real_models / "gpt2-tokenizer"
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model = TokensOnly(from_place(str(folder / "tokenizer.json")), context)
    encode = cache(lambda text: tokenizer(text).input_ids)
    lengths = [len(encode(text)) for text in texts]
    assert min(lengths) < context < max(lengths)
    ours = planned(TASK, as_jsonl(texts), model)
    assert ours == gptq(texts, encode, context)


def test_a_block_may_begin_with_the_token_that_a_tokenizer_adds(
    texts: list[str], real_models: Path
) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(real_models / "babyllama")
    short = [text[:600] for text in texts[:100]]
    ours = planned(TASK, as_jsonl(short), load_model(str(real_models / "babyllama")))
    expected = gptq(short, cache(lambda text: tokenizer(text).input_ids), 256)
    assert ours == expected
    assert any(tokens[0] == tokenizer.bos_token_id for tokens, _ in ours)


def test_the_text_of_a_block_is_what_its_tokens_stand_for(
    texts: list[str], real_models: Path
) -> None:
    folder = real_models / "gpt2-tokenizer"
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    task = load_task(TASK)
    model = TokensOnly(from_place(str(folder / "tokenizer.json")), 256)
    plan = plan_task(model, task, parse_corpus(task, as_jsonl(texts), "file"))
    assert plan.records == len(plan.work.encoded) == 256
    for number, encoded in enumerate(plan.work.encoded):
        assert encoded.passage.record == number
        # A token that begins a character stands for it, although others may end it.
        decoded = tokenizer.decode(encoded.ids).strip("\ufffd")
        assert encoded.passage.text.startswith(decoded)
        assert len(encoded.passage.text) <= len(decoded) + 1
        assert encoded.passage.parts[0].units.bytes == len(encoded.passage.text.encode())


def test_no_document_is_long_enough(texts: list[str], real_models: Path) -> None:
    model = TokensOnly(from_place(str(real_models / "gpt2-tokenizer" / "tokenizer.json")), 2048)
    with pytest.raises(UsageError, match="draw: no record has 2,048 tokens"):
        planned(TASK, as_jsonl(texts[:20]), model)


def test_a_document_of_exactly_one_block_is_taken_whole() -> None:
    found = list(places([8, 3].__getitem__, 2, 8, 20, 5))
    assert found == [(0, 0)] * 20


def test_the_perplexity_is_that_of_a_naive_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(2357)
    folder = tmp_path / "small"
    tokenizer: Any = AutoTokenizer.from_pretrained(Path(demo.__file__).parent / "model")
    tokenizer.save_pretrained(folder)
    config = GPT2Config(vocab_size=2560, n_positions=64, n_embd=32, n_layer=1, n_head=2)
    model = GPT2LMHeadModel(config).eval()
    model.save_pretrained(folder)
    text = demo.data()["wikitext2"].read_text()
    texts = [text[first : first + 500] for first in range(0, 20_000, 500)]
    file = tmp_path / "c4.json"
    file.write_bytes(as_jsonl(texts))
    nats = tokens = 0
    for block, count in gptq(texts, lambda part: tokenizer(part).input_ids, 64):
        with torch.no_grad():
            logits = model(torch.tensor([block])).logits[0, :-1].double()
        nats += cross_entropy(logits, torch.tensor(block[1:]), reduction="sum").item()
        tokens += count
    (result,) = evaluate(str(folder), TASK, data={TASK: file})
    assert result.protocol.draw == "256.0"
    assert (result.tally.records, result.tally.tokens) == (256, tokens)
    assert result.tally.nats == pytest.approx(nats, rel=1e-6)


def test_a_draw_needs_blocks_alone(tmp_path: Path) -> None:
    task = load_task(TASK)
    assert task.draw == Draw(blocks=256, seed=0)
    (tmp_path / "tasks").mkdir()
    text = (Path(__file__).parents[2] / "tasks" / "c4.yaml").read_text()
    for key in ("    block: 2048\n", "    tail: drop\n", "    start: none\n"):
        (tmp_path / "tasks" / "mine.yaml").write_text(text.replace(key, ""))
        with pytest.raises(UsageError, match="draw: expected a block, tail drop and start none"):
            load_task("mine/gptq", [tmp_path])
