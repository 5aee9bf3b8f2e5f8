"""The side of the Hugging Face recipe, "Perplexity of fixed-length models" in the documentation.

It runs windows over the text's tokens, masks all but the new ones with the label -100, and uses the
loss that the model returns. Nothing precedes the first token of a window, so a disjoint window of W
tokens scores W - 1.
"""

from collections.abc import Callable
from typing import Any

import torch
from timed import Job, Score, Work, measure
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

IGNORED = -100


def load(job: Job, work: Work) -> Callable[[Work], Score]:
    """Load the model as the recipe does, in a given dtype."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(job.model)
    model: Any = AutoModelForCausalLM.from_pretrained(job.model, dtype=getattr(torch, job.dtype))
    model = model.to(job.device)

    def score(work: Work) -> Score:
        encodings = tokenizer(work.text, return_tensors="pt", add_special_tokens=False)
        length = encodings.input_ids.size(1)
        nats = 0.0
        tokens = 0
        previous_end = 0
        for begin in range(0, length, work.stride):
            end = min(begin + work.window, length)
            new = end - previous_end
            input_ids = encodings.input_ids[:, begin:end].to(job.device)
            labels = input_ids.clone()
            labels[:, :-new] = IGNORED
            with torch.no_grad():
                loss = model(input_ids, labels=labels).loss
            counted = int((labels[:, 1:] != IGNORED).sum())
            nats += float(loss) * counted  # the loss is a mean over the counted tokens
            tokens += counted
            previous_end = end
            if end == length:
                break
        return Score(-nats, tokens)

    return score


if __name__ == "__main__":
    measure(load)
