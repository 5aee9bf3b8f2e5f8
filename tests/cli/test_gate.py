"""`gpt2eval gate`: planted regressions, limits, the baseline's file, the summary, JSON."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run
from planted import plant, records, worse, write

from gpt2eval import demo, evaluate, read_results
from gpt2eval.report.comparison.scale import Limits
from gpt2eval.report.gate.baseline import read_baseline, write_baseline
from gpt2eval.report.gate.judge import judge
from gpt2eval.report.measured import read_measured
from gpt2eval.scoring import journal
from gpt2eval.types import Tally


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model on 600 records and on one text, and models that are worse than it."""
    folder = tmp_path_factory.mktemp("out")
    evaluate("toy:unigram", ["lm1b", "text8"], data=demo.data(), out=folder / "run")
    lm1b, text8 = read_measured(folder / "run")
    write(folder, "base", lm1b, records(600), lm1b.independent)
    write(folder, "base", text8, [*text8.parts], text8.independent)
    for name, share, noise in (("two_and_a_half", 0.025, 0.03), ("one_and_a_half", 0.015, 0.03)):
        plant(folder / "base" / "lm1b", folder, name, worse(share, noise))
    plant(folder / "base" / "lm1b", folder, "unclear", worse(0.02, 2.0))
    plant(folder / "base", folder, "equal", lambda number, part: part)
    write_baseline(folder / "baseline.json", read_measured(folder / "base"))
    return folder


@pytest.fixture
def gate(out: Path, gpt2eval: Run) -> Callable[..., Any]:
    """Judge a model by the baseline in lm1b only."""

    def run(name: str, *options: str | Path) -> Any:
        places = (out / name, "--baseline", out / "baseline.json", "--tasks", "lm1b")
        return gpt2eval("gate", *places, *options)

    return run


# -- verdicts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code", "status"),
    [
        ("two_and_a_half", 1, "regressed"),
        ("one_and_a_half", 0, "within"),
        ("unclear", 0, "investigate"),
        ("equal", 0, "within"),
    ],
)
def test_planted_regressions(gate: Callable[..., Any], name: str, code: int, status: str) -> None:
    ended = gate(name, "--max", "2%")
    assert (ended.code, ended.out.splitlines()[0]) == (code, f"gate: {status}")
    assert ("the data cannot tell" in ended.err) == (status == "investigate")
    assert f"| {status} |" in re.sub(" +", " ", ended.out)
    assert gate(name, "--strict").code == (1 if status == "investigate" else code)


@pytest.mark.parametrize("seed", range(6))
def test_a_regression_is_seen_and_a_smaller_one_is_not(out: Path, seed: int) -> None:
    """Whatever the noise: 2.5 % never passes, and 1.5 % never fails, at a limit of 2 %."""
    found = {}
    for share in (0.025, 0.015):
        plant(out / "base" / "lm1b", out / f"seed{seed}", str(share), worse(share, 0.2, seed))
        results = read_results(out / f"seed{seed}" / str(share))
        baseline = read_baseline(out / "baseline.json")
        found[share] = judge(results, baseline, Limits.parse("2%", "--max"), tasks=["lm1b"]).status
    assert found[0.025] != "within"
    assert found[0.015] != "regressed"


def test_a_better_model_is_within(out: Path, gate: Callable[..., Any]) -> None:
    plant(out / "base" / "lm1b", out, "improved", worse(-0.2, 0.1))
    assert gate("improved", "--max", "0%").code == 0


def test_a_single_record(out: Path, gate: Callable[..., Any]) -> None:
    def one_bad(number: int, part: Tally) -> Tally:
        return replace(part, nats=part.nats + 1.5 * part.units.words * (number == 7))

    plant(out / "base" / "lm1b", out, "one_bad", one_bad)
    assert gate("one_bad").code == 0
    assert gate("one_bad", "--max-record", "1.6").code == 0
    ended = gate("one_bad", "--max-record", "1.4")
    assert ended.code == 1
    assert "+1.500 in record 7" in ended.out
    assert "lm1b ppl: regressed: a record's loss grew by more than 1.4 nats per unit" in ended.out


def test_an_infinite_loss_is_a_regression(out: Path, gate: Callable[..., Any]) -> None:
    (measured,) = read_measured(out / "base" / "lm1b")
    source = write(out, "endless", measured, [*measured.parts], measured.independent)
    document = json.loads((source / "result.json").read_text())
    del document["sha256"]
    document["tally"] |= {"nats": None, "nats_reason": "infinite"}
    for metric in document["metrics"].values():
        metric |= {"value": None, "value_reason": "infinite", "interval": None}
    (source / "result.json").write_text(json.dumps(document))
    kept = journal.of_folder(source / "journal")
    assert kept
    kept.files.write_tallies([replace(measured.parts[0], nats=np.inf), *measured.parts[1:]])
    ended = gate("endless")
    assert (ended.code, ended.out.splitlines()[0]) == (1, "gate: regressed")
    assert "infinite" in ended.out


def test_few_clusters_are_to_be_investigated(tmp_path: Path, gpt2eval: Run) -> None:
    evaluate("toy:unigram", "wikitext2", data=demo.data(), out=tmp_path / "run", limit=60)
    plant(tmp_path / "run", tmp_path, "worse", worse(0.5, 0.1))
    baseline = tmp_path / "baseline.json"
    assert gpt2eval("gate", tmp_path / "run", "--baseline", baseline, "--update").code == 0
    ended = gpt2eval("gate", tmp_path / "worse", "--baseline", baseline)
    assert ended.code == 0
    assert re.search(r"wikitext2 ppl: investigate: \d articles?; no interval can be", ended.out)
    assert gpt2eval("gate", tmp_path / "run", "--baseline", baseline, "--strict").code == 0, "equal"


def test_accuracies_are_judged_in_points(tmp_path: Path, gpt2eval: Run) -> None:
    evaluate("toy:unigram", "lambada/no_filter", data=demo.data(), out=tmp_path / "run")
    (measured,) = read_measured(tmp_path / "run")
    parts = records(600)
    write(tmp_path, "base", measured, parts, measured.independent)
    forgotten = [replace(p, correct=p.correct * (n % 20 != 1)) for n, p in enumerate(parts)]
    write(tmp_path, "less", measured, forgotten, measured.independent)
    baseline = tmp_path / "baseline.json"
    gpt2eval("gate", tmp_path / "base", "--baseline", baseline, "--update")
    codes = {
        limits: gpt2eval("gate", tmp_path / "less", "--baseline", baseline, "--max", limits).code
        for limits in (
            "2%,8pt",
            "2%,2pt",
            "2%,lambada/no_filter=8pt",
            "2%",
            "2%,lambada/no_filter=2%",
        )
    }
    assert [*codes.values()] == [0, 1, 0, 1, 1], "5 points fewer, which are 10 %"
    ended = gpt2eval("gate", tmp_path / "less", "--baseline", baseline, "--metrics", "acc")
    assert "MDE80: smallest change" in ended.out
    assert "worst record" not in ended.out, "an accuracy has none"
    ended = gpt2eval("gate", tmp_path / "less", "--baseline", baseline, "--max", "3pt")
    assert ended.code == 2
    assert "lambada/no_filter ppl: no limit; expected one in --max, such as" in ended.err


# -- the baseline ----------------------------------------------------------------------------------


def test_a_baseline_reads_back(out: Path) -> None:
    measured = {m.result.full_name: m for m in read_measured(out / "base")}
    recorded = read_baseline(out / "baseline.json")
    assert [entry.result.full_name for entry in recorded] == ["lm1b", "text8"]
    for entry in recorded:
        expected = measured[entry.result.full_name]
        assert entry.result == expected.result
        assert [*entry.parts] == [*expected.parts]
        assert entry.independent.arrays().keys() == expected.independent.arrays().keys()
        for name, array in entry.independent.arrays().items():
            assert np.array_equal(array, expected.independent.arrays()[name])


def test_a_baseline_has_a_column_per_line(out: Path) -> None:
    lines = (out / "baseline.json").read_text().splitlines()
    (nats, _) = (line for line in lines if line.strip().startswith('"nats": ['))
    assert nats.count(",") == 600
    assert len(lines) < 400
    assert '     "records": 1,' in lines, "a column of equal numbers is one number"


def test_articles_and_text_that_looks_like_numbers_read_back(tmp_path: Path) -> None:
    evaluate("toy:unigram", "wikitext2", data=demo.data(), out=tmp_path / "run", limit=60)
    (measured,) = read_measured(tmp_path / "run")
    assert measured.independent.numbers is not None
    odd = replace(measured.result, title='[\n 1\n ] "[ 2 ]"')
    write_baseline(tmp_path / "b.json", [replace(measured, result=odd)])
    (recorded,) = read_baseline(tmp_path / "b.json")
    assert recorded.result == odd
    assert np.array_equal(recorded.independent.numbers, measured.independent.numbers)  # type: ignore[arg-type]


def broken(change: Callable[[Any], object]) -> Callable[[Path], str]:
    def text(path: Path) -> str:
        document = json.loads(path.read_text())
        change(document)
        return json.dumps(document)

    return text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (lambda path: "{", "not a baseline of gpt2eval: Expecting property name"),
        (lambda path: "[]", "expected a JSON object with the kind 'gpt2eval baseline'"),
        (broken(lambda d: d.update(kind="x")), "expected a JSON object with the kind"),
        (broken(lambda d: d.update(format=2)), "format 2; expected 1"),
        (broken(lambda d: d.update(more=1)), "more: extra inputs are not permitted"),
        (broken(lambda d: d.update(results=[])), "results: empty; expected at least one"),
        (
            broken(lambda d: d["results"][0]["columns"]["nats"].pop()),
            "lm1b: nats: 599 numbers; expected 600",
        ),
        (
            broken(lambda d: d["results"][0]["columns"].pop("tokens")),
            "lm1b: columns nats, records, ",
        ),
        (
            broken(lambda d: d["results"][0]["columns"].update(correct=-1)),
            "lm1b: correct: expected whole numbers of 0 or more",
        ),
        (
            broken(lambda d: d["results"][0]["columns"].update(correct=1)),
            "lm1b: its records do not add up to its result",
        ),
        (
            broken(lambda d: d["results"][0]["independent"].update(numbers=[0, 1])),
            "lm1b: independent.numbers: expected 600 numbers that do not decrease",
        ),
        (
            broken(lambda d: d["results"][0]["independent"].update(numbers=[2**70])),
            "results.0.independent.numbers.0: input should be less than 9223372036854775808",
        ),
        (
            broken(lambda d: d["results"].append(d["results"][0])),
            "several results of lm1b; expected one of each task",
        ),
        (
            broken(lambda d: d["results"][0]["result"]["model"].update(name="x")),
            "results of 2 models; expected those of one",
        ),
        (
            broken(lambda d: d["results"][0]["result"].pop("tally")),
            "tally.nats: missing; expected a count",
        ),
        (
            broken(lambda d: d["results"][0]["result"].update(format=99)),
            "format 99; expected at most",
        ),
    ],
)
def test_a_broken_baseline_is_one_line(
    out: Path, tmp_path: Path, gpt2eval: Run, text: Callable[[Path], str], expected: str
) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text(out / "baseline.json"))
    ended = gpt2eval("gate", out / "base", "--baseline", path)
    assert ended.code == 2
    assert ended.err.startswith(f"gpt2eval: {path}: not a baseline of gpt2eval: ")
    assert expected in ended.err
    assert ended.err.count("\n") == 1
    before = path.read_bytes()
    assert gpt2eval("gate", out / "base", "--baseline", path, "--update").code == 2
    assert path.read_bytes() == before, "--update overwrites baselines only"


def test_update_writes_and_says_what_is_gone(out: Path, tmp_path: Path, gpt2eval: Run) -> None:
    path = tmp_path / "new" / "baseline.json"
    ended = gpt2eval("gate", out / "base", "--baseline", path, "--update")
    assert (ended.code, ended.out) == (0, f"wrote {path}: base, lm1b, text8\n")
    assert path.read_bytes() == (out / "baseline.json").read_bytes()
    ended = gpt2eval("gate", out / "base", "--baseline", path, "--update", "--tasks", "text8")
    assert (ended.code, ended.err) == (0, f"gpt2eval: {path}: no longer holds lm1b\n")


def test_user_errors(out: Path, tmp_path: Path, gpt2eval: Run) -> None:
    baseline = out / "baseline.json"
    for arguments, expected in (
        ((out / "base", "--baseline", tmp_path / "none.json"), "no such file; expected a baseline"),
        ((out / "base",), "Missing option '--baseline'"),
        ((out, "--baseline", baseline), "expected those of one, such as the folder of a model"),
        ((out / "unclear", "--baseline", baseline), "has text8, which the results lack; expected"),
        ((out / "base", "--baseline", baseline, "--max", "two"), "--max two: 'two'; expected a"),
        (
            (out / "base", "--baseline", baseline, "--max", "2%,lm1b=1pt"),
            "lm1b=1 pt: lm1b has no accuracy; expected a percentage",
        ),
        ((out / "base", "--baseline", baseline, "--max-record", "nan"), "--max-record nan: expect"),
        ((out / "base", "--baseline", baseline, "--tasks", "ptb"), "unknown task 'ptb'"),
        ((out / "base", "--baseline", baseline, "--metrics", "ppl,acc"), "unknown metric 'acc'"),
        ((out / "base", "--baseline", baseline, "--format", "csv"), "unknown format 'csv'"),
        (
            (out / "base", "--baseline", baseline, "--summary", tmp_path),
            f"--summary {tmp_path}: cannot be written: Is a directory",
        ),
    ):
        ended = gpt2eval("gate", *arguments)
        assert (ended.code, ended.err.count("\n")) == (2, 1), ended.err
        assert expected in ended.err


def test_another_protocol_is_an_error(tmp_path: Path, gpt2eval: Run) -> None:
    for context in (256, 512):
        folder = tmp_path / str(context)
        evaluate("toy:unigram", "text8", data=demo.data(), out=folder, context=context)
    baseline = tmp_path / "baseline.json"
    gpt2eval("gate", tmp_path / "256", "--baseline", baseline, "--update")
    ended = gpt2eval("gate", tmp_path / "512", "--baseline", baseline)
    assert ended.code == 2
    assert "ctx: 256 and 512; stride: 256 and 512; expected results of one protocol" in ended.err
    assert "--update writes a new baseline" in ended.err


# -- text ------------------------------------------------------------------------------------------


def test_the_summary_is_appended(out: Path, tmp_path: Path, gate: Callable[..., Any]) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n\n")
    gate("two_and_a_half", "--summary", path, "--format", "json")
    gate("equal", "--summary", path)
    text = path.read_text()
    assert text.startswith("before\n\n### gpt2eval gate: regressed\n\n")
    assert text.count("### gpt2eval gate: within\n\n") == 1
    assert text.count("<details><summary>Signatures</summary>\n\n```text\n") == 2
    assert "\n| lm1b ppl | regressed | " in re.sub(" +", " ", text)


def test_json_has_full_precision(gate: Callable[..., Any]) -> None:
    document = json.loads(gate("two_and_a_half", "--format", "json").out)
    assert (document["status"], document["not_judged"]) == ("regressed", [])
    (check,) = document["checks"]
    assert (check["verdict"], check["limit_of_change"], check["limit_unit"]) == (
        "regressed",
        2,
        "%",
    )
    assert check["change_low"] > 2
    assert check["worst_increase"] > 0


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_terminal_of_any_width(
    gate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = gate("unclear", "--format", "terminal").out.splitlines()
    assert lines[0] == "gate: investigate"
    assert max(map(len, lines)) <= width
    head = next(line for line in lines if line.startswith("task"))
    assert head.split() == ["task", "verdict", "change", "limit", "baseline", "value"]


def test_a_task_that_the_baseline_lacks_is_named(out: Path, tmp_path: Path, gpt2eval: Run) -> None:
    path = tmp_path / "baseline.json"
    write_baseline(path, read_measured(out / "base" / "text8"))
    ended = gpt2eval("gate", out / "equal", "--baseline", path)
    assert ended.code == 0
    assert "lm1b: not in the baseline, not judged" in ended.out
