"""Records of Every Eval Ever: its own package accepts them, and they hold our numbers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpt2eval.errors import UsageError
from gpt2eval.metrics.result import Result
from gpt2eval.report.every_eval_ever import Source, write_records
from gpt2eval.report.run_record import date_of
from gpt2eval.report.store import read_results

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "smollm2-135m-instruct-q4_1"
DEMO = ROOT / "results" / "demo"
DATE = "2026-01-02T03:04:05+00:00"


@pytest.fixture(scope="module")
def results() -> list[Result]:
    """All committed results of a real model, and of the demo model, under one model's name."""
    model = replace(next(iter(read_results(REFERENCE))).model, name="org/mine", label="")
    return [
        replace(result, model=model)
        for place in (REFERENCE, DEMO)
        for result in read_results(place)
    ]


def written(folder: Path, results: list[Result], **arguments: Any) -> dict[str, Any]:
    (path,) = write_records(folder, results, [DATE] * len(results), **arguments)
    return json.loads(path.read_bytes())


def test_its_own_package_accepts_every_record(tmp_path: Path, results: list[Result]) -> None:
    core = pytest.importorskip(
        "every_eval_ever.validator.validation_core",
        reason="needs the package every-eval-ever (Python 3.12 or newer)",
    )
    (path,) = write_records(tmp_path, results, [DATE] * len(results))
    repository_path = path.relative_to(tmp_path).as_posix()
    known: dict[str, Any] = {
        "repo_path": repository_path,
        "available_files": {repository_path},
        "run_semantic_checks": True,
    }
    report = core.validate_file(path, **known)
    assert (report.valid, report.errors, report.warnings) == (True, [], [])
    path.write_text(path.read_text().replace('"continuous"', '"unheard"'))
    assert not core.validate_file(path, **known).valid, "the validator can fail"


def test_every_number_is_there_with_interval_and_signature(
    tmp_path: Path, results: list[Result]
) -> None:
    record = written(tmp_path, results)
    entries = record["evaluation_results"]
    metrics = [(result, metric) for result in results for metric in result.metrics.values()]
    assert len(entries) == len(metrics)
    for entry, (result, metric) in zip(entries, metrics, strict=True):
        assert entry["evaluation_name"] == result.full_name
        assert entry["score_details"]["score"] == metric.value
        assert entry["score_details"]["details"]["signature"] == metric.signature
        assert entry["metric_config"]["lower_is_better"] is not metric.name.startswith("acc")
        interval = entry["score_details"].get("uncertainty", {}).get("confidence_interval")
        assert (interval is None) == (metric.interval is None)
        if interval and metric.interval:
            assert (interval["lower"], interval["upper"]) == metric.interval
    assert record["schema_version"] == "0.3.0"
    assert record["evaluation_timestamp"] == "1767323045"


def test_only_published_data_are_named_like_a_data_set(
    tmp_path: Path, results: list[Result]
) -> None:
    for entry in written(tmp_path, results)["evaluation_results"]:
        published = entry["source_data"]["additional_details"]["published"] == "true"
        assert (entry["source_data"]["source_type"] == "hf_dataset") == published


def test_equal_results_give_an_equal_file(tmp_path: Path, results: list[Result]) -> None:
    first = write_records(tmp_path / "a", results, [DATE] * len(results))
    second = write_records(tmp_path / "b", results, [DATE] * len(results))
    assert [path.name for path in first] == [path.name for path in second]
    assert first[0].read_bytes() == second[0].read_bytes()
    assert first[0].parent == tmp_path / "a" / "data" / "gpt2eval" / "org" / "mine"


def test_the_source_is_stated(tmp_path: Path, results: list[Result]) -> None:
    record = written(tmp_path, results, source=Source("Mine", "first_party"))
    assert record["source_metadata"]["source_organization_name"] == "Mine"
    assert record["source_metadata"]["evaluator_relationship"] == "first_party"
    with pytest.raises(UsageError, match="unknown relationship 'owner'"):
        written(tmp_path, results, source=Source("Mine", "owner"))


@pytest.mark.parametrize("name", ["gpt2", "../x", "a/..", "a/b/c", "a b/c", "toy:unigram"])
def test_a_model_needs_an_id(tmp_path: Path, results: list[Result], name: str) -> None:
    unnamed = [replace(results[0], model=replace(results[0].model, name=name))]
    with pytest.raises(UsageError, match="expected --model-id"):
        write_records(tmp_path, unnamed, [DATE])
    with pytest.raises(UsageError, match="expected --model-id"):
        write_records(tmp_path, results[:1], [DATE], model_id=name)
    assert not [*tmp_path.iterdir()]


def test_one_id_is_not_for_several_models(tmp_path: Path, results: list[Result]) -> None:
    other = replace(results[1], model=replace(results[1].model, name="org/other"))
    with pytest.raises(UsageError, match="several models"):
        write_records(tmp_path, [results[0], other], [DATE, DATE], model_id="a/b")
    assert len(write_records(tmp_path, [results[0], other], [DATE, DATE])) == 2


def test_the_date_comes_from_the_run(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    assert date_of(path) == ""
    for content, date in (
        (f'{{"end": "{DATE}"}}', DATE),
        ("{}", ""),
        ('{"end": "x"}', ""),
        ("[", ""),
    ):
        (tmp_path / "run.json").write_text(content)
        assert date_of(path) == date
