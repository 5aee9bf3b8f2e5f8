"""Models compared record by record: pairing, refusals, corrections, ranks and every format."""

import csv
import io
import json
import math
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted import plant, worse, write

from gpt2eval import Results, UsageError, demo, evaluate, read_results
from gpt2eval.metrics.clusters import Clusters
from gpt2eval.metrics.decisions import holm
from gpt2eval.metrics.paired import mcnemar
from gpt2eval.report import store
from gpt2eval.report.comparison.compare import Comparison
from gpt2eval.report.comparison.scale import Limits, Scale
from gpt2eval.report.comparison.text import render
from gpt2eval.report.measured import read_measured
from gpt2eval.scoring import journal
from gpt2eval.types import Tally

TASKS = ["lm1b", "text8", "lambada/no_filter"]


def fewer_tokens(number: int, part: Tally) -> Tally:
    """A record as a far better model of another tokenizer sees it."""
    return replace(part, nats=part.nats / 2, tokens=part.tokens // 3)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of two tokenizers, and two more of the first one's."""
    folder = tmp_path_factory.mktemp("out")
    evaluate("toy:unigram", TASKS, data=demo.data(), out=folder / "unigram", context=512)
    plant(folder / "unigram", folder, "words", fewer_tokens, tokenizer="words")
    plant(folder / "unigram", folder, "better", worse(-0.05, 0.1))
    plant(folder / "unigram", folder, "alike", worse(0.0, 0.001))
    return folder


@pytest.fixture(scope="module")
def baseline(out: Path) -> Results:
    return read_results(out / "unigram")


@pytest.fixture(scope="module")
def compared(out: Path, baseline: Results) -> Comparison:
    return baseline.compare(read_results(out / "better"), margin="0.1%,1pt")


@pytest.fixture(scope="module")
def several(out: Path, baseline: Results) -> Comparison:
    return baseline.compare(*(read_results(out / name) for name in ("better", "alike", "words")))


def changed(source: Path, folder: Path, **fields: object) -> Results:
    """A copy of a result with other fields, as `read_results` gives it."""
    shutil.copytree(source.parent, folder, dirs_exist_ok=True)
    store.write_result(folder, replace(store.read_result(source), **fields))  # type: ignore[arg-type]
    return read_results(folder)


# -- the numbers -----------------------------------------------------------------------------------


def test_a_change_is_that_of_the_metrics(compared: Comparison) -> None:
    assert [duel.title for duel in compared.duels] == [
        *("lambada/no_filter ppl", "lambada/no_filter acc", "lm1b ppl", "text8 bpc")
    ]
    for duel in compared.duels:
        first, second = duel.baseline.metric.value, duel.other.metric.value
        found = duel.difference
        assert found.wins + found.losses + found.ties == found.entries
        if duel.metric == "acc":
            assert (duel.scale.unit, duel.change) == ("pt", pytest.approx(second - first))
            continue
        assert (duel.scale.unit, duel.change) == ("%", pytest.approx(100 * (second / first - 1)))
        low, high = duel.change_interval or (math.nan, math.nan)
        assert low < duel.change < high


def test_the_verdict_follows_from_the_margin(compared: Comparison, several: Comparison) -> None:
    verdicts = {duel.title: duel.verdict for duel in compared.duels}
    assert (verdicts["lm1b ppl"], verdicts["text8 bpc"]) == ("better", "better")
    alike = [duel.verdict for duel in several.duels if several.labels[duel.model] == "alike"]
    assert {*alike} == {"unresolved"}, "without a margin nothing is equal"
    assert compared.duels[2].margin == "0.1 %"


def test_a_change_within_the_margin_is_equal(out: Path, baseline: Results) -> None:
    found = baseline.compare(read_results(out / "alike"), margin="1%", tasks=["lm1b", "text8"])
    assert [duel.verdict for duel in found.duels] == ["equal", "equal"]


def test_p_values_are_corrected_over_all_duels(several: Comparison) -> None:
    assert len(several.duels) == 12
    ps = [duel.difference.p for duel in several.duels]
    assert [duel.p_adjusted for duel in several.duels] == holm(ps)


def test_clusters_are_named(compared: Comparison) -> None:
    clusters = {duel.title: duel.cluster for duel in compared.duels}
    assert clusters["lm1b ppl"] == "record"
    assert clusters["text8 bpc"].startswith("block of ")
    assert clusters["text8 bpc"].endswith(" characters")


def test_the_articles_of_a_text_are_its_clusters(tmp_path: Path) -> None:
    evaluate("toy:unigram", "wikitext2", data=demo.data(), out=tmp_path / "a")
    plant(tmp_path / "a", tmp_path, "other", worse(0.1, 0.01))
    (duel,) = read_results(tmp_path / "a").compare(read_results(tmp_path / "other")).duels
    assert (duel.cluster, duel.difference.resampled) == ("article", 4)
    assert duel.verdict == "unresolved"
    assert duel.why_no_interval == "4 articles; no interval can be trusted below 9"


def test_ranks_contain_the_order_of_the_values(several: Comparison) -> None:
    assert [ranking.title for ranking in several.rankings] == [
        *("lambada/no_filter ppl", "lambada/no_filter acc", "lm1b ppl", "text8 bpc")
    ]
    for ranking in several.rankings:
        duels = [duel for duel in several.duels if duel.title == ranking.title]
        values = [duels[0].baseline.metric.value, *(duel.other.metric.value for duel in duels)]
        sign = -1 if duels[0].metric == "acc" else 1
        for model, value in enumerate(values):
            better = sum(sign * other < sign * value for other in values)
            as_good = sum(other == value for other in values)
            low, high = ranking.ranges[model] or (0, 0)
            assert low <= better + as_good
            assert better + 1 <= high
        assert math.fsum(won or 0 for won in ranking.won) == pytest.approx(2.0)
    text8 = several.rankings[3].ranges
    assert text8[several.labels.index("words")] == (1, 1), "far better than any unigram"
    assert text8[several.labels.index("better")] == (2, 2)


def test_a_model_without_a_task_has_no_rank_there(out: Path, baseline: Results) -> None:
    found = baseline.compare(read_results(out / "better"), read_results(out / "words")[:2])
    text8 = next(ranking for ranking in found.rankings if ranking.title == "text8 bpc")
    assert (text8.ranges[2], text8.won[2]) == (None, None)
    assert found.left_out == ("text8: only on toy:unigram, better",)
    (row,) = (line for line in render(found).splitlines() if line.startswith("| words"))
    assert row.split("|")[-2].strip() == ""


def test_a_metric_that_is_never_compared_has_no_ranks(out: Path, baseline: Results) -> None:
    others = [read_results(out / name) for name in ("words", "alike")]
    metrics = ["nats_per_token", "ppl"]
    found = baseline.compare(*others, tasks=["lm1b"], metrics=metrics)
    (_, per_token) = found.rankings
    assert per_token.title == "lm1b nats_per_token"
    assert (per_token.ranges[1], per_token.won[1]) == (None, None), "another tokenizer"
    assert per_token.ranges[0] == (1, 2), "of two models that were compared"
    lm1b = others[0][1:2]
    assert lm1b[0].full_name == "lm1b"
    found = baseline.compare(lm1b, lm1b, metrics=metrics)
    assert [ranking.title for ranking in found.rankings] == ["lm1b ppl", "lm1b nats_per_token"]
    assert found.rankings[1].ranges == (None, (1, 2), (1, 2))


def test_one_tokenizer_adds_the_agreement_of_tokens(several: Comparison) -> None:
    for duel in several.duels:
        if several.labels[duel.model] == "words":
            assert duel.agreement is None
        else:
            assert duel.agreement is not None
            assert duel.agreement.top1 == 1.0, "the planted models keep the tokens' scores"


def test_only_the_wanted_tasks_and_metrics(out: Path, baseline: Results) -> None:
    found = baseline.compare(
        read_results(out / "alike"), tasks=["lm1b"], metrics=["nats_per_token", "ppl"]
    )
    assert [duel.title for duel in found.duels] == ["lm1b ppl", "lm1b nats_per_token"]
    found = baseline.compare(read_results(out / "alike"), tasks="lm1b", metrics="ppl")
    assert [duel.title for duel in found.duels] == ["lm1b ppl"]


def test_a_task_of_one_side_is_listed(out: Path, baseline: Results) -> None:
    found = baseline[:2].compare(read_results(out / "words"))
    assert found.left_out == ("text8: only on words",)


# -- refusals --------------------------------------------------------------------------------------


def test_per_token_metrics_need_one_tokenizer(out: Path, baseline: Results) -> None:
    other = read_results(out / "words")
    found = baseline.compare(other, tasks=["lm1b"], metrics=["nats_per_token", "ppl"])
    assert [duel.title for duel in found.duels] == ["lm1b ppl"]
    reason = "lm1b nats_per_token, words: per token, and the tokenizers differ"
    assert found.left_out == (reason,)
    with pytest.raises(UsageError, match=f"^nothing to compare: {reason}$"):
        baseline.compare(other, tasks=["lm1b"], metrics=["nats_per_token"])


def test_another_protocol_is_refused_by_its_fields(out: Path, tmp_path: Path) -> None:
    evaluate("toy:unigram", "lm1b", data=demo.data(), out=tmp_path, context=256, limit=40)
    with pytest.raises(UsageError) as caught:
        read_results(out / "unigram").compare(read_results(tmp_path), tasks=["lm1b"])
    message = str(caught.value)
    assert message.startswith(f"lm1b: {tmp_path}/toy-unigram/lm1b/result.json has another protocol")
    for field in ("unit: word+eol@1173 and word+eol@795", "ctx: 512 and 256", "limit: (none) and"):
        assert field in message


@pytest.mark.parametrize(("version", "named"), [("|v:9.0", "9.0"), ("", r"\(none\)")])
def test_another_version_is_refused(
    out: Path, baseline: Results, tmp_path: Path, version: str, named: str
) -> None:
    """A signature without a version is damaged, and refused in the same way."""
    source = out / "better" / "text8" / "result.json"
    metric = store.read_result(source).primary
    other = replace(metric, signature=metric.signature.partition("|v:")[0] + version)
    second = changed(source, tmp_path / "m", metrics={"bpc": other})
    with pytest.raises(UsageError, match=f"is of gpt2eval {named}, .*; expected results of one v"):
        baseline.compare(second)


def test_other_data_is_refused(out: Path, baseline: Results, tmp_path: Path) -> None:
    source = out / "better" / "text8" / "result.json"
    data = replace(store.read_result(source).data, sha256="0" * 64)
    second = changed(source, tmp_path / "m", data=data)
    with pytest.raises(UsageError, match=r"text8: .* has other data than .*: SHA-256 00000000 and"):
        baseline.compare(second)


def test_other_records_are_refused(out: Path, baseline: Results, tmp_path: Path) -> None:
    (measured,) = read_measured(out / "better" / "lm1b")
    parts = list(measured.parts)
    moved = [replace(parts[0], units=parts[1].units), replace(parts[1], units=parts[0].units)]
    write(tmp_path / "moved", "moved", measured, [*moved, *parts[2:]], measured.independent)
    with pytest.raises(UsageError, match=r"do not divide the text alike: part 0 has \d+ and \d+"):
        baseline.compare(read_results(tmp_path / "moved"))
    merged = [Tally.total(parts[:2]), *parts[2:]]
    write(tmp_path / "merged", "merged", measured, merged, measured.independent)
    with pytest.raises(UsageError, match="do not divide the text alike: 59 and 60 parts"):
        baseline.compare(read_results(tmp_path / "merged"))
    numbered = Clusters("record", np.arange(60) // 2)
    write(tmp_path / "numbered", "numbered", measured, parts, numbered)
    with pytest.raises(UsageError, match="do not have the same records"):
        baseline.compare(read_results(tmp_path / "numbered"))


def test_results_without_records_are_refused(out: Path, tmp_path: Path) -> None:
    in_memory = evaluate("toy:unigram", "lm1b", data=demo.data(), context=512)
    stored = read_results(out / "unigram")
    with pytest.raises(UsageError, match=r"^lm1b, toy:unigram: its records are not on disk; expec"):
        stored.compare(in_memory)
    shutil.copytree(out / "better" / "lm1b", tmp_path / "lm1b")
    shutil.rmtree(tmp_path / "lm1b" / "journal")
    with pytest.raises(UsageError, match="its journal has no scores of its records; repeat its"):
        stored.compare(read_results(tmp_path))


def test_results_that_evaluate_wrote_can_be_compared(out: Path, tmp_path: Path) -> None:
    written = evaluate("toy:unigram", "lm1b", data=demo.data(), out=tmp_path, context=512)
    (duel,) = read_results(out / "unigram").compare(written).duels
    assert (duel.difference.ties, duel.difference.entries) == (60, 60)
    assert written[:1].paths == (tmp_path / "toy-unigram" / "lm1b" / "result.json",)


@pytest.mark.parametrize(
    ("others", "options", "expected"),
    [
        ([], {}, "models to compare: 1; expected two or more"),
        ([""], {}, r": results of 4 models \(.*, \.\.\.\); expected those of one, such as the fol"),
        (["words"], {"tasks": ["lm2b"]}, "unknown task 'lm2b'; did you mean 'lm1b'?"),
        (["words"], {"metrics": ["acs"]}, "unknown metric 'acs'; did you mean 'acc'?"),
        (["words"], {"margin": "3"}, r"--margin 3: '3'; expected a percentage such as 2%, points"),
        (["words"], {"margin": "ptb=1%"}, "unknown task 'ptb'; expected one of: lambada/no_filter"),
    ],
)
def test_errors(
    out: Path, baseline: Results, others: list[str], options: dict[str, str], expected: str
) -> None:
    with pytest.raises(UsageError, match=expected.replace("?", r"\?")) as caught:
        baseline.compare(*(read_results(out / name) for name in others), **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_results_of_two_revisions_are_no_model(
    out: Path, baseline: Results, tmp_path: Path
) -> None:
    for name in ("lm1b", "text8"):
        source = out / "better" / name / "result.json"
        model = replace(store.read_result(source).model, revision=f"r-{name}")
        changed(source, tmp_path / "two" / name, model=model)
    expected = "two: results of 2 revisions of better .lm1b of r-lm1b, text8 of r-text8.; expected"
    with pytest.raises(UsageError, match=expected):
        baseline.compare(read_results(tmp_path / "two"))
    found = baseline.compare(read_results(tmp_path / "two" / "lm1b"))
    assert [duel.title for duel in found.duels] == ["lm1b ppl"]


def test_no_task_in_common(out: Path, baseline: Results) -> None:
    with pytest.raises(UsageError, match="no task in common with the baseline: lambada/no_filter:"):
        baseline[:1].compare(read_results(out / "words" / "text8"))


def test_a_record_of_probability_0_is_left_out(out: Path, tmp_path: Path) -> None:
    (measured,) = read_measured(out / "better" / "lm1b")
    parts = [replace(measured.parts[0], nats=math.inf), *measured.parts[1:]]
    source = write(tmp_path, "zero", measured, [*measured.parts], measured.independent)
    kept = journal.of_folder(source / "journal")
    assert kept
    kept.files.write_tallies(parts)
    endless = replace(measured.result.metrics["ppl"], value=math.inf, interval=None)
    total = Tally.total(parts)
    metrics = {"ppl": endless}
    zero = changed(source / "result.json", tmp_path / "infinite", tally=total, metrics=metrics)
    with pytest.raises(UsageError, match="nothing to compare: lm1b ppl, zero: a record has a prob"):
        read_results(out / "unigram").compare(zero, tasks=["lm1b"])
    with pytest.raises(UsageError, match="lm1b ppl, toy:unigram: a record has a prob"):
        zero.compare(*(read_results(out / name) for name in ("unigram", "better")))


# -- text ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_terminal_of_any_width(several: Comparison, width: int) -> None:
    text = render(several, "terminal", width=width)
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.split())
    for label in several.labels[1:]:
        assert f"{label} against the baseline toy:unigram:" in words
    for duel in several.duels:
        assert duel.title in words
    assert "corrected for 12 tests" in words


def test_at_80_columns_the_verdict_is_in_the_first_block(out: Path, baseline: Results) -> None:
    found = baseline.compare(read_results(out / "better"), tasks=["lm1b", "text8"])
    first = render(found, "terminal", width=80).split("\n\n")[1]
    assert first.split("\n─")[0].split() == [
        *("p", "task", "baseline", "value", "change", "(Holm)", "verdict")
    ]


def test_signatures_are_below(compared: Comparison) -> None:
    for form in ("markdown", "latex"):
        lines = render(compared, form).splitlines()
        for duel in compared.duels:
            for model, cell in (("toy:unigram", duel.baseline), ("better", duel.other)):
                (line,) = (line for line in lines if line.endswith(cell.metric.signature))
                assert line.removeprefix("% ").startswith(f"{duel.title}, {model}: ")
    full = render(compared, "terminal", signatures=True, width=80)
    assert all(duel.other.metric.signature in full for duel in compared.duels)


def test_latex_compiles(several: Comparison, tmp_path: Path) -> None:
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("pdflatex is not installed")
    body = render(several, "latex")
    head = r"\documentclass{article}\usepackage{booktabs,adjustbox}\begin{document}"
    (tmp_path / "a.tex").write_text(f"{head}\n{body}\n\\end{{document}}\n", encoding="utf-8")
    command = [program, "-interaction=nonstopmode", "-halt-on-error", "a.tex"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def test_csv_and_json_have_full_precision(several: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(render(several, "csv"))))
    document = json.loads(render(several, "json"))
    assert len(rows) == len(document["duels"]) == 12
    assert document["models"] == [row.text() for row in several.models]
    for row, entry, duel in zip(rows, document["duels"], several.duels, strict=True):
        assert list(row) == [key for key in entry if not key.endswith("_reason")]
        assert float(row["difference"]) == entry["difference"] == duel.difference.difference
        assert entry["signature"] == row["signature"] == duel.other.metric.signature
        assert entry["clusters"] == duel.difference.resampled
        if duel.metric == "acc":
            expected = mcnemar(duel.difference.wins, duel.difference.losses)
            assert entry["mcnemar"] == expected
            assert entry["contested"] == duel.difference.wins + duel.difference.losses
    assert [ranking["task_metric"] for ranking in document["rankings"]][:1] == [
        "lambada/no_filter ppl"
    ]
    assert len(several.to_frame()) == 12


def test_namesakes_are_told_apart(out: Path, baseline: Results) -> None:
    found = baseline.compare(read_results(out / "unigram" / "toy-unigram" / "lm1b"))
    assert found.labels == ("toy:unigram", "toy:unigram (2)")
    assert "toy:unigram (2) against the baseline toy:unigram:" in render(found)


def test_printed_it_is_markdown_where_stdout_is_no_terminal(compared: Comparison) -> None:
    assert str(compared) == render(compared, "markdown")


# -- the scale of a metric -------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["ppl", "byte_ppl", "bpb", "bpc", "nats_per_token", "acc"])
def test_a_limit_is_the_change_that_it_allows(metric: str) -> None:
    scale = Scale(metric, 0.7)
    unit = scale.unit
    allowed = scale.difference(2.0, unit)
    assert scale.change(allowed) == pytest.approx(2.0)
    if metric == "acc":
        assert scale.difference(2.0, "%") == pytest.approx(0.014)


@pytest.mark.parametrize(
    ("text", "task", "metric", "expected"),
    [
        ("2%", "ptb", "ppl", "2 %"),
        ("2%", "lambada", "acc", "2 %"),
        ("2%,1pt", "lambada", "acc", "1 pt"),
        ("2%,1pt", "lambada", "ppl", "2 %"),
        ("2%,lambada=1pt", "lambada", "acc", "1 pt"),
        ("2%,lambada=1pt", "cbt_cn", "acc", "2 %"),
        ("2%,wikitext103/s32=.5%", "wikitext103/s32", "ppl", "0.5 %"),
        ("lambada=3%,1pt", "lambada", "acc", "3 %"),
        ("1pt", "ptb", "ppl", "None"),
    ],
)
def test_the_limit_of_a_metric(text: str, task: str, metric: str, expected: str) -> None:
    assert str(Limits.parse(text, "--max").of(task, metric)) == expected


@pytest.mark.parametrize("text", ["", "2", "2 percent", "-1%", "ptb=", "1%%", "nan%", "2%,3%"])
def test_a_limit_that_is_none(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--max "):
        Limits.parse(text, "--max")
