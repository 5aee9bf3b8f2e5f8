"""Models whose context is shorter than the texts with which loading tests them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from gpt2eval.config.catalog import DEMO
from gpt2eval.models import registry
from gpt2eval.types import Request


@pytest.mark.parametrize("context", [1, 2, 5, 13, 16])
def test_every_context_loads_and_scores(tmp_path: Path, context: int) -> None:
    torch.manual_seed(0)
    config = GPT2Config(
        n_positions=context, n_embd=16, n_layer=2, n_head=2, vocab_size=2560, bos_token_id=0
    )
    original = GPT2LMHeadModel(config).eval()
    original.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO / "model" / name, tmp_path)
    model = registry.load_model(str(tmp_path))
    assert model.context == context
    ids = np.arange(7, 8 + context, dtype=np.int32)
    with torch.inference_mode():
        logits = original(torch.from_numpy(ids[None, :-1].astype(np.int64))).logits[0]
    expected = logits.log_softmax(1).numpy()[np.arange(context), ids[1:]]
    scored = model.score([Request(ids[:1], (ids[1:],))]).logprobs
    np.testing.assert_allclose(scored, expected, atol=1e-5)
