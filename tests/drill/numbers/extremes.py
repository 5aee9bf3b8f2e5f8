"""Weights and logits that are not numbers, or hardly are, in every engine.

A model with a planted value either gives the numbers of transformers' own forward pass, or the run
stops with an error that names the record and the token, or the model is refused as not finite.
"""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from drill.model_files import seeds
from drill.part import Findings, Part
from gpt2eval import demo, evaluate
from gpt2eval.errors import UsageError
from gpt2eval.models.formats.quiet import quiet
from gpt2eval.models.memory.recall import load_backend
from gpt2eval.models.options import LoadOptions
from gpt2eval.types import Request

VALUES = (
    *(float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 3.4e38, 6e4, -6e4, 1e5),
    *(1e-40, -1e-45, 0.0),
)
ENGINES = (None, "packed", "sdpa", "eager")  # `--attn`
PLACES = ("wte.weight", "wpe.weight", "ln_f.weight", "h.0.mlp.c_fc.weight", "ln_f.bias")
TASKS = ("text8", "lambada", "cbt_cn", "ptb")
CLOSE = 1e-4  # relative, per token
# Half precision rounds each logit by a part of the largest, however likely its token is.
HALF_ROUNDING = 2**-6
NAMED = ("record ", "log-probability is")
# Loading compares passes over short texts; with huge numbers their rounding differs.
REFUSED = ("its log-probabilities are not finite", "later tokens", "does not support packed rows")


def planted(random: Random) -> Any:
    """Return a random GPT-2 with a telling value in one or some weights."""
    model = seeds.gpt2(n_positions=256)
    name = random.choice(PLACES)
    weight = dict(model.transformer.named_parameters())[name]
    value = random.choice(VALUES)
    with torch.no_grad():
        flat = weight.view(-1)
        if random.random() < 0.3:
            row = random.randrange(weight.shape[0])
            weight[row] = value
        else:
            flat[random.randrange(len(flat))] = value
    return model


def naive(model: Any, requests: Sequence[Request]) -> np.ndarray:
    """Return the log-probabilities by one forward pass per branch, summed in float64."""
    found = []
    for prefix, branches in requests:
        for branch in branches:
            ids = torch.from_numpy(np.concatenate([prefix, branch]).astype(np.int64))
            with torch.inference_mode():
                logits = model(ids[None, :-1]).logits[0].double()
            scores = logits.log_softmax(1)[torch.arange(len(ids) - 1), ids[1:]]
            found.append(scores[len(prefix) - 1 :].numpy())
    return np.concatenate(found)


def requests(random: Random) -> list[Request]:
    """Return a batch with shared prefixes, long and short."""

    def ids(count: int) -> np.ndarray:
        return np.array([random.randrange(280) for _ in range(count)], np.int32)

    return [
        Request(ids(random.randint(1, 9)), tuple(ids(random.randint(1, 6)) for _ in range(count)))
        for count in (1, 3, 2)
    ]


def problem(random: Random, folder: Path) -> str | None:
    """Run one case, and return what is wrong, or None."""
    with quiet():
        planted(random).save_pretrained(folder)
    dtype = random.choice(("float32", "float32", "float16", "bfloat16"))
    options = LoadOptions(device="cpu", attn=random.choice(ENGINES), dtype=dtype)
    task = random.choice(TASKS)
    batch = requests(random)
    try:
        backend: Any = load_backend(str(folder), options)
    except UsageError as error:
        return None if any(text in str(error) for text in REFUSED) else str(error)
    with quiet():
        plain: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    plain.eval()
    expected = naive(plain, batch)
    scores = backend.score(batch).logprobs
    is_finite = np.isfinite(expected)
    if (np.isfinite(scores) & ~is_finite).any():
        return f"{dtype}, {options.attn}: finite where the model's logits are not"
    near, close = scores[is_finite], CLOSE
    rounding = 0.0
    if dtype != "float32":
        close = 0.1
        rounding = HALF_ROUNDING * np.abs(expected[is_finite]).max(initial=0.0)
    if not np.allclose(near, expected[is_finite], rtol=close, atol=close + rounding):
        return f"{dtype}, {options.attn}: {scores} instead of {expected}"
    try:
        (result,) = evaluate(backend, [task], data=demo.data(), limit=1)
    except UsageError as error:
        return None if all(text in str(error) for text in NAMED) else f"{task}: {error}"
    return None if np.isfinite(result.tally.nats) else f"{task}: {result.tally.nats} nats"


def run(cases: int, seed: int, folder: Path) -> Findings:
    """Run cases; any exception but UsageError is a failure."""
    torch.set_num_threads(1)
    seeds.write_transformers(folder)
    failures = []
    for number in range(cases):
        try:
            why = problem(Random(f"extremes:{seed}:{number}"), folder)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
        if why:
            failures.append(f"case {number}: {why:.300}")
    return Findings(cases, failures)


PART = Part(
    "numbers: extreme weights",
    "a model with NaN, inf, huge or tiny weights gives transformers' numbers or is refused",
    400,
    8,
    run,
)
