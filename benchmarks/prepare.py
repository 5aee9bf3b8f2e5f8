"""Write the inputs of the benchmark: the model's folder, its tokenizer, and the work of each task.

`speed.py` starts it as a separate process, so that the measured processes do not inherit its
memory. It writes `model.json` and `<task>.json` into the folder `--out`: the work, a small piece of
work for warming up, and counts of what the work contains.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from sides.timed import Request, Work
from texts import Counted, Encode, Words, branching, cbt, count_work, lambada, rolling, stream
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    AutoConfig,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

END = "<|endoftext|>"
CONTEXT = 1024
STRIDE = 32
LLAMA = "llama-"
BLOCK = re.compile(r"\.\d+\.")  # a layer's number in the name of a weight, as in `h.11.attn`


def write_weights(shape: str, folder: Path) -> None:
    """Write a model with random weights, unless the folder has them already.

    Args:
        shape: `LAYERSxWIDTH` for GPT-2, `llama-LAYERSxWIDTH` for LLaMA; heads have a width of 64.
        folder: Where to write.
    """
    if (folder / "model.safetensors").exists():
        return
    sizes = shape.removeprefix(LLAMA)
    layers, width = (int(n) for n in sizes.split("x"))
    torch.manual_seed(0)
    if sizes == shape:
        config: Any = GPT2Config(n_layer=layers, n_embd=width, n_head=width // 64)
        model: Any = GPT2LMHeadModel
    else:
        config = llama_config(layers, width)
        model = LlamaForCausalLM
    model._from_config(config, dtype=torch.float32).eval().save_pretrained(folder)


def llama_config(layers: int, width: int) -> LlamaConfig:
    """Return a LLaMA with the proportions of SmolLM2-135M, which has the shape 30x576.

    Three heads share keys and values, if their number allows, and the vocabulary is GPT-2's.
    """
    heads = width // 64
    return LlamaConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        intermediate_size=width * 8 // 3,
        num_attention_heads=heads,
        num_key_value_heads=heads // 3 if heads % 3 == 0 else heads,
        vocab_size=GPT2Config().vocab_size,
        max_position_embeddings=2 * CONTEXT,
        tie_word_embeddings=True,
    )


def write_tokenizer(text: str, tokenizer: str | None, folder: Path) -> None:
    """Write the tokenizer of a given folder, or a byte-level BPE learned from the text."""
    if tokenizer:
        AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
        return
    bpe = ByteLevelBPETokenizer(add_prefix_space=False)
    bpe.train_from_iterator(
        [text], GPT2Config().vocab_size, min_frequency=2, special_tokens=[END], show_progress=False
    )
    bpe.save(str(folder / "tokenizer.json"))
    PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        bos_token=END,
        eos_token=END,
        model_max_length=CONTEXT,
    ).save_pretrained(folder)


def shape_of(folder: Path) -> dict[str, int]:
    """Return layers, width, vocabulary, context and the number of weights in the blocks' matrices.

    For GPT-2 that number is 12 L d^2.
    """
    config: Any = AutoConfig.from_pretrained(folder).get_text_config()
    matrices = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as weights:
            shapes = [
                weights.get_slice(name).get_shape()
                for name in weights.keys()  # noqa: SIM118
                if BLOCK.search(name)
            ]
            matrices += sum(shape[0] * shape[1] for shape in shapes if len(shape) == 2)
    layers = config.num_hidden_layers
    width = config.hidden_size
    context = getattr(config, "max_position_embeddings", CONTEXT)
    return {
        "layers": layers,
        "width": width,
        "vocabulary": config.vocab_size,
        "context": context,
        "matrices": matrices or 12 * layers * width**2,
    }


def work_of(
    task: str, items: int, window: int, words: Words, encode: Encode
) -> tuple[Work, Counted]:
    """Return the work of a task, and counts of what it contains."""
    if task in ("cbt", "lambada"):
        make_requests = cbt if task == "cbt" else lambada
        requests: list[Request] = make_requests(words, encode, items, window)
        counts = count_work([branching(encode, request) for request in requests], items)
        return Work(requests, "", window, window), counts
    stride = window if task == "disjoint" else min(STRIDE, window)
    tokens = items * window if task == "disjoint" else window + items * stride
    text = stream(words, encode, tokens)
    counts = count_work(rolling(tokens, window, stride), items)
    return Work([], text, window, stride), counts


def main() -> None:
    """Write everything that `speed.py` requests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--shape")
    parser.add_argument("--tokenizer")
    parser.add_argument("--text", type=Path, nargs="+", required=True)
    parser.add_argument("--items", nargs="+", required=True, help="TASK=N")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    text = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in args.text)
    if args.shape:
        args.model.mkdir(parents=True, exist_ok=True)
        write_weights(args.shape, args.model)
        write_tokenizer(text, args.tokenizer, args.model)
    shape = shape_of(args.model)
    tokenizer = AutoTokenizer.from_pretrained(args.model)

    def encode(texts: list[str]) -> list[list[int]]:
        return tokenizer(texts, add_special_tokens=False, verbose=False).input_ids

    items_of: dict[str, int] = {}
    for item in args.items:
        task, _, number = item.partition("=")
        items_of[task] = int(number)
    window = min(CONTEXT, shape["context"])
    words = Words.from_text(text, encode)
    (args.out / "model.json").write_text(json.dumps(shape))
    for task, items in items_of.items():
        work, counts = work_of(task, items, window, words, encode)
        warm, _ = work_of(task, 1, window, words, encode)
        content = {"work": work._asdict(), "warm": warm._asdict(), "counted": counts._asdict()}
        (args.out / f"{task}.json").write_text(json.dumps(content))


if __name__ == "__main__":
    main()
