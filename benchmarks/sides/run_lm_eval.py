"""The side of lm-evaluation-harness, through its public model class and its own `Instance`s.

Its `loglikelihood_rolling` supports disjoint windows only. For a smaller stride, its own window
generator splits the tokens, and the windows go to its `loglikelihood` through a tokenizer whose
words are token ids, so that it scores exactly these tokens.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from timed import Job, Score, Work, measure
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils import logging


def spelled(ids: list[int]) -> str:
    """Spell token ids as the words of a text."""
    return " ".join(f"<{i}>" for i in ids)


def id_tokenizer(tokenizer: Any) -> PreTrainedTokenizerFast:
    """Return a tokenizer that reads `spelled` ids, with the start token of another tokenizer."""
    backend = Tokenizer(WordLevel({f"<{i}>": i for i in range(len(tokenizer))}, unk_token="<0>"))
    backend.pre_tokenizer = WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    has_start = tokenizer.bos_token_id is not None
    start = f"<{tokenizer.bos_token_id if has_start else tokenizer.eos_token_id}>"
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=start, eos_token=start, pad_token=start
    )


def instances(kind: str, arguments: list[tuple]) -> list[Any]:
    """Wrap requests in the harness's own type."""
    instance = import_module("lm_eval.api.instance").Instance
    return [
        instance(request_type=kind, doc={}, arguments=pair, idx=i)
        for i, pair in enumerate(arguments)
    ]


def windows(
    text: str, tokenizer: Any, start: int, window: int, stride: int
) -> list[tuple[str, str]]:
    """Return context and continuation of the harness's own windows, as spelled ids."""
    utils = import_module("lm_eval.utils")
    ids = tokenizer.encode(text, add_special_tokens=False)
    rolling = utils.get_rolling_token_windows(
        token_list=ids, prefix_token=start, max_seq_len=window, context_len=window - stride + 1
    )
    return [
        (spelled(context), " " + spelled(scored))
        for context, scored in map(utils.make_disjoint_window, rolling)
    ]


def load(job: Job, work: Work) -> Callable[[Work], Score]:
    """Load the harness's model class with defaults, except for dtype, batch size and window.

    The model adds no start token to requests.
    """
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(job.model)
    overlaps = work.stride < work.window
    model = import_module("lm_eval.models.huggingface").HFLM(
        pretrained=job.model,
        tokenizer=id_tokenizer(tokenizer) if overlaps else job.model,
        device=job.device,
        dtype=job.dtype,
        batch_size=job.batch,
        max_length=work.window,
        add_bos_token=False,
    )

    def score(work: Work) -> Score:
        if not work.requests and not overlaps:
            texts = instances("loglikelihood_rolling", [(work.text,)])
            return Score(sum(model.loglikelihood_rolling(texts, disable_tqdm=True)), 0)
        if work.requests:
            pairs = [
                (request.context, continuation)
                for request in work.requests
                for continuation in request.continuations()
            ]
        else:
            pairs = windows(work.text, tokenizer, model.prefix_token_id, work.window, work.stride)
        scores = model.loglikelihood(instances("loglikelihood", pairs), disable_tqdm=True)
        return Score(sum(loglikelihood for loglikelihood, _ in scores), 0)

    return score


if __name__ == "__main__":
    measure(load)
