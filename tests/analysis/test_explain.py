"""explain: each perplexity equals a run's, the steps add up, and no measurement is repeated."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from gpt2eval import demo, evaluate
from gpt2eval.analysis.explain import explain
from gpt2eval.config import catalog
from gpt2eval.errors import UsageError
from gpt2eval.models import registry
from gpt2eval.models.options import LoadOptions
from gpt2eval.pipeline import Settings
from gpt2eval.types import Model, Request, TokenScores

FILES = {"wikitext103": demo.data()["wikitext103"]}


class CountingModel:
    """A model that counts the tokens it scores."""

    def __init__(self, name: str) -> None:
        self.model: Model = registry.load_model(name, LoadOptions())
        self.context = 256
        self.start = self.model.start
        self.encode = self.model.encode
        self.identity = self.model.identity
        self.scored_tokens = 0

    def score(self, batch: Sequence[Request]) -> TokenScores:
        self.scored_tokens += sum(len(branch) for request in batch for branch in request.branches)
        return self.model.score(batch)


def test_steps_add_up_and_perplexities_equal_those_of_runs(tmp_path: Path) -> None:
    text = tmp_path / "few.tokens"
    text.write_text("".join(FILES["wikitext103"].read_text().splitlines(keepends=True)[:12]))
    files = {"wikitext103": text}
    model = registry.load_model("demo", LoadOptions())
    rows = explain(model, "wikitext103", data=files)
    assert [row.name for row in rows][:2] == ["wikitext103", "wikitext103/s32"]
    assert {"raw", "lm_eval", "hf_docs", "llama_cpp", "megatron"} <= {
        row.name.partition("/")[2] for row in rows
    }
    assert math.isclose(rows[0].ppl, math.exp(rows[0].nats))
    for row in rows:
        if row.reason_omitted:
            assert "tokens remain, because no window is full" in row.reason_omitted
            continue
        assert row.nats == pytest.approx(
            rows[0].nats + sum(step.nats for step in row.steps), abs=1e-12
        )
        run = evaluate(model, [row.name], data=files)[0].primary
        assert (row.ppl, row.units, row.unit) == (
            pytest.approx(run.value, rel=1e-9),
            run.units,
            run.unit,
        )


PTB = {"ptb": demo.data()["ptb"]}


def test_steps_add_up_over_joins_blocks_packs_drops_and_means() -> None:
    """Every protocol on the way is measured, and the last one is a run's."""
    model = registry.load_model("demo", LoadOptions())
    rows = explain(model, "ptb", data=PTB, protocols=["sedd", "mdlm", "bd3lm", "plaid"])
    for row in rows:
        assert not row.reason_omitted or row.name == "ptb/sedd"
        if row.reason_omitted:  # of the demo's 60 rows, eight workers keep nothing
            assert "0 of 1,568 tokens remain" in row.reason_omitted
            continue
        total = rows[0].nats + sum(step.nats for step in row.steps)
        assert row.nats == pytest.approx(total, abs=1e-12)
        result = evaluate(model, [row.name], data=PTB)[0]
        run = result.primary
        assert (row.ppl, row.units) == (pytest.approx(run.value, rel=1e-9), run.units)
        assert row.kept == (result.kept.kept / result.kept.total if result.kept else 1)
    groups = [step.group for step in rows["mdlm"].steps]
    assert groups == [
        *("text", "detokenizer", "join", "unit", "block", "start"),
        *("specials", "pack", "tail", "drop"),
    ]


def test_workers_drop_tokens_beside_the_protocol_that_keeps_all() -> None:
    rows = explain(
        "demo",
        "ptb",
        data=PTB,
        protocols=["mdlm", "radd", "no_detok"],
        workers=[1, 2, 96, 1],
        settings=Settings(context=64),
    )
    assert [row.name for row in rows] == [
        "ptb",
        *("ptb/mdlm, all tokens", "ptb/mdlm, 1 worker", "ptb/mdlm, 2 workers"),
        "ptb/mdlm, 96 workers",
        *("ptb/radd, all tokens", "ptb/radd, 1 worker", "ptb/radd, 2 workers"),
        "ptb/radd, 96 workers",
        "ptb/no_detok",
    ]
    for variant in ("mdlm", "radd"):
        complete, one, two, many = (row for row in rows if variant in row.name)
        assert complete.kept == 1 > one.kept >= two.kept > 0
        # 60 rows give each of 60 workers one row, which fills no block.
        assert "tokens remain" in many.reason_omitted
        assert f"ptb/{variant}, 96 workers: omitted: task ptb/{variant}: 0 of" in str(rows)
        for row in (complete, one, two):
            total = rows[0].nats + sum(step.nats for step in row.steps)
            assert row.nats == pytest.approx(total, abs=1e-12)
    header, _, _, second, *_ = str(rows).splitlines()
    assert "| kept " in header
    assert "| 100 % " in second
    assert "drop none -> per 1000 rows, 2 workers" in str(rows)
    assert "mean tokens, batch none -> batches, batch 4" in str(rows)


def test_toy_models_do_not_know_the_end_of_a_text() -> None:
    rows = explain("toy:unigram", "ptb", data=PTB, protocols=["mdlm"], workers=[1])
    assert "the model knows only bytes" in rows[1].reason_omitted


def test_workers_need_a_loader_that_drops_tokens() -> None:
    with pytest.raises(UsageError, match="workers 8: the loader of none of ptb/no_detok drops"):
        explain("toy:unigram", "ptb", data=PTB, protocols=["no_detok"], workers=[8])
    with pytest.raises(UsageError, match="workers 0: expected whole numbers of 1 or more"):
        explain("toy:unigram", "ptb", data=PTB, protocols=["mdlm"], workers=[8, 0])


def test_protocol_that_cannot_be_measured_is_omitted_with_the_reason() -> None:
    rows = explain(
        CountingModel("toy:unigram"), "wikitext103", data=FILES, protocols=["s512", "no_detok"]
    )
    assert "stride 512 is above the context of 256" in rows[1].reason_omitted
    assert not rows[2].reason_omitted
    assert "wikitext103/s512: omitted: task wikitext103/s512: stride 512" in str(rows)


def test_the_share_of_tokens_that_a_protocol_keeps_is_a_column_below_100_percent() -> None:
    files = {"wikitext103": FILES["wikitext103"]}
    explained = explain(
        "toy:unigram", "wikitext103", data=files, protocols=["hf_docs", "llama_cpp"]
    )
    base, hf_docs, llama_cpp = explained
    assert (base.kept, hf_docs.kept) == (1, 1)
    kept = evaluate("toy:unigram", "wikitext103/llama_cpp", data=files)[0].kept
    assert kept is not None
    assert llama_cpp.kept == kept.share
    assert kept.kept == 512 * (kept.total // 512) < kept.total, "an incomplete window is left out"
    rows = [[cell.strip() for cell in line.split("|")] for line in str(explained).splitlines()[:5]]
    assert [row[5] for row in rows if row[1] and row[1][0] != ":"] == [
        *("kept", "100 %", "100 %", f"{100 * kept.kept / kept.total:.1f} %"),
    ]
    whole = str(explain("toy:unigram", "wikitext103", data=files, protocols=["hf_docs"]))
    assert "kept" not in whole.splitlines()[0]


def test_protocols_that_share_requests_are_scored_once(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    text = catalog.find("tasks", "wikitext103").read_text()
    head = text[: text.index("variants:")]
    (tmp_path / "tasks" / "mine.yaml").write_text(
        f"{head}variants:\n  bytes: {{unit: byte}}\n  pieces: {{unit: piece}}\n"
    )
    single_run = CountingModel("toy:unigram")
    model = CountingModel("toy:unigram")
    evaluate(single_run, ["wikitext103"], data=FILES)
    rows = explain(model, "mine", data={"mine": FILES["wikitext103"]}, include=[tmp_path])
    assert model.scored_tokens == single_run.scored_tokens > 10000
    assert [step.group for row in rows for step in row.steps] == ["unit", "unit"]
    assert "mine/bytes: unit word+eol -> byte" in str(rows)


def test_limit_cuts_the_same_text_for_every_protocol() -> None:
    model = registry.load_model("toy:uniform-bytes")
    rows = explain(
        model,
        "wikitext103",
        data=FILES,
        protocols=["no_detok", "lm_eval"],
        settings=Settings(limit=40),
    )
    lines = "".join(FILES["wikitext103"].read_text().splitlines(keepends=True)[:40])
    assert rows[1].nats * rows[1].units == pytest.approx(math.log(256) * len(lines.encode()))
    assert rows[2].units <= len(lines.split()) + 2 * 3


def test_unknown_variant_and_task_without_perplexity_are_errors() -> None:
    model = registry.load_model("toy:uniform-bytes")
    with pytest.raises(
        UsageError, match="unknown variant of wikitext103 'lmeval'; did you mean 'lm_eval'"
    ):
        explain(model, "wikitext103", data=FILES, protocols=["lmeval"])
    with pytest.raises(UsageError, match="no perplexity to explain"):
        explain(model, "cbt_cn", data=demo.data())


def test_model_by_name_and_protocol_by_name(tmp_path: Path) -> None:
    explanation = explain(
        "toy:unigram", data=FILES, protocols=["raw"], settings=Settings(limit=5), out=tmp_path
    )
    assert [protocol.name for protocol in explanation] == ["wikitext103", "wikitext103/raw"]
    assert explanation["wikitext103/raw"] == explanation["raw"] == explanation[1]
    assert len(explanation) == 2
    assert (tmp_path / "toy-unigram" / "wikitext103" / "explained").is_dir()
    with pytest.raises(UsageError, match="unknown protocol 'wikitext103/rwa'; did you mean"):
        explanation["wikitext103/rwa"]


def test_a_missing_file_of_a_variant_is_an_error(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    files = FILES | {"wikitext103/raw": missing}
    with pytest.raises(UsageError, match=r"none: no such file; expected .*wikitext103/raw"):
        explain("toy:uniform-bytes", "wikitext103", data=files, protocols=["raw"])


def test_a_change_of_text_names_the_format_only_if_it_changes(tmp_path: Path) -> None:
    openai = tmp_path / "openai.jsonl"
    openai.write_text('{"text": "She opened the door and closed the door"}\n')
    standard = tmp_path / "standard.txt"
    standard.write_text("she opened the door and closed the door\n")
    files = {"lambada": openai, "lambada/standard": standard}
    _, row = explain("demo", "lambada", data=files, protocols=["standard"])
    text, *_ = row.steps
    assert (text.before, text.after) == ("lambada_test.jsonl", "lambada_test_plain_text.txt")
    _, row = explain(
        "demo", "wikitext103", data=FILES, protocols=["lm_eval"], settings=Settings(limit=4)
    )
    text, *_ = row.steps
    assert (text.before, text.after) == ("wiki.test.tokens", "wiki.test.raw by pages")
