"""Train the demo model, a small GPT-2, on public-domain books.

This script is independent of the evaluator and was run once, by hand; `gpt2eval/demo/README.md`
records the run:

    python benchmarks/train_demo.py --books BOOKS --out gpt2eval/demo/model

BOOKS is a folder of plain-text books (`*.txt`); those in its subfolder `heldout/` are evaluated but
not trained on. Muon trains the matrices and AdamW everything else, in bfloat16 under autocast; the
weights are stored in float16. An interrupted run resumes from its last checkpoint with the same
command.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

END = "<|endoftext|>"
CONTEXT = 512
VOCABULARY = 2560


def train_tokenizer(books: list[Path], out: Path) -> PreTrainedTokenizerFast:
    """Train a GPT-2-style byte-level BPE on the books and save it."""
    bpe = ByteLevelBPETokenizer(add_prefix_space=False)
    bpe.train(
        [str(book) for book in books],
        VOCABULARY,
        min_frequency=2,
        special_tokens=[END],
        show_progress=False,
    )
    out.mkdir(parents=True, exist_ok=True)
    bpe.save(str(out / "tokenizer.json"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(out / "tokenizer.json"),
        bos_token=END,
        eos_token=END,
        model_max_length=CONTEXT,
    )
    tokenizer.save_pretrained(out)
    return tokenizer


def new_model(dropout: float) -> GPT2LMHeadModel:
    """Return an untrained GPT-2 of 3.9 M parameters, with the fused form of its activation."""
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=CONTEXT,
        n_embd=256,
        n_layer=4,
        n_head=4,
        activation_function="gelu_pytorch_tanh",
        bos_token_id=0,
        eos_token_id=0,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=0.0,
    )
    return GPT2LMHeadModel._from_config(config, dtype=torch.float32, attn_implementation="sdpa")


def encode(books: list[Path], tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """Return all books as one stream of token ids, each book after an end-of-text token (0)."""
    ids: list[int] = []
    for book in books:
        ids.append(0)
        ids += tokenizer.encode(book.read_text(encoding="utf-8"))
    return torch.tensor(ids)


def batches(stream: torch.Tensor, rows: int, seed: int) -> Iterator[torch.Tensor]:
    """Yield batches `[rows, CONTEXT + 1]` without end.

    Each epoch splits the stream at a random offset and shuffles the windows.
    """
    generator = torch.Generator().manual_seed(seed)
    while True:
        offset = int(torch.randint(CONTEXT, (), generator=generator))
        starts = torch.arange(offset, len(stream) - CONTEXT - 1, CONTEXT)
        order = starts[torch.randperm(len(starts), generator=generator)]
        for chunk in order.split(rows):
            if len(chunk) == rows:
                yield torch.stack([stream[s : s + CONTEXT + 1] for s in chunk.tolist()])


def summed_loss(model: GPT2LMHeadModel, windows: torch.Tensor) -> torch.Tensor:
    """Return the negative log-likelihood of all targets of `[rows, length + 1]` windows."""
    logits = model(windows[:, :-1], use_cache=False).logits
    return cross_entropy(logits.float().flatten(0, 1), windows[:, 1:].flatten(), reduction="sum")


@torch.inference_mode()
def bits_per_byte(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, book: Path) -> float:
    """Return bits per byte of one book, over disjoint windows in float32."""
    model.eval()
    stream = encode([book], tokenizer)
    windows = [stream[i : i + CONTEXT + 1] for i in range(0, len(stream) - 1, CONTEXT)]
    nats = sum(summed_loss(model, window[None]).item() for window in windows)
    model.train()
    return nats / math.log(2) / book.stat().st_size


def learning_rate_scale(step: int, steps: int, warmup: int = 100) -> float:
    """Return the factor of linear warm-up, and of linear decay over the last 60 % of the steps."""
    return min(1.0, (step + 1) / warmup, (steps - step) / (0.6 * steps))


def optimizers(
    model: GPT2LMHeadModel, muon_lr: float, adam_lr: float
) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices inside the blocks, and AdamW for everything else."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and ".h." in name]
    others = [p for name, p in model.named_parameters() if not (p.ndim == 2 and ".h." in name)]
    return [
        torch.optim.Muon(matrices, lr=muon_lr, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=adam_lr, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def train(
    args: argparse.Namespace, model: GPT2LMHeadModel, stream: torch.Tensor, checkpoint: Path
) -> list[dict]:
    """Run the remaining steps.

    Returns:
        The logged losses: nats per token, averaged over the last 50 steps.
    """
    opts = optimizers(model, args.muon_lr, args.adam_lr)
    rates = [opt.param_groups[0]["lr"] for opt in opts]
    log = []
    first = 0
    recent = []
    if checkpoint.exists():
        state = torch.load(checkpoint)
        model.load_state_dict(state["model"])
        for opt, saved in zip(opts, state["optimizers"], strict=True):
            opt.load_state_dict(saved)
        log = state["log"]
        first = state["step"]
    forward = torch.compile(summed_loss) if args.compile else summed_loss
    source = batches(stream, args.rows, args.seed)
    started = time.monotonic()
    for step in range(args.steps):
        windows = next(source)
        if step < first:
            continue  # draw the batches of the finished steps, so that the order stays the same
        for opt, rate in zip(opts, rates, strict=True):
            opt.param_groups[0]["lr"] = rate * learning_rate_scale(step, args.steps)
        with torch.autocast("cpu", torch.bfloat16):
            loss = forward(model, windows) / windows[:, 1:].numel()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad()
        recent = [*recent[-49:], loss.item()]
        if (step + 1) % 50 == 0:
            log.append({"step": step + 1, "loss": round(sum(recent) / len(recent), 4)})
            seconds = (time.monotonic() - started) / (step + 1 - first)
            print(f"{log[-1]}  {seconds:.2f} s/step", flush=True)
        if (step + 1) % 250 == 0:
            state = {"model": model.state_dict(), "optimizers": [o.state_dict() for o in opts]}
            torch.save(state | {"log": log, "step": step + 1}, checkpoint)
    return log


def main() -> None:
    """Train, store the model, and evaluate it on the held-out books."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--books", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument(
        "--rows", type=int, default=24, help=f"windows of {CONTEXT} tokens per step"
    )
    parser.add_argument("--muon-lr", type=float, default=4e-3)
    parser.add_argument("--adam-lr", type=float, default=4e-3)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="compile the forward pass")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    books = sorted(args.books.glob("*.txt"))
    heldout = sorted(args.books.glob("heldout/*.txt"))
    tokenizer = train_tokenizer(books, args.out)
    stream = encode(books, tokenizer)
    model = new_model(args.dropout)
    record = {
        **{k: v for k, v in vars(args).items() if not isinstance(v, Path)},
        "tokens": len(stream),
    }
    record |= {
        "books": len(books),
        "bytes": sum(b.stat().st_size for b in books),
        "parameters": model.num_parameters(),
    }
    print(json.dumps(record), flush=True)
    log = train(args, model, stream, args.out.with_suffix(".checkpoint"))
    model.half().save_pretrained(args.out)
    model.float()
    record |= {
        "heldout_bpb": {b.stem: round(bits_per_byte(model, tokenizer, b), 4) for b in heldout},
        "log": log,
    }
    args.out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record["heldout_bpb"]))


if __name__ == "__main__":
    main()
