"""Grouped texts: subfolders and columns, equal scores with and without groups, files, errors."""

import csv
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from conftest import Run
from pyarrow import parquet

from gpt2eval import evaluate
from gpt2eval.data import custom
from gpt2eval.errors import UsageError
from gpt2eval.metrics.result import Result
from gpt2eval.report.results import Results
from gpt2eval.report.store import read_results

UNIFORM = "toy:uniform-bytes"
TOY = "toy:unigram"
GROUPS = {"news": 3, "code": 2, "books": 4}


def text(group: str, number: int) -> str:
    return f"{group} {number} " + "wörter und mehr " * (number + 2) + "\n"


def folder(path: Path, sizes: dict[str, int] = GROUPS) -> Path:
    for group, count in sizes.items():
        for number in range(count):
            # Deeper folders belong to the first subfolder.
            inner = path / group / "deep" if number % 2 else path / group
            inner.mkdir(parents=True, exist_ok=True)
            (inner / f"{number}.txt").write_text(text(group, number), encoding="utf-8")
    return path


def rows(sizes: dict[str, int] = GROUPS) -> list[dict[str, Any]]:
    return [
        {"text": text(group, number), "site": group, "n": number}
        for group, count in sizes.items()
        for number in range(count)
    ]


def jsonl(path: Path, content: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    return path


def one(text: custom.Text, model: str = UNIFORM, **arguments: Any) -> Result:
    (result,) = evaluate(model, texts=[text], **arguments)
    return result


def values(result: Result, metric: str) -> dict[str, float]:
    assert result.groups
    return {group.name: group.metrics[metric].value for group in result.groups.rows}


# -- where groups come from ------------------------------------------------------------------------


def test_uniform_bytes_have_eight_bits_per_byte_in_every_group(tmp_path: Path) -> None:
    result = one(custom.load_text(folder(tmp_path / "d")))
    assert result.groups
    assert result.groups.by == "folder"
    assert values(result, "bpb") == pytest.approx(dict.fromkeys(sorted(GROUPS), 8.0), rel=1e-14)
    assert result.groups.macro["bpb"].value == pytest.approx(8, rel=1e-14)
    assert result.groups.micro["bpb"].value == pytest.approx(8, rel=1e-14)
    for group in result.groups.rows:
        size = sum(len(text(group.name, n).encode()) for n in range(GROUPS[group.name]))
        words = sum(len(text(group.name, n).split()) for n in range(GROUPS[group.name]))
        assert group.bits == pytest.approx(8 * size, rel=1e-14)
        assert (group.tally.units.bytes, group.tally.records) == (size, GROUPS[group.name])
        assert group.metrics["ppl"].value == pytest.approx(256 ** (size / words), rel=1e-12)


def test_every_way_to_state_groups_gives_the_same_groups(tmp_path: Path) -> None:
    lines = jsonl(tmp_path / "a.jsonl", rows())
    nested = jsonl(tmp_path / "n.jsonl", [{"text": r["text"], "meta": r} for r in rows()])
    table = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows()), table)
    results = [
        one(custom.load_text(folder(tmp_path / "d")), TOY),
        one(custom.load_text(f"{lines}:text", group="site"), TOY),
        one(custom.load_text(f"{nested}:text", group="meta.site"), TOY),
        one(custom.load_text(f"{table}:text", group="site"), TOY),
        one(custom.load_text(f"parquet:text:{table}", group="site"), TOY),
    ]
    found = [result.groups for result in results]
    assert all(found)
    first = found[0]
    assert first
    for groups in found[1:]:
        assert groups
        assert [group.name for group in groups.rows] == [group.name for group in first.rows]
        for group, other in zip(groups.rows, first.rows, strict=True):
            assert group.tally.units == other.tally.units
            assert group.tally.nats == pytest.approx(other.tally.nats, rel=1e-6)
    assert found[1] is not None
    assert found[1].by == "column site"


def test_whole_numbers_are_groups_and_the_text_itself_may_be_one(tmp_path: Path) -> None:
    lines = jsonl(tmp_path / "a.jsonl", [{"text": "a b", "year": year} for year in (1, 2, 1)])
    result = one(custom.load_text(f"{lines}:text", group="year"))
    assert result.groups
    assert {group.name: group.tally.records for group in result.groups.rows} == {"1": 2, "2": 1}
    table = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([{"text": "a"}, {"text": "b c"}]), table)
    result = one(custom.load_text(f"{table}:text", group="text"))
    assert result.groups
    assert [group.name for group in result.groups.rows] == ["a", "b c"]


def test_files_beside_the_subfolders_are_a_group_named_dot(tmp_path: Path) -> None:
    place = folder(tmp_path / "d")
    (place / "top.txt").write_text("oben\n", encoding="utf-8")
    result = one(custom.load_text(place))
    assert result.groups
    assert [group.name for group in result.groups.rows] == [".", "books", "code", "news"]
    assert result.groups.group(".").tally.records == 1


def test_a_folder_without_subfolders_has_no_groups(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("a b\n", encoding="utf-8")
    assert custom.load_text(tmp_path).grouping is None
    assert one(custom.load_text(tmp_path)).groups is None


def test_a_single_document_is_a_group(tmp_path: Path) -> None:
    words = "\n".join(f"wort{n * n % 17} " * (n % 5 + 3) for n in range(400))
    lines = jsonl(tmp_path / "a.jsonl", [{"text": words, "g": "x"}])
    result = one(custom.load_text(f"{lines}:text", group="g"), "toy:unigram")
    assert result.groups
    assert result.groups.rows[0].metrics["ppl"] == result.groups.micro["ppl"]
    assert result.groups.macro["ppl"].interval == result.primary.interval
    assert result.primary.interval


TASK = """\
title: Mine
citation: me
licence: MIT
version: 1
source: {file: {name: mine.jsonl}}
format: documents
ask: everything
group: site
unit: word
metrics: [ppl, bpb]
"""


def test_a_task_file_names_the_key_of_groups(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.yaml").write_text(TASK, encoding="utf-8")
    lines = jsonl(tmp_path / "mine.jsonl", rows())
    arguments: dict[str, Any] = {"data": {"mine": lines}, "include": [tmp_path]}
    (grouped,) = evaluate(TOY, ["mine"], **arguments)
    by_text = one(custom.load_text(f"{lines}:text", group="site"), TOY)
    assert grouped.groups
    assert by_text.groups
    assert [(group.name, group.tally) for group in grouped.groups.rows] == [
        (group.name, group.tally) for group in by_text.groups.rows
    ]
    plain = TASK.replace("group: site\n", "")
    (tmp_path / "tasks" / "mine.yaml").write_text(plain, encoding="utf-8")
    (alone,) = evaluate(TOY, ["mine"], **arguments)
    assert alone.groups is None
    assert (alone.metrics, alone.nll_sha256, alone.data) == (
        grouped.metrics,
        grouped.nll_sha256,
        grouped.data,
    )


# -- what groups do not change ---------------------------------------------------------------------


def test_groups_change_no_score_hash_name_or_signature(tmp_path: Path) -> None:
    lines = jsonl(tmp_path / "a.jsonl", rows())
    plain = one(custom.load_text(f"{lines}:text"), TOY)
    for group in ("site", "n"):
        grouped = one(custom.load_text(f"{lines}:text", group=group), TOY)
        assert grouped.groups
        assert (grouped.full_name, grouped.metrics, grouped.nll_sha256, grouped.data) == (
            plain.full_name,
            plain.metrics,
            plain.nll_sha256,
            plain.data,
        )
    flat = tmp_path / "flat"
    flat.mkdir()
    deep = folder(tmp_path / "d")
    for number, file in enumerate(sorted(deep.rglob("*.txt"))):
        (flat / f"{number:03}.txt").write_bytes(file.read_bytes())
    results = [one(custom.load_text(place), TOY) for place in (flat, deep)]
    assert results[0].data.sha256 == results[1].data.sha256
    assert results[0].nll_sha256 == results[1].nll_sha256
    assert results[0].groups is None


def test_the_order_of_lines_changes_no_group(tmp_path: Path) -> None:
    content = rows()
    found = []
    for name, ordered in (("a", content), ("b", content[::-1])):
        lines = jsonl(tmp_path / f"{name}.jsonl", ordered)
        result = one(custom.load_text(f"{lines}:text", group="site"), TOY)
        assert result.groups
        found.append(result.groups)
    for first, second in zip(found[0].rows, found[1].rows, strict=True):
        assert (first.name, first.tally.units) == (second.name, second.tally.units)
        assert first.tally.nats == pytest.approx(second.tally.nats, rel=1e-6)


def test_a_limit_keeps_the_groups_of_the_first_documents(tmp_path: Path) -> None:
    lines = jsonl(tmp_path / "a.jsonl", rows())
    result = one(custom.load_text(f"{lines}:text", group="site"), limit=4)
    assert result.groups
    assert {g.name: g.tally.records for g in result.groups.rows} == {"news": 3, "code": 1}


# -- files -----------------------------------------------------------------------------------------


def test_files_hold_the_groups_and_add_up(tmp_path: Path) -> None:
    lines = jsonl(tmp_path / "a.jsonl", rows())
    out = tmp_path / "out"
    result = one(custom.load_text(f"{lines}:text", group="site"), TOY, out=out)
    (path,) = out.rglob("groups.csv")
    table = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    kinds = {kind: [row for row in table if row["kind"] == kind] for kind in ("group", "micro")}
    assert [row["group"] for row in kinds["group"]] == sorted(GROUPS)
    (micro,) = kinds["micro"]
    for name in ("documents", "words", "lines", "bytes", "chars", "tokens"):
        assert sum(int(row[name]) for row in kinds["group"]) == int(micro[name])
    for name in ("nats", "bits"):
        total = math.fsum(float(row[name]) for row in kinds["group"])
        assert total == pytest.approx(float(micro[name]), rel=1e-14)
    assert float(micro["nats"]) == result.tally.nats
    assert float(micro["ppl"]) == result.ppl
    documents = path.with_name("documents.csv").read_text(encoding="utf-8").splitlines()
    assert [row["group"] for row in csv.DictReader(documents)] == [row["site"] for row in rows()]
    assert read_results(out)[0] == result
    frame = read_results(out).groups()
    assert list(frame["kind"]) == ["group"] * 3 + ["micro", "macro"]
    assert sum(frame["bytes"].dropna().tolist()) == 2 * result.tally.units.bytes
    assert frame["bpb"].tolist()[:3] == list(values(result, "bpb").values())


def test_another_grouping_replaces_the_files_and_scores_nothing(tmp_path: Path) -> None:
    lines = jsonl(tmp_path / "a.jsonl", rows())
    out = tmp_path / "out"
    for group, by in (("site", "column site"), ("n", "column n"), (None, None)):
        result = one(custom.load_text(f"{lines}:text", group=group), TOY, out=out)
        (read,) = read_results(out)
        assert read == result
        assert (read.groups.by if read.groups else None) == by
        assert len([*out.rglob("groups.csv")]) == bool(by)
        assert len([*out.rglob("*.groups")]) == bool(by)


def test_results_without_groups_have_an_empty_table() -> None:
    assert Results([]).groups().empty


def test_a_result_that_lacks_a_count_of_a_group_is_an_error(tmp_path: Path) -> None:
    lines = jsonl(tmp_path / "a.jsonl", rows())
    one(custom.load_text(f"{lines}:text", group="site"), out=tmp_path / "out")
    (path,) = (tmp_path / "out").rglob("result.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    del document["groups"]["rows"][0]["tally"]["tokens"]
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(UsageError, match=r"tally\.tokens: missing; expected a count"):
        read_results(path)
    del document["groups"], document["sha256"]  # an older file
    path.write_text(json.dumps(document), encoding="utf-8")
    assert read_results(path)[0].groups is None


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "", "  ", 1.5, ["a"], {"a": 1}])
def test_a_missing_group_is_an_error_with_its_line_or_row(tmp_path: Path, value: Any) -> None:
    lines = jsonl(tmp_path / "a.jsonl", [{"text": "a", "g": "x"}, {"text": "b", "g": value}])
    expected = f"line 2: expected the name of a group in column g, found {value!r}"
    with pytest.raises(UsageError, match=re.escape(expected)):
        custom.load_text(f"{lines}:text", group="g")
    lines = jsonl(tmp_path / "b.jsonl", [{"text": "a", "g": "x"}, {"text": "b"}])
    with pytest.raises(UsageError, match=r"b.jsonl: line 2: expected the name of a group"):
        custom.load_text(f"{lines}:text", group="g")
    if value is None or isinstance(value, str):
        table = tmp_path / "a.parquet"
        content = [{"text": "a", "g": "x"}, {"text": "b", "g": value}]
        parquet.write_table(pyarrow.Table.from_pylist(content), table)
        with pytest.raises(UsageError, match=r"a.parquet: row 2: expected the name of a group"):
            custom.load_text(f"{table}:text", group="g")


def test_texts_without_columns_and_unknown_columns_are_errors(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a b\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"--group g: --text .*a.txt is one stream; expected"):
        custom.load_text(tmp_path / "a.txt", group="g")
    with pytest.raises(UsageError, match=r"is a folder, whose subfolders are groups"):
        custom.load_text(tmp_path, group="g")
    lines = jsonl(tmp_path / "a.jsonl", rows())
    with pytest.raises(UsageError, match=r"--group: empty; expected the key"):
        custom.load_text(f"{lines}:text", group="")
    table = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows()), table)
    with pytest.raises(UsageError, match=r"a.parquet: expected a column 'h', found 'text', 'site'"):
        custom.load_text(f"{table}:text", group="h")


@pytest.mark.parametrize(
    "change", [("format: documents", "format: stream"), ("group: site", "group: ''")]
)
def test_only_a_task_of_documents_has_groups(tmp_path: Path, change: tuple[str, str]) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.yaml").write_text(TASK.replace(*change), encoding="utf-8")
    with pytest.raises(UsageError, match=r"mine.yaml: group: .* expected format documents"):
        evaluate(UNIFORM, ["mine"], include=[tmp_path])
    (tmp_path / "tasks" / "mine.yaml").write_text(f"{TASK}join: eot\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"group: site: not compatible with join eot; expected"):
        evaluate(UNIFORM, ["mine"], include=[tmp_path])


# -- the command line ------------------------------------------------------------------------------


def test_run_and_table_print_groups(tmp_path: Path, gpt2eval: Run) -> None:
    lines = jsonl(tmp_path / "a.jsonl", rows())
    out = tmp_path / "out"
    command = ("run", "--model", UNIFORM, "--text", f"{lines}:text", "--out", str(out))
    done = gpt2eval(*command, "--group", "site", "--unit", "byte")
    assert done.code == 0, done.err
    assert "groups by column site" in done.out
    for label in (*GROUPS, "all (micro)", "mean (macro)"):
        assert f"| {label} " in done.out
    assert done.out.count("| 8.000") >= 5
    for form in ("csv", "json"):
        other = gpt2eval(*command, "--group", "site", "--format", form)
        assert "groups by" not in other.out
        assert f"--format {form} has no groups; they are in groups.csv" in other.err
    assert gpt2eval("table", str(out), "--groups").out.count("groups by column site") == 2
    assert "groups by" not in gpt2eval("table", str(out)).out
    for other in (("--format", "csv"), ("--score-only",)):
        refused = gpt2eval("table", str(out), "--groups", *other)
        assert (refused.code, refused.out) == (2, "")
        assert f"--groups: not with {' '.join(other)}; expected terminal or markdown" in refused.err
    missing = gpt2eval("run", "--group", "site", "--out", str(out))
    assert missing.code == 2
    assert "--group site: applies to --text only" in missing.err


def test_many_groups_are_cut_and_what_is_left_out_is_stated(tmp_path: Path, gpt2eval: Run) -> None:
    content = [{"text": "wort " * (1 + n), "g": f"g{n:02}"} for n in range(30)]
    lines = jsonl(tmp_path / "a.jsonl", content)
    out = tmp_path / "out"
    command = ("run", "--model", UNIFORM, "--text", f"{lines}:text", "--out", str(out))
    shown = gpt2eval(*command, "--group", "g").out
    assert "| g10 " in shown
    assert "| g09 " not in shown
    left_out = sum(range(1, 11)) / sum(range(1, 31))
    assert f"the other 10 hold {100 * left_out:.1f} % of the bits and are in groups.csv" in shown
    complete = gpt2eval("table", str(out), "--groups").out
    assert all(f"| g{number:02} " in complete for number in range(30))
    (path,) = out.rglob("groups.csv")
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1 + 30 + 2
