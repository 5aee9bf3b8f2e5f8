"""Trackers: their own readers find our numbers, intervals, signatures and steps."""

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Run

from gpt2eval.errors import UsageError
from gpt2eval.metrics.result import Result
from gpt2eval.report import trackers
from gpt2eval.report.logged import logged_of, run_name
from gpt2eval.report.store import read_result
from gpt2eval.report.trackers import Trackers, open_tracker, places_of

ROOT = Path(__file__).parents[2]
PTB = read_result(ROOT / "results" / "smollm2-135m-instruct-q4_1" / "ptb" / "result.json")


def checkpoint(step: int, value: float) -> Result:
    """The PTB result of a checkpoint, as if measured."""
    metric = replace(PTB.primary, value=value, interval=(value - 1, value + 2))
    model = replace(PTB.model, name=f"runs/mine/checkpoint-{step}", step="")
    return replace(PTB, metrics={"ppl": metric}, model=model)


CHECKPOINTS = [checkpoint(100, 90.5), checkpoint(50, 120.25), checkpoint(200, 60.0)]
EXPECTED = {
    "gpt2eval/ptb/ppl": {100: 90.5, 50: 120.25, 200: 60.0},
    "gpt2eval/ptb/ppl/ci_low": {100: 89.5, 50: 119.25, 200: 59.0},
    "gpt2eval/ptb/ppl/ci_high": {100: 92.5, 50: 122.25, 200: 62.0},
}


ACCUMULATOR = "tensorboard.backend.event_processing.event_accumulator"
BLOCK = 32768
FULL, LAST = 1, 4  # kinds of chunks that end a record


def test_what_is_logged_of_a_result() -> None:
    logged = logged_of(PTB, 7)
    assert logged.step == 7
    assert logged.numbers["gpt2eval/ptb/ppl"] == PTB.ppl
    assert logged.numbers["gpt2eval/ptb/nats_per_token"] == PTB.nats_per_token
    assert logged.signatures["gpt2eval/ptb/ppl"] == PTB.signature
    assert logged_of(checkpoint(300, 5.0)).step == 300
    infinite = replace(PTB.primary, value=math.inf, interval=None)
    nothing = logged_of(replace(PTB, metrics={"ppl": infinite}, task="a=b"))
    assert nothing.numbers == {}
    assert [*nothing.signatures] == ["gpt2eval/a_b/ppl"]


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("runs/mine/checkpoint-500", "runs/mine"),
        ("mymodel@step100", "mymodel"),
        ("llmc:runs/a/model_00000100.bin", "llmc:runs/a"),
        ("gpt2", "gpt2"),
        ("checkpoint-5", "checkpoint-5"),
    ],
)
def test_checkpoints_of_one_run_share_its_name(name: str, run: str) -> None:
    assert run_name(replace(PTB.model, name=name, step="")) == run


def test_tensorboard_reads_its_files_back(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(ACCUMULATOR, reason="needs the package tensorboard")
    with Trackers([f"tensorboard:{tmp_path}"]) as opened:
        opened.log(CHECKPOINTS)
    (folder,) = tmp_path.iterdir()
    assert folder.name == "runs--mine"
    reader = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    reader.Reload()
    found = {
        tag: {event.step: event.value for event in reader.Scalars(tag)}
        for tag in reader.Tags()["scalars"]
    }
    assert found == EXPECTED
    (text, *_) = reader.Tensors("gpt2eval/ptb/ppl/signature")
    assert text.tensor_proto.string_val[0].decode() == f"`{PTB.signature}`"


@pytest.mark.filterwarnings("ignore")  # raised by MLflow's dependencies
def test_mlflow_reads_its_store_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow = pytest.importorskip("mlflow", reason="needs the package mlflow")
    uri = f"sqlite:///{tmp_path / 'store.db'}"
    for _ in range(2):  # the second time the experiment exists
        with Trackers([f"mlflow:{uri}"]) as opened:
            opened.log(CHECKPOINTS)
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("gpt2eval")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.run_name for run in runs] == ["runs/mine"] * 2
    assert {run.info.status for run in runs} == {"FINISHED"}
    found = {
        name: {
            metric.step: metric.value
            for metric in client.get_metric_history(runs[0].info.run_id, name)
        }
        for name in runs[0].data.metrics
    }
    assert found == EXPECTED
    assert runs[0].data.tags["gpt2eval/ptb/ppl/signature"] == PTB.signature


def leveldb_records(content: bytes) -> Iterator[bytes]:
    """The records of a .wandb file: blocks of 32 KiB, each of chunks with a header of 7 bytes."""
    place = 7  # the file's own header
    record = b""
    while place + 7 <= len(content):
        if BLOCK - place % BLOCK < 7:  # the rest of a block is padding
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        record += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (FULL, LAST):
            yield record
            record = b""


def test_wandb_reads_its_offline_run_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    messages = pytest.importorskip(
        "wandb.proto.wandb_internal_pb2", reason="needs the package wandb"
    )
    with Trackers(["wandb:mine"]) as opened:
        opened.log(CHECKPOINTS)
    (path,) = tmp_path.rglob("*.wandb")
    found: dict[str, dict[int, float]] = {}
    summary: dict[str, Any] = {}
    names: set[str] = set()
    for data in leveldb_records(path.read_bytes()):
        record = messages.Record()
        record.ParseFromString(data)
        if record.run.project:
            names.add(f"{record.run.project}: {record.run.display_name}")
        row = {
            item.key or "/".join(item.nested_key): json.loads(item.value_json)
            for item in record.history.item
        }
        for name in EXPECTED.keys() & row.keys():
            found.setdefault(name, {})[row["gpt2eval/step"]] = row[name]
        for item in record.summary.update:
            summary[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    assert names == {"mine: runs/mine"}
    assert found == EXPECTED
    assert summary["gpt2eval/ptb/ppl/signature"] == PTB.signature


@pytest.mark.parametrize("place", ["tensorboard", "tensorboard:", "wandb", "wandb:"])
def test_a_place_has_a_name(place: str) -> None:
    with pytest.raises(UsageError, match="expected tensorboard:DIR, mlflow, mlflow:URI or wandb"):
        open_tracker(place)


def test_an_unknown_tracker_is_named() -> None:
    with pytest.raises(
        UsageError, match="unknown tracker 'tensorbord'; did you mean 'tensorboard'"
    ):
        open_tracker("tensorbord:x")


@pytest.mark.parametrize("package", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    def missing(place: str) -> trackers.Tracker:
        raise ModuleNotFoundError(f"No module named '{package}'", name=package)

    monkeypatch.setattr(trackers, "KINDS", {package: missing})
    with pytest.raises(UsageError, match=rf"expected 'pip install gpt2eval\[{package}\]'"):
        open_tracker(f"{package}:x")


def test_a_tracker_that_fails_later_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def log(self, run: str, logged: object) -> None:
            raise OSError("disk full")

        def close(self) -> None:
            raise OSError("still full")

    monkeypatch.setattr(trackers, "KINDS", {"tensorboard": lambda place: Broken()})
    with Trackers(["tensorboard:x"]) as opened:
        opened.log([PTB])
    assert "--track tensorboard:x: disk full; the results are not logged there" in caplog.text
    assert "still full" in caplog.text


def test_places() -> None:
    assert places_of(None) == []
    assert places_of("mlflow") == ["mlflow"]
    assert places_of(("mlflow", "wandb:x")) == ["mlflow", "wandb:x"]


def test_run_logs_to_a_tracker(gpt2eval: Run, tmp_path: Path) -> None:
    accumulator = pytest.importorskip(ACCUMULATOR, reason="needs the package tensorboard")
    logs = tmp_path / "logs"
    ended = gpt2eval(
        *("run", "--model", "toy:uniform-bytes", "--tasks", "text8", "--data", "demo"),
        *("--limit", "2", "--out", str(tmp_path / "out"), "--track", f"tensorboard:{logs}"),
    )
    assert ended.code == 0, ended.err
    reader = accumulator.EventAccumulator(str(logs / "toy-uniform-bytes"))
    reader.Reload()
    (event,) = reader.Scalars("gpt2eval/text8/bpc")
    assert (event.step, round(event.value, 6)) == (0, 8.0)


def test_a_wrong_place_is_an_error_before_anything_is_scored(gpt2eval: Run, tmp_path: Path) -> None:
    ended = gpt2eval(
        *("run", "--model", "toy:uniform-bytes", "--tasks", "text8", "--data", "demo"),
        *("--out", str(tmp_path / "out"), "--track", "wandb"),
    )
    assert ended.code == 2
    assert "--track wandb: expected tensorboard:DIR" in ended.err
    assert not (tmp_path / "out").exists()
