"""Verdicts: both sides of each tolerance, missing targets, and names that prove nothing."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from gpt2eval import demo, evaluate
from gpt2eval.config.catalog import DEMO
from gpt2eval.config.loader import load_suite, load_task
from gpt2eval.metrics.result import DataIdentity, Figures, MetricValue, Result
from gpt2eval.metrics.verdict import judge
from gpt2eval.pipeline import Settings
from gpt2eval.report.table import render

SUITE = load_suite("gpt2-paper")


def result(
    task: str, metric: str, value: float, row: str, **changes: object
) -> tuple[Result, MetricValue]:
    """Return a result as if it were measured on the published text."""
    (base,) = evaluate("toy:unigram", [task], data=demo.data(), settings=Settings(limit=3))
    published = tuple(Figures(p.source, p.metric, p.rows) for p in load_task(task).published)
    measured = replace(base.metrics[metric], value=value)
    plain = {
        "row": row,
        "published": published,
        "data": replace(base.data, published=True),
        "protocol": replace(base.protocol, limit=None),
    }
    return replace(base, metrics={metric: measured}, **(plain | changes)), measured


@pytest.mark.parametrize(
    ("task", "metric", "row", "target", "tolerance"),
    [
        ("wikitext2", "ppl", "117M", 29.41, 0.02 * 29.41),
        ("lambada", "acc", "1542M", 63.24, 1.0),
        ("enwik8", "bpb", "345M", 1.01, 0.02),
        ("text8", "bpc", "762M", 1.02, 0.02),
        ("cbt_cn", "acc", "117M", 87.65, 1.0),
    ],
)
def test_within_and_outside(
    task: str, metric: str, row: str, target: float, tolerance: float
) -> None:
    for sign in (-1, 1):
        for factor, verdict in ((0.99, "within"), (1.01, "outside")):
            judged = judge(*result(task, metric, target + sign * factor * tolerance, row), SUITE)
            assert (judged.verdict, judged.target) == (verdict, target)
            assert judged.tolerance == pytest.approx(tolerance)
            assert judged.difference == pytest.approx(sign * factor * tolerance)


def test_no_target() -> None:
    assert judge(*result("wikitext2", "ppl", 29.41, "117M"), SUITE).verdict == "within"
    limited, measured = result("wikitext2", "ppl", 29.41, "117M")
    cases = [
        result(
            "wikitext2",
            "ppl",
            29.41,
            "117M",
            data=DataIdentity("", published=False, origin="mine"),
        ),
        (replace(limited, protocol=replace(limited.protocol, limit=9)), measured),
        result("wikitext2", "ppl", 29.41, ""),
        result("wikitext2", "nats_per_token", 3.0, "117M"),
        result("lambada/no_filter", "acc", 45.0, "117M"),
    ]
    assert {judge(*case, SUITE).verdict for case in cases} == {"no target"}


def test_the_table_has_the_rows_and_the_known_reason() -> None:
    lines = render([result("wikitext103", "ppl", 19.0, "1542M")[0]], SUITE).splitlines()
    rows = {
        line.split("|")[1].strip(): line.split("|")[2].strip()
        for line in lines
        if line.startswith("|")
    }
    assert rows["published 1542M"] == "17.48"
    assert (rows["difference"], rows["tolerance"], rows["verdict"]) == ("+1.52", "0.35", "outside")
    assert any("outside: 17.48 does not fit" in line for line in lines)
    assert "does not fit" not in render([result("wikitext103", "ppl", 17.5, "1542M")[0]], SUITE)


def test_a_name_alone_matches_no_published_row(tmp_path: Path) -> None:
    torch.manual_seed(0)
    folder = tmp_path / "gpt2"
    GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=32, n_head=2, vocab_size=2560)).save_pretrained(
        folder
    )
    AutoTokenizer.from_pretrained(str(DEMO / "model")).save_pretrained(folder)
    (unnamed,) = evaluate(str(folder), ["ptb"], data=demo.data(), settings=Settings(limit=2))
    assert unnamed.row == ""
    assert "verdict" not in render([unnamed], SUITE)
