"""Selections of rows on the Hub: those that the library datasets selects, and no others."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from data_samples import refused
from doubles import Done, StandIn
from pydantic import ValidationError

from gpt2eval.config.source_schema import Rows
from gpt2eval.data.hub_rows import positions
from gpt2eval.errors import UsageError

pytest_plugins = ["data_fixtures"]

SIZES = (7, 6, 1, 9)  # rows of each file
TEXTS = [f"Document {number}.\nIt ends." for number in range(sum(SIZES))]


def test_a_share_is_the_test_split_of_datasets() -> None:
    checked = 0
    for total in (2, 3, 10, 97, 1000, 2001):
        whole = datasets.Dataset.from_dict({"row": range(total)})
        for share in (0.0005, 0.1, 0.3, 0.5, 0.8999):
            for seed in (0, 1, 42, 2357):
                try:
                    split = whole.train_test_split(test_size=share, seed=seed, shuffle=True)
                except ValueError:  # nothing is left for the other split
                    with pytest.raises(UsageError, match="expected at least"):
                        positions(Rows(share=share, seed=seed), total)
                    continue
                assert (
                    positions(Rows(share=share, seed=seed), total).tolist() == split["test"]["row"]
                )
                checked += 1
    assert checked > 100


@pytest.mark.parametrize("last", [1, 5, 9])
def test_the_last_rows_are_the_slice_of_datasets(tmp_path: Path, last: int) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"row": row}) + "\n" for row in range(9)))
    loaded = datasets.load_dataset("json", data_files=str(path), split=f"train[-{last}:]")
    assert positions(Rows(last=last), 9).tolist() == loaded["row"]  # type: ignore[index]


def test_nanogpt_selects_4007_documents() -> None:
    selection = positions(Rows(share=0.0005, seed=2357), 8_013_769)
    assert len(set(selection.tolist())) == 4007


def test_more_rows_than_there_are_is_an_error() -> None:
    with pytest.raises(UsageError, match="9 rows; expected at least 10"):
        positions(Rows(last=10), 9)


@pytest.mark.parametrize(
    "keys", [{}, {"last": 0}, {"last": 1, "seed": 1}, {"share": 0.5}, {"share": 1.0, "seed": 1}]
)
def test_a_selection_is_the_last_rows_or_a_seeded_share(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Rows(**keys)


def table(texts: list[str]) -> bytes:
    """Return a parquet file with two rows in a group, and a column that no task reads."""
    file = io.BytesIO()
    rows = pyarrow.Table.from_pylist([{"text": text, "other": "o" * 50} for text in texts])
    pyarrow.parquet.write_table(rows, file, row_group_size=2)
    return file.getvalue()


@pytest.fixture
def sharded(hub: StandIn) -> StandIn:
    """Push a data set `me/web` in several files."""
    files: dict[str, bytes] = {}
    first = 0
    for number, size in enumerate(SIZES):
        name = f"data/train-{number:05}-of-{len(SIZES):05}.parquet"
        files[name] = table(TEXTS[first : first + size])
        first += size
    hub.repository("me/web").push(files)
    return hub


def source(**rows: float) -> dict[str, Any]:
    hub = {"id": "me/web", "split": "train", "column": "text", "restore": "jsonl", "rows": rows}
    return {"hub": hub, "file": {"name": "web.jsonl"}}


def fetched(cache: Path) -> list[str]:
    (path,) = cache.rglob("web.jsonl")
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]


@pytest.mark.parametrize("share", [0.04, 0.3, 0.9])
def test_a_share_of_several_files_is_read_in_the_order_of_the_split(
    sharded: StandIn,
    run: Callable[..., Done],
    define_task: Callable[..., Any],
    tmp_path: Path,
    share: float,
) -> None:
    include = define_task(source(share=share, seed=2357), format="documents", unit="token")
    done = run("data", "fetch", "mine", *include)
    assert done.code == 0, done.err
    whole = datasets.Dataset.from_dict({"text": TEXTS})
    split = whole.train_test_split(test_size=share, seed=2357, shuffle=True)
    assert fetched(tmp_path / "cache") == split["test"]["text"]


@pytest.mark.parametrize(("last", "files"), [(3, 1), (9, 1), (10, 2), (12, 3), (23, 4)])
def test_the_last_rows_come_from_the_last_files_alone(
    sharded: StandIn,
    run: Callable[..., Done],
    define_task: Callable[..., Any],
    tmp_path: Path,
    last: int,
    files: int,
) -> None:
    include = define_task(source(last=last), format="documents", unit="token")
    done = run("data", "fetch", "mine", *include)
    assert done.code == 0, done.err
    assert fetched(tmp_path / "cache") == TEXTS[-last:]
    paths = {path for _, path, _ in sharded.requests if "/resolve/" in path and "train-" in path}
    assert len(paths) == files


def test_too_few_rows_is_one_line(
    sharded: StandIn, run: Callable[..., Done], define_task: Callable[..., Any]
) -> None:
    include = define_task(source(last=24), format="documents", unit="token")
    refused(run("data", "fetch", "mine", *include), "23 rows; expected at least 24")


def test_a_selection_needs_parquet_files(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any]
) -> None:
    hub.repository("me/web").push({"data/train.jsonl": b'{"text": "a"}\n'})
    include = define_task(source(last=1), format="documents", unit="token")
    refused(run("data", "fetch", "mine", *include), "a selection of rows needs files that end in")


def test_a_local_table_yields_its_last_rows_but_no_share(
    run: Callable[..., Done], define_task: Callable[..., Any], tmp_path: Path
) -> None:
    local = tmp_path / "train-00003-of-00004.parquet"
    local.write_bytes(table(TEXTS))
    measured = ("run", "--model", "toy:uniform-bytes", "--tasks", "mine", "--out", tmp_path / "out")
    data = ("--data", f"mine={local}", "--limit", 5)
    include = define_task(source(last=4), format="documents")
    assert run(*measured, *data, *include).code == 0
    (result,) = (tmp_path / "out").rglob("result.json")
    assert json.loads(result.read_text())["tally"]["records"] == 4
    include = define_task(source(last=400), format="documents")
    refused(run(*measured, *data, *include), "23 rows; expected at least 400")
    include = define_task(source(share=0.5, seed=1), format="documents")
    refused(run(*measured, *data, *include), "a parquet table; expected the rows that the task")
