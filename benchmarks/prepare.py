"""Make what the sides are measured on: the model's folder, its tokenizer, and each task's work from a text.

A process of its own, started by `speed.py`, so that the measured processes do not inherit its memory. It writes
`model.json` and `<task>.json` into the folder `--out`: a work, a small one to warm up with, and how much is in it.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from sides.timed import Request, Work
from texts import Counted, Encode, Words, branching, cbt, counted, lambada, rolling, stream
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    AutoConfig,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

END = "<|endoftext|>"
CONTEXT = 1024
STRIDE = 32
BLOCK = re.compile(r"\.\d+\.")


def write_weights(shape: str, folder: Path) -> None:
    """GPT-2's architecture with random weights, `LAYERSxWIDTH` with heads of 64, unless the folder has them."""
    if (folder / "model.safetensors").exists():
        return
    layers, width = (int(n) for n in shape.split("x"))
    torch.manual_seed(0)
    config = GPT2Config(n_layer=layers, n_embd=width, n_head=width // 64)
    GPT2LMHeadModel._from_config(config, dtype=torch.float32).eval().save_pretrained(folder)


def write_tokenizer(text: str, tokenizer: str | None, folder: Path) -> None:
    """A given folder's tokenizer, or a byte-level BPE in GPT-2's form learned from the text."""
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
    """Layers, width, vocabulary, and the number of weights in the blocks' matrices (12 L d^2 for GPT-2)."""
    config: Any = AutoConfig.from_pretrained(folder).get_text_config()
    matrices = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as weights:
            shapes = [
                weights.get_slice(name).get_shape()
                for name in weights.keys()
                if BLOCK.search(name)  # noqa: SIM118
            ]
            matrices += sum(shape[0] * shape[1] for shape in shapes if len(shape) == 2)
    layers, width = config.num_hidden_layers, config.hidden_size
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
    """A task's work, and how much of everything it has."""
    if task in ("cbt", "lambada"):
        made: list[Request] = (cbt if task == "cbt" else lambada)(words, encode, items, window)
        return Work(made, "", window, window), counted(
            [branching(encode, request) for request in made], items
        )
    stride = window if task == "disjoint" else min(STRIDE, window)
    tokens = items * window if task == "disjoint" else window + items * stride
    text = stream(words, encode, tokens)
    return Work([], text, window, stride), counted(rolling(tokens, window, stride), items)


def main() -> None:
    """Write everything that `speed.py` asked for."""
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

    counts = {task: int(number) for task, _, number in (item.partition("=") for item in args.items)}
    window = min(CONTEXT, shape["context"])
    words = Words.of(text, encode)
    (args.out / "model.json").write_text(json.dumps(shape))
    for task, items in counts.items():
        (work, how_much), (warm, _) = (work_of(task, n, window, words, encode) for n in (items, 1))
        made = {"work": work._asdict(), "warm": warm._asdict(), "counted": how_much._asdict()}
        (args.out / f"{task}.json").write_text(json.dumps(made))


if __name__ == "__main__":
    main()
