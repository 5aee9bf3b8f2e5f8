"""Every causal architecture of transformers: scores equal a naive loop over windows.

    OMP_NUM_THREADS=1 python tests/models/test_architectures.py --write

writes `docs/reference/architectures.md`; with names of architectures it prints their rows. The
loop calls the model's own forward once per window, without batches, padding or shared prefixes.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import transformers
from tiny_models import NOT_BUILT, VOCABULARY, architectures, tiny_model

from gpt2eval.errors import UsageError
from gpt2eval.models.engine.causal import assemble
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization import loading
from gpt2eval.types import Request

PINS = (Path(__file__).parents[2] / "constraints.txt").read_text(encoding="utf-8")
pytestmark = pytest.mark.skipif(
    f"transformers=={transformers.__version__}\n" not in PINS,
    reason="the list of architectures and their paths is that of the pinned transformers",
)

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "architectures.md"
TOKENIZER = loading.from_characters({chr(48 + i): i for i in range(VOCABULARY)})
FLOAT32 = 1e-6  # relative, in total
NOT_CAUSAL = ("cpmant", "xlm", "xlnet")
QUICK = {
    "bloom": "eager",
    "cohere": "sdpa",
    "deepseek_v3": "packed",
    "doge": "sdpa+single",
    "gemma2": "eager",
    "gpt_neox": "packed",
    "gpt_oss": "eager",
    "granite": "packed",
    "jamba": "sdpa",
    "lfm2": "sdpa",
    "llama4_text": "sdpa",
    "mamba": "eager",
    "minimax_m3_vl_text": "sdpa+single",
    "mistral": "sdpa",
    "mixtral": "packed",
    "opt": "packed",
    "qwen3": "packed",
    "roberta": "sdpa",
}


class Agreement(NamedTuple):
    """How the backend and the loop agree on one architecture."""

    attention: str
    context: int
    float32: float
    bfloat16: float
    noise: float

    @property
    def good(self) -> bool:
        return self.float32 <= FLOAT32 and self.bfloat16 <= self.noise


def requests(context: int) -> list[Request]:
    """Return overlapping windows, a window of the whole context, and a fork."""
    random = np.random.default_rng(5)
    ids = random.integers(3, VOCABULARY, 4 * 96).astype(np.int32)
    size = min(context, 72)
    stream = [Request(ids[:1], (ids[1 : size + 1],))]
    stream += [
        Request(ids[start : start + size - 19], (ids[start + size - 19 : start + size + 1],))
        for start in range(20, 120, 20)
    ]
    whole = Request(ids[:1], (ids[1 : min(context, 96) + 1],))
    fork = Request(ids[9:49], tuple(ids[50 + 9 * k : 51 + 10 * k] for k in range(5)))
    return [*stream, whole, fork]


def backend_scores(kind: str, dtype: torch.dtype, context: int = 0) -> tuple[Any, np.ndarray]:
    """Return a backend and its log-probabilities."""
    backend = assemble(
        tiny_model(kind, dtype), TOKENIZER, {"name": kind, "revision": "0"}, LoadOptions()
    )
    scores = backend.score(requests(context or backend.context))
    return backend, scores.logprobs.astype(np.float64)


@torch.inference_mode()
def loop_scores(
    kind: str, dtype: torch.dtype, context: int, attention: str | None = None
) -> np.ndarray:
    """Return the log-probabilities that the model's own forward gives, window by window."""
    model = tiny_model(kind, dtype)
    if attention:
        model.set_attn_implementation(attention)
    scores = []
    for prefix, branches in requests(context):
        for branch in branches:
            row = torch.from_numpy(np.concatenate([prefix, branch]).astype(np.int64))
            logits = model(input_ids=row[None, :-1], use_cache=False).logits[0, len(prefix) - 1 :]
            logprobs = logits.double().log_softmax(1)
            scores.append(logprobs.gather(1, row[len(prefix) :, None])[:, 0])
    return torch.cat(scores).numpy()


def noise(kind: str, context: int, usual: np.ndarray, exact: np.ndarray) -> float:
    """Return by how much bfloat16 scores differ between transformers' own implementations.

    Without a second implementation, or where it agrees to the last bit: between bfloat16 and
    float32.
    """
    with np.errstate(invalid="ignore"):
        rounding = float(np.abs(usual - exact).mean())
    try:
        eager = loop_scores(kind, torch.bfloat16, context, "eager")
    except (ValueError, RuntimeError, TypeError, AttributeError):
        return rounding
    return float(np.abs(eager - usual).mean()) or rounding


def difference(scores: np.ndarray, exact: np.ndarray) -> float:
    """Return the sum of the absolute differences, relative to the total."""
    return float(np.abs(scores - exact).sum() / np.abs(exact.sum()))


@cache
def agreement(kind: str) -> Agreement:
    """Compare the backend with the loop on one architecture."""
    backend, scores = backend_scores(kind, torch.float32)
    context = backend.context
    exact = loop_scores(kind, torch.float32, context)
    relative = difference(scores, exact)
    try:
        usual = loop_scores(kind, torch.bfloat16, context)
    except RuntimeError:  # a model that keeps a part in float32
        return Agreement(backend.identity().attn, context, relative, 0.0, 0.0)
    _, half = backend_scores(kind, torch.bfloat16, context)
    # Scores may be closer to the loop in bfloat16, or closer to float32 than that loop is.
    to_loop = float(np.abs(half - usual).mean())
    allowed = noise(kind, context, usual, exact)
    own = float(np.abs(half - exact).mean()) - float(np.abs(usual - exact).mean())
    return Agreement(
        backend.identity().attn, context, relative, min(to_loop, max(own, 0.0)), allowed
    )


@pytest.mark.parametrize("kind", QUICK)
def test_a_contrasting_architecture_equals_the_loop(kind: str) -> None:
    backend, scores = backend_scores(kind, torch.float32)
    assert backend.identity().attn == QUICK[kind]
    assert difference(scores, loop_scores(kind, torch.float32, backend.context)) <= FLOAT32


@pytest.mark.parametrize("kind", ["cohere", "jamba", "lfm2", "minimax_m3_vl_text", "qwen3"])
def test_half_precision_takes_the_same_path(kind: str) -> None:
    backend, _ = backend_scores(kind, torch.bfloat16)
    assert backend.identity().attn == QUICK[kind]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*architectures()])
def test_every_architecture_equals_the_loop(kind: str) -> None:
    if kind in NOT_BUILT:
        pytest.skip(NOT_BUILT[kind])
    if kind in NOT_CAUSAL:
        with pytest.raises(UsageError, match="later tokens"):
            agreement(kind)
        return
    assert agreement(kind).good


def test_the_page_lists_every_architecture() -> None:
    listed = re.findall(r"^\| ([\w-]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert listed[1:] == [*architectures()]


def rows(kinds: Sequence[str]) -> Iterator[str]:
    """Yield the table's row of each architecture."""
    for kind in kinds:
        if kind in NOT_BUILT:
            yield f"| {kind} | not built: {NOT_BUILT[kind]} | | |"
            continue
        try:
            found = agreement(kind)
        except UsageError as error:
            yield f"| {kind} | refused: {re.sub(r'^model [^:]*: ', '', str(error))} | | |"
        except Exception as error:
            yield f"| {kind} | ERROR {type(error).__name__}: {error!s:.120} | | |"
        else:
            mark = "" if found.good else " DIFFERS"
            yield (
                f"| {kind} | {found.attention} | {found.float32:.1e} | "
                f"{found.bfloat16:.4f} of {found.noise:.4f}{mark} |"
            )


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    wanted = [name for name in sys.argv[1:] if not name.startswith("-")]
    lines = []
    for line in rows(wanted or [*architectures()]):
        print(line, flush=True)
        lines.append(line)
    if "--write" in sys.argv:
        text = PAGE.read_text(encoding="utf-8")
        head = text[: text.index("| Architecture |")]
        PAGE.write_text(
            head
            + "| Architecture | Attention | float32: relative difference | bfloat16: nats |\n"
            + "|---|---|---|---|\n"
            + "\n".join(lines)
            + "\n",
            encoding="utf-8",
        )
