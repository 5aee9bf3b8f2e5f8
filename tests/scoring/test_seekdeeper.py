"""CBT as SeekDeeper scores it, against its procedure written anew over whole texts."""

from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from gpt2eval import demo
from gpt2eval.config.loader import load_task
from gpt2eval.data.corpus import load_corpus
from gpt2eval.models.registry import load_model
from gpt2eval.pipeline import evaluate
from gpt2eval.planning.task_plan import plan_task

TASK = "cbt_cn/test_seekdeeper"
FILE = demo.data()["cbt_cn"]
FOLDER = Path(demo.__file__).parent / "model"


def whole_texts() -> list[tuple[list[str], int]]:
    """Return the ten texts of each question, and the place of the answer."""
    questions = []
    for block in FILE.read_text().removesuffix("\n\n").split("\n\n"):
        *sentences, last = (line.partition(" ")[2] for line in block.split("\n"))
        question, answer, _, choices = last.split("\t")
        options = choices.split("|")
        context = " ".join(sentences)
        texts = [context + question.replace("XXXXX", option) for option in options]
        questions.append((texts, options.index(answer)))
    return questions


def windows(most: int) -> list[tuple[list[list[int]], int]]:
    """Return the tokens of each text that are left of its last `most`, counted on the longest."""
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    cut = []
    for texts, answer in whole_texts():
        ids = tokenizer(texts, add_special_tokens=False).input_ids
        removed = max(0, max(map(len, ids)) - most)
        cut.append(([row[removed:] for row in ids], answer))
    return cut


def test_the_requests_are_the_whole_texts_cut_on_the_left() -> None:
    model = load_model("demo")
    task = load_task(TASK)
    plan = plan_task(model, task, load_corpus(task, FILE))
    assert plan.window.context == model.context == 512
    expected = windows(513)
    assert {len(rows[0]) >= 500 for rows, _ in expected} == {True, False}  # some are cut
    found = {}
    for chunk in plan.work.chunks:
        for batch in chunk:
            for request, targets, _ in batch:
                rows = [[*request.prefix, *branch] for branch in request.branches]
                found[targets[0].passage // 10] = rows
    assert found == {number: rows for number, (rows, _) in enumerate(expected)}


@pytest.fixture
def small_model(tmp_path: Path) -> Path:
    """Return the folder of a random model with the demo's tokenizer and context."""
    torch.manual_seed(2357)
    config = GPT2Config(vocab_size=2560, n_positions=512, n_embd=32, n_layer=1, n_head=2)
    folder = tmp_path / "small"
    GPT2LMHeadModel(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(FOLDER).save_pretrained(folder)
    return folder


def test_the_answers_are_those_of_the_whole_texts(small_model: Path) -> None:
    model = GPT2LMHeadModel.from_pretrained(small_model).eval()
    right = 0
    for rows, answer in windows(513):
        nats = []
        for row in rows:
            ids = torch.tensor([row])
            with torch.no_grad():
                logits = model(ids[:, :-1]).logits
            nats.append(cross_entropy(logits[0].double(), ids[0, 1:], reduction="sum").item())
        right += nats.index(min(nats)) == answer
    (result,) = evaluate(str(small_model), TASK, data={TASK: FILE})
    assert result.tally.records == len(whole_texts())
    assert result.tally.correct == right > 0
