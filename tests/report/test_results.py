"""Result files: format, migrations, broken files, run records, results.csv, large folders."""

import copy
import csv
import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gpt2eval import Result, Results, UsageError, demo, evaluate, read_results
from gpt2eval.config.loader import load_suite
from gpt2eval.report import result_schema, store, tidy
from gpt2eval.report.migrations import FORMAT, migrate
from gpt2eval.report.table import render

ROOT = Path(__file__).parents[2]
OLD = ROOT / "tests" / "older_formats" / "result.format0.json"
TASKS = ["text8", "ptb", "lambada"]
SUITE = load_suite("gpt2-paper")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    evaluate("toy:unigram", TASKS, data=demo.data(), out=folder)
    return folder


def content(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


# -- format and migrations -------------------------------------------------------------------------


def test_a_result_reads_back(out: Path) -> None:
    results = evaluate("toy:unigram", TASKS, data=demo.data())
    assert {r.full_name: r for r in read_results(out)} == {r.full_name: r for r in results}


def test_a_file_states_its_format_and_its_metrics_by_name(out: Path) -> None:
    document = content(out / "toy-unigram" / "lambada" / "result.json")
    assert (next(iter(document)), document["format"]) == ("format", FORMAT)
    assert list(document["metrics"]) == ["ppl", "acc", "acc_unfiltered"]
    acc = document["metrics"]["acc"]
    assert list(acc) == [
        *("value", "interval", "unit", "units", "signature"),
        *("resampled", "resampled_units"),
    ]
    assert (len(acc["interval"]), acc["unit"], acc["units"]) == (2, "record", 60)
    assert (acc["resampled"], acc["resampled_units"]) == ("record", 60)
    assert set(document["model"]) == {
        *("name", "revision", "tokenizer", "dtype", "attn", "device", "batch"),
    }


def test_format_0_becomes_the_current_one() -> None:
    old = content(OLD)
    result = store.read_result(OLD)
    for name, value, low, high, unit, units in (entry["metric"] for entry in old["metrics"]):
        metric = result.metric(name)
        assert (metric.value, metric.interval, metric.unit) == (value, (low, high), unit)
        assert metric.units == units
    assert [m.signature for m in result.metrics.values()] == [
        m["signature"] for m in old["metrics"]
    ]
    assert (result.nll_sha256, result.model.weights) == (old["nll_sha256"], old["model"]["weights"])
    assert result.figure("ppl", "117M") == (35.13, "Radford et al. 2019, table 3")
    assert migrate(old)["format"] == FORMAT
    assert migrate(migrate(old)) == migrate(old)


def test_an_old_file_rewritten_is_a_current_one(tmp_path: Path) -> None:
    store.write_result(tmp_path, store.read_result(OLD))
    assert content(tmp_path / "result.json")["format"] == FORMAT
    assert store.read_result(tmp_path / "result.json") == store.read_result(OLD)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"format": 99}, "format 99; expected at most 3, or a newer gpt2eval"),
        ({"format": "one"}, "format 'one'; expected at most 3"),
        ({"metrics": {}}, "metrics: empty; expected at least one"),
        ({"tally": {}}, "tally.nats: missing; expected a count"),
        ({"tally": None}, "tally.nats: missing; expected a count"),
        ({"detokenizer": {"lines": 1}}, "detokenizer.changed: field required"),
        (
            {"metrics": {"ppl": {"value": "many"}}},
            "metrics.ppl.value: input should be a valid number",
        ),
        ({"model": {"name": "x"}}, "model.revision: "),
    ],
)
def test_a_file_at_fault_is_one_line(
    out: Path, tmp_path: Path, change: dict[str, Any], expected: str
) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(content(out / "toy-unigram" / "ptb" / "result.json") | change))
    with pytest.raises(UsageError) as caught:
        read_results(path)
    assert str(caught.value).startswith(f"{path}: not a result of gpt2eval: {expected}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", [("tally",), ("tally", "units"), ("detokenizer",)])
def test_a_missing_count_is_never_zero(out: Path, tmp_path: Path, place: tuple[str, ...]) -> None:
    for name in ("ptb", None):
        source = out / "toy-unigram" / name / "result.json" if name else OLD
        document = content(source)
        counts = document
        for key in place:
            counts = counts[key]
        for key in list(counts):
            value = counts.pop(key)
            (tmp_path / "result.json").write_text(json.dumps(document))
            with pytest.raises(UsageError, match=rf"{key}: "):
                read_results(tmp_path)
            counts[key] = value


# -- schema ----------------------------------------------------------------------------------------

DEMO = sorted((ROOT / "results" / "demo").rglob("result.json"))


def unknown_or_missing(document: Any, schema: Any, kinds: Any) -> list[str]:
    """The keys of a document that its schema does not name, and the required ones it lacks."""
    schema = kinds[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if isinstance(document, list):
        entries = [(entry, schema.get("items", {})) for entry in document]
        return [key for entry in entries for key in unknown_or_missing(*entry, kinds)]
    if not isinstance(document, dict):
        return []
    names = schema.get("properties", dict.fromkeys(document, schema.get("additionalProperties")))
    keys = [*(document.keys() - names.keys()), *({*schema.get("required", ())} - document.keys())]
    for key in document.keys() & names.keys():
        keys += unknown_or_missing(document[key], names[key], kinds)
    return keys


def test_the_schema_is_current() -> None:
    text = result_schema.SCHEMA.read_text(encoding="utf-8")
    assert text == result_schema.to_text(result_schema.result_schema()), (
        "run python -m gpt2eval.report.result_schema"
    )


@pytest.mark.parametrize("path", DEMO, ids=lambda path: path.parent.name)
def test_the_schema_names_every_key_of_a_result(path: Path) -> None:
    schema = content(result_schema.SCHEMA)
    assert unknown_or_missing(content(path), schema, schema["$defs"]) == []
    assert store.read_result(path).metrics


@pytest.mark.parametrize("path", DEMO, ids=lambda path: path.parent.name)
def test_a_result_is_valid_by_the_schema(path: Path) -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    schema = content(result_schema.SCHEMA)
    validator.check_schema(schema)
    assert [error.message for error in validator(schema).iter_errors(content(path))] == []


# -- broken files beside good ones -----------------------------------------------------------------


def test_a_broken_file_hides_no_result(
    out: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(out, tmp_path / "out")
    broken = tmp_path / "out" / "toy-unigram" / "broken" / "result.json"
    broken.parent.mkdir()
    broken.write_text("{")
    shutil.copy(OLD, tmp_path / "out" / "result.json")
    results = read_results(tmp_path / "out")
    assert len(results) == len(TASKS) + 1
    assert [message.partition(": ")[0] for message in caplog.messages] == [str(broken)]
    assert caplog.messages[0].endswith("skipped")
    with pytest.raises(UsageError, match="not a result of gpt2eval"):
        read_results(broken)


def test_evaluate_beside_a_broken_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = tmp_path / "old" / "result.json"
    broken.parent.mkdir()
    broken.write_text("[]")
    results = evaluate("toy:unigram", TASKS, data=demo.data(), out=tmp_path)
    assert len(results) == len(TASKS)
    assert [str(broken) in message for message in caplog.messages] == [True], "reported once"
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert {row["task"] for row in rows} == set(TASKS)
    assert broken.read_text() == "[]"


def test_no_results(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no result\.json; expected a file or folder"):
        read_results(tmp_path)
    assert not store.readable(tmp_path)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"signature": "junk:ptb"}, "not a signature"),
        ({"value": float("nan")}, "not a number"),
        ({"interval": [1.0, float("nan")]}, "not a number"),
    ],
)
def test_a_metric_that_no_table_can_show_is_refused(
    out: Path, tmp_path: Path, change: dict[str, Any], expected: str
) -> None:
    document = content(next(iter(sorted(out.rglob("result.json")))))
    document["metrics"][next(iter(document["metrics"]))] |= change
    (tmp_path / "result.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match=expected):
        read_results(tmp_path)


def test_a_negative_count_is_refused(out: Path, tmp_path: Path) -> None:
    document = content(next(iter(sorted(out.rglob("result.json")))))
    document["tally"]["units"]["words"] = -5
    (tmp_path / "result.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"tally\.units\.words: -5; expected 0 or more"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("model", "name"), "toy:unigran"),
        (("model", "revision"), "0"),
        (("data", "sha256"), "0" * 64),
        (("nll_sha256",), "0" * 64),
        (("sha256",), "0" * 64),
        (("sha256",), 5),
        (("added",), "by somebody"),
    ],
)
def test_a_result_that_was_changed_is_refused(
    out: Path, tmp_path: Path, place: tuple[str, ...], value: object
) -> None:
    document = content(out / "toy-unigram" / "ptb" / "result.json")
    path = tmp_path / "result.json"
    path.write_text(json.dumps(document, sort_keys=True))
    assert read_results(path), "white space and order mean nothing"
    path.write_text(json.dumps(changed(document, place, value)))
    with pytest.raises(UsageError, match="sha256: not that of the content") as error:
        read_results(path)
    assert str(path) in str(error.value)


def test_a_result_without_a_checksum_is_read(out: Path, tmp_path: Path) -> None:
    document = content(out / "toy-unigram" / "ptb" / "result.json")
    path = tmp_path / "result.json"
    path.write_text(json.dumps(changed(document, ("sha256",), MISSING)))
    assert read_results(path)[0] == store.read_result(out / "toy-unigram" / "ptb" / "result.json")


def test_two_measurements_of_one_name_get_two_rows(out: Path, tmp_path: Path) -> None:
    source = next(iter(sorted(out.rglob("result.json"))))
    for name in ("first", "copy", "other"):
        (tmp_path / name).mkdir()
        result = store.read_result(source)
        changes = {"nll_sha256": "0" * 64} if name == "other" else {}
        store.write_result(tmp_path / name, replace(result, **changes))
    rows = [line for line in str(read_results(tmp_path)).splitlines() if line.startswith("| toy:")]
    assert [row.split("|")[1].strip() for row in rows] == ["toy:unigram", "toy:unigram (2)"]


# -- run.json and results.csv ----------------------------------------------------------------------


def test_equal_work_gives_equal_bytes_and_a_run_record(out: Path, tmp_path: Path) -> None:
    evaluate("toy:unigram", TASKS, data=demo.data(), out=tmp_path)
    for task in TASKS:
        first, second = (place / "toy-unigram" / task for place in (out, tmp_path))
        assert (first / "result.json").read_bytes() == (second / "result.json").read_bytes()
        record = content(second / "run.json")
        assert list(record) == ["command", "start", "end", "machine", "versions"]
        assert record["start"] <= record["end"]
        assert record["start"].endswith("+00:00")
        assert record["command"] == f"evaluate('toy:unigram', '{task}')"
        assert set(record["machine"]) == {"platform", "processor", "cpus", "torch_threads"}
        assert {"gpt2eval", "python", "torch", "numpy"} <= set(record["versions"])


def test_the_command_line_is_recorded(tmp_path: Path, gpt2eval: Any) -> None:
    gpt2eval(
        "run", "--model", "toy:unigram", "--tasks", "text8", "--data", "demo", "--out", tmp_path
    )
    record = content(tmp_path / "toy-unigram" / "text8" / "run.json")
    assert record["command"].startswith("gpt2eval run --model toy:unigram --tasks text8")


def test_results_csv_has_the_rows_that_pandas_writes(out: Path) -> None:
    results = read_results(out)
    assert (out / "results.csv").read_text() == results.to_frame().to_csv(index=False)
    assert tidy.to_csv([row for result in results for row in tidy.tidy_rows(result)]) == (
        (out / "results.csv").read_bytes()
    )


def test_results_csv_follows_what_lies_in_the_folder(tmp_path: Path) -> None:
    def tasks() -> list[str]:
        rows = csv.DictReader((tmp_path / "results.csv").read_text().splitlines())
        return sorted({row["task"] for row in rows})

    evaluate("toy:unigram", ["text8", "ptb"], data=demo.data(), out=tmp_path)
    shutil.rmtree(tmp_path / "toy-unigram" / "ptb")
    (tmp_path / "old").mkdir()
    shutil.copy(OLD, tmp_path / "old" / "result.json")
    evaluate("toy:unigram", ["text8"], data=demo.data(), out=tmp_path)
    assert tasks() == ["lambada", "text8"]


def test_a_task_costs_little_beside_many_results(tmp_path: Path) -> None:
    """The figures for 1,000 results are in benchmarks/README.md; this is a coarse guard."""
    (tmp_path / "text").write_text("one\ntwo\nthree\n")
    evaluate("toy:uniform-bytes", texts=tmp_path / "text", out=tmp_path / "out")
    for number in range(300):
        folder = tmp_path / "out" / f"model-{number}" / "lambada"
        folder.mkdir(parents=True)
        shutil.copy(OLD, folder / "result.json")
    before = time.process_time()
    evaluate("toy:uniform-bytes", texts=tmp_path / "text", out=tmp_path / "out")
    assert time.process_time() - before < 2


# -- Results ---------------------------------------------------------------------------------------


def test_results_are_a_sequence_indexed_by_position_and_task(out: Path) -> None:
    results = read_results(out)
    assert len(results) == len(TASKS)
    assert isinstance(results[0], Result)
    assert results["ptb"].full_name == "ptb"
    assert isinstance(results[:2], Results)
    assert [*results[:2]] == [results[0], results[1]]
    assert ("ptb" in results, "nothing" in results, results[0] in results) == (True, False, True)
    with pytest.raises(UsageError, match="unknown task 'ptbb'; did you mean 'ptb'"):
        results["ptbb"]
    with pytest.raises(UsageError, match="ptb: 2 results; expected a position"):
        Results([*results, *results])["ptb"]


def test_results_as_table_frame_and_page(out: Path) -> None:
    results = read_results(out)
    assert str(results).splitlines()[0].startswith("| model")
    assert repr(results) == "<Results: lambada, ptb, text8>"
    frame = results.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert len(frame) == sum(len(result.metrics) for result in results)
    page = results._repr_html_()
    assert page.startswith("<table")
    assert "toy:unigram" in page
    assert (str(Results([])), Results([])._repr_html_()) == ("no results", "<p>no results</p>")


@pytest.mark.parametrize(("form", "interval"), [("markdown", "± 1.5"), ("latex", r"$\pm$ 1.5")])
def test_intervals_stand_beside_our_numbers_where_asked(
    out: Path, form: str, interval: str
) -> None:
    measured = read_results(out)["ptb"]
    metric = replace(measured.metrics["ppl"], value=20.0, interval=(18.5, 21.5))
    result = replace(measured, metrics={"ppl": metric})
    plain = render([result], SUITE, form)
    shown = render([result], SUITE, form, intervals=True)
    assert interval not in plain
    assert f"20.00! {interval}" in shown
    assert "published 117M" in shown
    assert shown.count(interval) == 1


@pytest.mark.parametrize(("name", "count"), [("text8 BPC", 1), ("text8", 2), ("TEXT8", 2)])
def test_an_exact_title_is_one_column_and_a_task_all_of_its_columns(
    out: Path, name: str, count: int
) -> None:
    measured = read_results(out)["text8"]
    head = render([measured, replace(measured, variant="s32")], SUITE, columns=[name])
    assert head.partition("\n")[0].count("text8 BPC") == count


def test_a_metric_by_name(out: Path) -> None:
    result = read_results(out)["lambada"]
    assert result.acc == result.metric("acc").value == result.metrics["acc"].value
    assert result.signature == result.metric("ppl").signature
    assert result.metric("acc").interval
    with pytest.raises(UsageError, match="unknown metric of lambada 'accc'; did you mean 'acc'"):
        result.metric("accc")
    with pytest.raises(
        AttributeError, match="lambada has no metric bpb; expected one of: ppl, acc"
    ):
        _ = result.bpb
    assert not hasattr(result, "bpc")


# -- formats 1 and 2, and every key of every format -----------------------------------------------

FORMAT_1 = ROOT / "tests" / "older_formats" / "result.format1.json"
FORMAT_2 = ROOT / "tests" / "older_formats" / "result.format2.json"


@pytest.mark.parametrize("file", [FORMAT_1, FORMAT_2], ids=lambda path: path.name)
def test_a_later_format_becomes_the_current_one(file: Path, tmp_path: Path) -> None:
    old = content(file)
    result = store.read_result(file)
    assert migrate(old)["format"] == FORMAT
    assert migrate(migrate(old)) == migrate(old)
    assert {name: metric.value for name, metric in result.metrics.items()} == {
        name: metric["value"] for name, metric in old["metrics"].items()
    }
    store.write_result(tmp_path, result)
    assert store.read_result(tmp_path / "result.json") == result
    new = content(tmp_path / "result.json")
    changed_keys = ("format", "tally", "metrics", "protocol")  # these gain fields
    assert old["protocol"].items() <= new["protocol"].items()
    gained = new["protocol"].keys() - old["protocol"].keys()
    assert all(new["protocol"][key] is None for key in gained)
    assert {key: new[key] for key in old if key not in changed_keys} == {
        key: value for key, value in old.items() if key not in changed_keys
    }
    for name, metric in old["metrics"].items():
        assert {key: new["metrics"][name][key] for key in metric} == metric
    assert {key: new["tally"][key] for key in old["tally"]} == old["tally"]


def paths(document: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every key and entry of a document."""
    entries: Any = ()
    if isinstance(document, dict):
        entries = document.items()
    elif isinstance(document, list):
        entries = enumerate(document)
    for key, value in entries:
        yield (*at, key)
        yield from paths(value, (*at, key))


MISSING = object()
MISTYPED = (None, "x", -1, 1.5, [], {}, "\x1b[31m|", 10**400, float("nan"), [[]])


def changed(document: Any, path: tuple[str | int, ...], value: object) -> Any:
    """The document with another value at a path, or without it."""
    document = copy.deepcopy(document)
    place = document
    for key in path[:-1]:
        place = place[key]
    if value is MISSING:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


def read_or_message(file: Path) -> Result | str:
    try:
        return store.read_result(file)
    except UsageError as error:
        return str(error)


@pytest.mark.parametrize("old", [OLD, FORMAT_1, FORMAT_2], ids=lambda path: path.name)
def test_a_mistyped_key_is_named_in_one_line_and_hides_nothing(old: Path, tmp_path: Path) -> None:
    """Each key of a result is left out or replaced; the file is read, or named with the key."""
    document = content(old)
    good = store.read_result(OLD)
    file = tmp_path / "result.json"
    messages: set[str] = set()
    for number, path in enumerate(paths(document)):
        for value in (MISSING, *MISTYPED[number % 5 :: 5]):
            file.write_text(json.dumps(changed(document, path, value)))
            read = read_or_message(file)
            if isinstance(read, Result):
                assert "\x1b" not in render([read, good], SUITE, mixed=True)
                continue
            messages.add(read)
            assert read.startswith(f"{file}: not a result of gpt2eval: ")
            assert "\n" not in read
            assert any(key in read for key in path if isinstance(key, str)), (path, value)
    assert len(messages) > 50


def test_a_table_beside_files_that_lack_a_key(out: Path, tmp_path: Path, gpt2eval: Any) -> None:
    shutil.copytree(out, tmp_path / "out")
    for path in (("model", "attn"), ("data", "sha256"), ("metrics",), ("tally", "units", "words")):
        broken = changed(content(OLD), path, MISSING)
        folder = tmp_path / "out" / "-".join(path)
        folder.mkdir()
        (folder / "result.json").write_text(json.dumps(broken))
    ended = gpt2eval("table", tmp_path / "out", "--mixed")
    assert ended.code == 0
    assert ended.out == gpt2eval("table", out, "--mixed").out
    lines = ended.err.splitlines()
    assert [re.split(r"[/:]", line)[-1].strip()[-7:] for line in lines] == ["skipped"] * 4
    for line, key in zip(
        lines, ("data.sha256", "metrics", "model.attn", "tally.units.words"), strict=True
    ):
        assert f"{key}: " in line


def test_a_model_whose_path_is_not_utf8_has_a_frame(out: Path) -> None:
    result = read_results(out)[0]
    named = replace(result, model=replace(result.model, name="runs/\udcff"))
    assert {*Results([named]).to_frame()["model"]} == {"runs/\\udcff"}


def test_a_limit_beyond_64_bits_is_refused(out: Path, tmp_path: Path) -> None:
    document = store.to_document(read_results(out)[0])
    document["protocol"]["limit"] = 10**30
    (tmp_path / "result.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"protocol\.limit"):
        read_results(tmp_path)
