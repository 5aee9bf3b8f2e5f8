"""A small model, built by hand, that is good after its start token and bad without it.

Every token attends to the start token if there is one. Its value adds a direction to the state in
which ordinary tokens are likely; the values of other tokens add the opposite, in which they are
unlikely. Small random weights on top make the scores depend on all tokens and their positions.
"""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from gpt2eval.config.catalog import DEMO

CONTEXT = 64
START = "<s>"


def tokenizer(*, adds: bool = True) -> Any:
    """The demo's tokenizer with a BOS token `<s>`, which it `adds` to every text or not."""
    content = json.loads((DEMO / "model" / "tokenizer.json").read_text(encoding="utf-8"))
    backend = Tokenizer.from_str(json.dumps(content))
    backend.add_special_tokens([START])
    if adds:
        backend.post_processor = TemplateProcessing(
            single=f"{START} $A", special_tokens=[(START, backend.token_to_id(START))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=START, eos_token="<|endoftext|>"
    )


def model() -> GPT2LMHeadModel:
    """The model, in evaluation mode."""
    size = len(tokenizer())
    start = tokenizer().bos_token_id
    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=1, n_embd=8, n_head=1, n_positions=CONTEXT, vocab_size=size,
        tie_word_embeddings=False, bos_token_id=start, eos_token_id=0,
    )  # fmt: skip
    built: Any = GPT2LMHeadModel(config)
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            parameter.copy_(0.03 * torch.randn_like(parameter))
            if name.endswith(("ln_1.weight", "ln_2.weight", "ln_f.weight")):
                parameter.add_(1.0)
        embeddings = built.transformer.wte.weight
        embeddings[:, :2] += torch.tensor([1.0, -1.0])
        embeddings[start, :4] += torch.tensor([-1.0, 1.0, 1.0, -1.0])
        attention = built.transformer.h[0].attn
        projection = attention.c_attn.weight  # [8, query 8 + key 8 + value 8]
        projection[0, 0] += 5.0  # a query of every token
        projection[2, 8] += 5.0  # meets the key of the start token
        direction = torch.tensor([1.0, -1.0])
        projection[2, 16 + 4 : 16 + 6] += direction
        projection[0, 16 + 4 : 16 + 6] -= direction
        attention.c_proj.weight += torch.eye(8)
        ordinary = torch.where(torch.arange(size) < size // 2, 1.0, -1.0)
        built.lm_head.weight[:, 4] += ordinary
        built.lm_head.weight[:, 5] -= ordinary
    return built.eval()


def save(folder: Path, *, adds: bool = True) -> Path:
    """Save the model and its tokenizer as a checkpoint."""
    model().save_pretrained(folder)
    tokenizer(adds=adds).save_pretrained(folder)
    return folder


def naive(network: Any, inputs: list[int], targets: list[int]) -> float:
    """Return -log p of the targets; the inputs end before the last target."""
    with torch.inference_mode():
        scores = network(input_ids=torch.tensor([inputs])).logits[0].double().log_softmax(-1)
    last = scores[len(inputs) - len(targets) :]
    return -float(last.gather(1, torch.tensor(targets)[:, None]).sum())


def windows(ids: list[int], start: int, context: int, stride: int) -> list[tuple[list, list]]:
    """Return inputs and targets of each window, in which the start token is always first."""
    x = [start, *ids]
    passes = [(x[:context][: len(ids)], x[1 : context + 1])]
    end = context
    while end + 1 < len(x):
        first, end = end + 1, min(end + stride, len(x) - 1)
        left = first - 1 - (context - stride)
        passes.append(([start, *x[left + 1 : end]], x[first : end + 1]))
    return passes
