"""Committed results of a real model, computed again by a loop that shares nothing with the engine.

Needs the model of `make reference`, and the published files in the folder GPT2EVAL_TEST_DATA.
"""

import math
import os
import sys
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from gpt2eval.data.local import local_files
from gpt2eval.report import store

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "benchmarks" / "validation")]
import reference  # noqa: E402
import tools  # noqa: E402

MODEL = reference.FOLDER / reference.MODEL
DATA = os.environ.get("GPT2EVAL_TEST_DATA", "")


@pytest.mark.slow
@pytest.mark.skipif(not MODEL.exists(), reason="needs the model of `make reference`")
@pytest.mark.skipif(not DATA, reason="needs GPT2EVAL_TEST_DATA, a folder with published files")
@pytest.mark.parametrize(
    ("task", "computed"),
    [
        ("ptb", partial(tools.naive_loop, task="ptb")),
        ("wikitext2/hf_docs", lambda inputs: next(tools.recipe(inputs))),
        ("lambada/no_filter", partial(tools.naive_loop, task="lambada/no_filter")),
    ],
)
def test_a_naive_loop_gives_the_committed_figure(
    task: str, computed: Callable[[tools.Inputs], tools.Comparison], tmp_path: Path
) -> None:
    (ours,) = (
        result
        for result in store.read_results(ROOT / "results")
        if result.full_name == task and result.model.weights == reference.SHA256
    )
    theirs = computed(tools.Inputs(MODEL, local_files(DATA), tmp_path, Namespace(complete=True)))
    assert ours.data.published
    assert ours.metric("ppl").units == theirs.units
    tolerance = 1e-5 * ours.tally.tokens / theirs.units  # 1e-5 nats per token
    assert math.log(ours.metric("ppl").value) == pytest.approx(math.log(theirs.ppl), abs=tolerance)
    if theirs.acc is not None:
        assert ours.metric("acc").value == pytest.approx(theirs.acc, abs=1e-9)
