"""Naive perplexity: one window at a time through transformers, without anything of gpt2eval.

Each function returns the total log-likelihood in nats, the number of scored tokens and the
denominator of the perplexity.
"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer


class Total(NamedTuple):
    """What a loop adds up. `correct` counts the answers that plain greedy prediction gives."""

    nats: float
    tokens: int
    units: int
    correct: int = 0


class Model:
    """A GGUF file, or a folder in the Hugging Face format, and its tokenizer."""

    def __init__(self, path: Path) -> None:
        place: dict[str, Any] = {"pretrained_model_name_or_path": str(path)}
        if path.suffix == ".gguf":
            place = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
        self.tokenizer = AutoTokenizer.from_pretrained(**place)
        self.model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32).eval()
        with_start = self.tokenizer("a").input_ids
        self.adds_start = with_start != self.tokenizer("a", add_special_tokens=False).input_ids
        self.start = self.tokenizer.bos_token_id
        self._plain = Tokenizer.from_str(self.tokenizer.backend_tokenizer.to_str())
        self._plain.encode_special_tokens = True

    def encode(self, text: str) -> Any:
        """Return the tokens of a text, with `<unk>` and the like as plain text."""
        return self._plain.encode(text, add_special_tokens=False)

    def score(self, inputs: list[int], targets: list[int]) -> Total:
        """Return the log-likelihood of the targets; the last input precedes the last target."""
        with torch.inference_mode():
            logits = self.model(torch.tensor([inputs])).logits[0, -len(targets) :]
        nats = 0.0
        for row, target in zip(logits, targets, strict=True):
            nats += float(row.double().log_softmax(-1)[target])
        is_correct = logits.argmax(-1).tolist() == targets
        return Total(nats, len(targets), 1, int(is_correct))


def stream(model: Model, text: str, units: int, window: int = 1024) -> Total:
    """Score a text as one stream in disjoint windows.

    A model whose tokenizer adds a start token gets it at the beginning of every window.
    """
    ids = model.encode(text).ids
    assert model.tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
    nats = 0.0
    for begin in range(0, len(ids), window):
        targets = ids[begin : begin + window]
        before = ids[begin - 1] if begin and not model.adds_start else model.start
        nats += model.score([before, *targets[:-1]], targets).nats
    return Total(nats, len(ids), units)


def lines(model: Model, texts: list[str], units: int) -> Total:
    """Score every text separately, from the start token on."""
    totals = [stream(model, text, 0) for text in texts]
    return Total(sum(t.nats for t in totals), sum(t.tokens for t in totals), units)


def lambada(model: Model, path: Path) -> Total:
    """Score the last words of OpenAI's LAMBADA file, as `lambada/no_filter` does."""
    totals: list[Total] = []
    for row in path.read_text(encoding="utf-8").splitlines():
        passage = json.loads(row)["text"].replace("“", '"').replace("”", '"').strip()
        text = "\n" + passage
        answer = text.rindex(" ")
        encoded = model.encode(text)
        first = next(i for i, (_, end) in enumerate(encoded.offsets) if end > answer)
        ids = [model.start] * model.adds_start + encoded.ids
        first += model.adds_start
        totals.append(model.score(ids[:-1], ids[first:]))
    return _sum(totals)


def _sum(totals: list[Total]) -> Total:
    return Total(*(sum(column) for column in zip(*totals, strict=True)))


def hf_docs(model: Model, text: str, window: int) -> Total:
    """Score WikiText as the page "Perplexity of fixed-length models" does, in disjoint windows."""
    rows = ["" if line == " " else f"{line}\n" for line in text.removesuffix("\n").split("\n")]
    ids = model.tokenizer("\n\n".join(rows), return_tensors="pt").input_ids
    nats = 0.0
    count = 0
    for begin in range(0, ids.shape[1], window):
        part = ids[:, begin : begin + window]
        if part.shape[1] < 2:
            break
        with torch.inference_mode():
            loss = model.model(part, labels=part).loss
        nats -= float(loss) * (part.shape[1] - 1)
        count += part.shape[1] - 1
    return Total(nats, count, count)


def pages(text: str) -> list[str]:
    """Return the articles of WikiText, as in the rows of EleutherAI/wikitext_document_level."""
    starts = [match.start() for match in re.finditer(r"(?m)^ = [^=].*[^=] = $", text)]
    ends = [start - 1 for start in starts[1:]] + [len(text)]
    return [text[start:end] for start, end in zip(starts, ends, strict=True)]


def words_and_ends(published: str) -> int:
    """Return the words of a published text and its line ends: the denominator of the paper."""
    return len(published.split()) + published.count("\n")
