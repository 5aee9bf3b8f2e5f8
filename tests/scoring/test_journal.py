"""Resuming, sharding and corrupt files: the hash never changes, and no chunk is scored twice."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from gpt2eval import demo, files, pipeline
from gpt2eval.config.catalog import DEMO
from gpt2eval.errors import UsageError
from gpt2eval.models import options, registry
from gpt2eval.pipeline import Settings
from gpt2eval.scoring import array_files, execute, journal
from gpt2eval.scoring.requests import Grouped
from gpt2eval.scoring.workers import worker_of_launcher, worker_of_shard
from gpt2eval.settings import Worker
from gpt2eval.types import Model, Request, Tally, TokenScores

TASKS = ["text8", "lambada"]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put one batch in each chunk, so that there are many chunks."""
    monkeypatch.setattr(execute.plan, "chunks", lambda batches, _: Grouped(batches, 0))


class Counting:
    """A toy model that counts its batches and raises KeyboardInterrupt after `stop_after`."""

    def __init__(self, name: str = "toy:unigram", stop_after: int = 10**9) -> None:
        self.model: Model = registry.load_model(name)
        self.context = 1024
        self.start = self.model.start
        self.encode = self.model.encode
        self.identity = self.model.identity
        self.calls = 0
        self.stop_after = stop_after

    def score(self, batch: Sequence[Request]) -> TokenScores:
        self.calls += 1
        if self.calls > self.stop_after:
            raise KeyboardInterrupt
        return self.model.score(batch)


def run(
    out: Path | None, model: Counting, tasks: Sequence[str] = TASKS, **settings: Any
) -> dict[str, str]:
    """Return the `nll_sha256` of each task that the run completed."""
    results = pipeline.evaluate(
        model,
        tasks,
        data=dict(demo.data()),
        out=out,
        settings=replace(Settings(batch_size=2), **settings),
    )
    return {result.task: result.nll_sha256 for result in results}


@pytest.fixture(scope="module")
def expected() -> Mapping[str, str]:
    return run(None, Counting())


def test_a_repeated_run_scores_nothing(tmp_path: Path, expected: Mapping[str, str]) -> None:
    first = Counting()
    second = Counting()
    assert run(tmp_path, first) == run(tmp_path, second) == expected
    assert first.calls > 10
    assert second.calls == 0


@pytest.mark.parametrize("stop", [1, 5, 20])
def test_a_stopped_run_resumes(tmp_path: Path, expected: Mapping[str, str], stop: int) -> None:
    complete = Counting()
    stopped = Counting(stop_after=stop)
    resumed = Counting()
    run(None, complete)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stopped)
    assert run(tmp_path, resumed) == expected
    assert resumed.calls == complete.calls - stop


CHANGES = [
    {"context": 512},
    {"stride": 100},
    {"batch_size": 3},
    {"limit": 30},
    {"name": "toy:uniform-bytes"},
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_with_other_settings_reuses_no_chunk(tmp_path: Path, change: dict[str, Any]) -> None:
    run(tmp_path, Counting())
    settings = {key: value for key, value in change.items() if key != "name"}
    name = change.get("name", "toy:unigram")
    alone = Counting(name)
    beside = Counting(name)
    run(None, alone, ["text8"], **settings)
    run(tmp_path, beside, ["text8"], **settings)
    assert beside.calls == alone.calls > 0


@pytest.mark.parametrize("damage", ["truncated", "altered", "emptied"])
def test_a_corrupt_chunk_is_scored_again(
    tmp_path: Path, expected: Mapping[str, str], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path, Counting())
    chunk = sorted(tmp_path.rglob("*.safetensors"))[3]
    content = bytearray(chunk.read_bytes())
    content[-3] ^= 1
    chunk.write_bytes(
        {"truncated": bytes(content[:-40]), "altered": bytes(content), "emptied": b""}[damage]
    )
    again = Counting()
    assert run(tmp_path, again) == expected
    assert again.calls == 1
    assert caplog.text.count(f"{chunk}: chunk 3 is corrupt and will be scored again") == 1


@pytest.mark.parametrize("array", ["logprobs", "is_greedy"])
def test_a_chunk_without_an_array_is_corrupt(
    tmp_path: Path, array: str, caplog: pytest.LogCaptureFixture
) -> None:
    chunks = journal.Journal.of(tmp_path, {"task": "text8"}, 1)
    arrays = {"logprobs": np.zeros(3, np.float32), "is_greedy": np.ones(3, np.bool_)}
    del arrays[array]
    array_files.write_arrays(chunks.path(0), arrays)
    assert chunks.read(0) is None
    assert f"{chunks.path(0)}: chunk 0 is corrupt and will be scored again" in caplog.text
    assert not chunks.path(0).exists()


def test_tallies_without_a_count_are_incomplete(tmp_path: Path) -> None:
    chunks = journal.Journal.of(tmp_path, {"task": "text8"}, 1)
    chunks.files.write_tallies([Tally(nats=2.0)])
    assert chunks.files.read_tallies() == [Tally(nats=2.0)]
    counts = load_file(chunks.files.path("tallies"))
    del counts["records"]
    array_files.write_arrays(chunks.files.path("tallies"), counts)
    assert chunks.files.read_tallies() is None


def test_the_journal_of_an_older_version_is_scored_again(
    tmp_path: Path, expected: Mapping[str, str]
) -> None:
    """Format 1 counted `units`, had no format number, and gave the chunks another key."""
    run(tmp_path, Counting())
    for header in tmp_path.rglob("journal.json"):
        content = json.loads(header.read_text())
        for chunk in header.parent.glob("*.safetensors"):
            chunk.rename(chunk.with_name("0" * 20 + chunk.name[20:]))
        old = {"key": "0" * 20, "units": content["chunks"], "decided_by": content["decided_by"]}
        header.write_text(json.dumps(old))
        assert journal.of_folder(header.parent) is None
    assert journal.incomplete([tmp_path]) == [], "each has its result"
    next(tmp_path.rglob("text8/result.json")).unlink()
    (line,) = journal.incomplete([tmp_path])
    assert line.endswith("text8: its journal was written by another version")
    complete = Counting()
    run(None, complete)
    again = Counting()
    # What the model loses without its start token is a fact about the model, and still known.
    assert (run(tmp_path, again), again.calls) == (expected, complete.calls - 1)


def test_the_format_of_the_journal_is_part_of_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = journal.Journal.of(tmp_path, {"task": "text8"}, 1).key
    monkeypatch.setattr(journal, "FORMAT", journal.FORMAT + 1)
    assert journal.Journal.of(tmp_path, {"task": "text8"}, 1).key != key


def test_a_chunk_under_another_number_is_corrupt(
    tmp_path: Path, expected: Mapping[str, str]
) -> None:
    run(tmp_path, Counting())
    first, second = sorted(tmp_path.rglob("text8/journal/*.safetensors"))[:2]
    second.write_bytes(first.read_bytes())
    again = Counting()
    assert (run(tmp_path, again), again.calls) == (expected, 1)
    arrays = load_file(first)
    save_file(arrays, second)  # as another program would write it, without a checksum
    again = Counting()
    assert (run(tmp_path, again), again.calls) == (expected, 1)


def test_an_unreadable_journal_is_reported_and_replaced(
    tmp_path: Path, expected: Mapping[str, str]
) -> None:
    run(tmp_path, Counting())
    header = next(tmp_path.rglob("text8/journal/journal.json"))
    header.write_text("{")
    assert journal.incomplete([tmp_path]) == [f"{header}: cannot be read"]
    assert run(tmp_path, Counting()) == expected
    assert journal.incomplete([tmp_path]) == []


def test_chunks_without_a_result_are_reported(tmp_path: Path) -> None:
    run(tmp_path, Counting())
    result = next(tmp_path.rglob("text8/result.json"))
    result.unlink()
    assert [line.partition(": ")[2] for line in journal.incomplete([tmp_path])] == [
        "all 20 chunks are complete, but there is no result"
    ]
    assert journal.incomplete([tmp_path], lambda inputs: inputs["task"] == "lambada") == []


def test_concurrent_shards_produce_the_result(tmp_path: Path, expected: Mapping[str, str]) -> None:
    """One shard finishes during the first batch of the other; the last to end sees all chunks."""
    other: list[Mapping[str, str]] = []

    class Slow(Counting):
        def score(self, batch: Sequence[Request]) -> TokenScores:
            if not other:
                other.append(run(tmp_path, Counting(), worker=worker_of_shard("2/2")))
            return super().score(batch)

    assert run(tmp_path, Slow(), worker=worker_of_shard("1/2")) == expected
    assert other == [{}]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"RANK": "x", "WORLD_SIZE": "2"},
            "RANK=x WORLD_SIZE=2: expected both as torchrun sets them",
        ),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "with RANK below WORLD_SIZE"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "without MASTER_ADDR: expected torchrun"),
    ],
)
def test_an_incomplete_launcher_environment_is_one_line(
    environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=message):
        worker_of_launcher()


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_shards_in_any_order_produce_the_same_result(
    tmp_path: Path, expected: Mapping[str, str], order: tuple[int, ...]
) -> None:
    calls = 0
    hashes: dict[str, str] = {}
    for number in order:
        shard = Counting()
        hashes = run(tmp_path, shard, worker=worker_of_shard(f"{number}/3"))
        calls += shard.calls
        missing = journal.incomplete([tmp_path])
        assert bool(missing) == (not hashes), "missing chunks are reported until the last shard"
    complete = Counting()
    run(None, complete)
    assert (hashes, calls) == (expected, complete.calls)


def test_shards_count_from_one() -> None:
    assert worker_of_shard("2/8") == Worker(1, 8)
    for wrong in ("0/3", "4/3", "x/3", "2", "1/0", "-1/2"):
        with pytest.raises(UsageError, match="expected I/N"):
            worker_of_shard(wrong)


def test_a_full_disk_is_one_line_and_loses_no_chunk(
    tmp_path: Path, expected: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = 0

    def full(descriptor: int) -> None:
        nonlocal synced
        synced += 1
        if synced > 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(
        UsageError, match=r"cannot be written: No space left on device; once that is fixed"
    ):
        run(tmp_path, Counting())
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()], (
        "no temporary file remains"
    )
    monkeypatch.undo()
    monkeypatch.setattr(execute.plan, "chunks", lambda batches, _: Grouped(batches, 0))
    again = Counting()
    assert run(tmp_path, again) == expected


def test_chunks_hold_the_end_and_the_record_of_every_token(tmp_path: Path) -> None:
    run(tmp_path, Counting())
    chunks = [load_file(path) for path in sorted(tmp_path.rglob("text8/journal/*.safetensors"))]
    ends = np.concatenate([chunk["ends"] for chunk in chunks])
    assert sum(len(chunk["logprobs"]) for chunk in chunks) == 40000
    assert set(ends.tolist()) == set(range(1, 40001))
    assert all(
        set(chunk) == {"logprobs", "is_greedy", "is_tied", "ends", "records"} for chunk in chunks
    )


# -- processes -----------------------------------------------------------------------------------

COMMAND = [
    sys.executable,
    "-m",
    "gpt2eval",
    "run",
    "--tasks",
    "text8,lambada",
    "--batch-size",
    "1",
    "--out",
]
SINGLE = {
    "OMP_NUM_THREADS": "1",
    "PATH": os.environ["PATH"],
    "HF_HUB_OFFLINE": "1",
    "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
}


def hashes(out: Path) -> dict[str, str]:
    by_task = {
        path.parent.name: json.loads(path.read_text())["nll_sha256"]
        for path in out.rglob("result.json")
    }
    assert set(by_task) == set(TASKS)
    return by_task


LAUNCHER = (
    *(sys.executable, "-m", "torch.distributed.run"),
    *("--standalone", "--nproc-per-node", "2"),
)


@pytest.fixture(scope="module")
def demo_hashes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("expected")
    subprocess.run([*COMMAND, str(out)], check=True, capture_output=True, env=SINGLE)
    return hashes(out)


def wait_for_a_chunk(out: Path) -> None:
    deadline = time.monotonic() + 60
    while not list(out.rglob("*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(out.rglob("*.safetensors"))


@pytest.mark.slow  # the drill kills more processes, at more places, and runs in the suite
def test_a_killed_process_resumes(tmp_path: Path, demo_hashes: dict[str, str]) -> None:
    process = subprocess.Popen(
        [*COMMAND, str(tmp_path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=SINGLE
    )
    wait_for_a_chunk(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run([*COMMAND, str(tmp_path)], check=True, capture_output=True, env=SINGLE)
    assert hashes(tmp_path) == demo_hashes


@pytest.mark.slow
def test_an_interrupted_process_says_how_to_resume(tmp_path: Path) -> None:
    def accept_sigint() -> None:
        # The child inherits "ignore" where the tests themselves run in the background.
        signal.signal(signal.SIGINT, signal.default_int_handler)

    process = subprocess.Popen(
        [*COMMAND, str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=SINGLE,
        preexec_fn=accept_sigint,
    )
    wait_for_a_chunk(tmp_path)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.splitlines()[-1].startswith("gpt2eval: interrupted; the same command ")


@pytest.mark.slow
def test_two_ranks_produce_the_same_result(tmp_path: Path, demo_hashes: dict[str, str]) -> None:
    ended = subprocess.run(
        [*LAUNCHER, *COMMAND[1:], str(tmp_path)],
        capture_output=True,
        text=True,
        env=SINGLE,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("| demo ") == 1, "one rank prints the table"
    assert hashes(tmp_path) == demo_hashes


@pytest.mark.slow
def test_two_ranks_wait_for_each_other_once_per_model(tmp_path: Path) -> None:
    toys = ["toy:unigram", "toy:uniform-bytes", f"toy:unigram:{DEMO / 'data' / 'ptb.txt'}"]
    models_ = [part for toy in toys for part in ("--model", toy)]
    command = [
        *LAUNCHER,
        "-m",
        "gpt2eval",
        "run",
        *models_,
        "--tasks",
        "text8",
        "--data",
        "demo",
        "--batch-size",
        "1",
        "--out",
        str(tmp_path),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, env=SINGLE, timeout=120)
    assert ended.returncode == 0, ended.stderr
    rows = [line.split("|")[1].strip() for line in ended.stdout.splitlines() if "|" in line]
    assert rows[2:5] == [*toys[:2], "ptb.txt"]
    assert len(list(tmp_path.rglob("result.json"))) == 3


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random LLaMA with the demo's tokenizer; transformers can shard its tensors."""
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    config: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }
    LlamaForCausalLM(LlamaConfig(**config, num_key_value_heads=2, vocab_size=2560)).save_pretrained(
        folder
    )
    AutoTokenizer.from_pretrained(str(DEMO / "model")).save_pretrained(folder)
    return folder


def nats(out: Path) -> float:
    return json.loads(next(out.rglob("result.json")).read_text())["tally"]["nats"]


@pytest.mark.parametrize(
    ("launcher", "spread"),
    [
        (["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"], ["--tp", "2"]),
        ([], ["--device-map", "auto"]),
    ],
    ids=["tensor parallel", "device map"],
)
@pytest.mark.slow
def test_a_model_distributed_over_several_devices(
    tmp_path: Path, llama: Path, launcher: list[str], spread: list[str]
) -> None:
    pytest.importorskip("accelerate")
    job = [
        "-m",
        "gpt2eval",
        "run",
        "--model",
        str(llama),
        "--tasks",
        "ptb",
        "--data",
        "demo",
        "--limit",
        "20",
        "--out",
    ]
    subprocess.run(
        [sys.executable, *job, str(tmp_path / "one")], check=True, capture_output=True, env=SINGLE
    )
    command = [sys.executable, *launcher, *job, str(tmp_path / "many"), *spread]
    ended = subprocess.run(command, capture_output=True, text=True, env=SINGLE, timeout=180)
    assert ended.returncode == 0, ended.stderr
    assert f"|map:{''.join(spread).replace('-', '').replace('devicemap', '')}|" in ended.stdout
    assert ended.stdout.count("| model ") == 1
    assert nats(tmp_path / "many") == pytest.approx(nats(tmp_path / "one"), rel=1e-6)


def test_tensor_parallelism_needs_as_many_processes(llama: Path) -> None:
    with pytest.raises(
        UsageError, match="--tp 2: running in 1 processes; expected 'torchrun --nproc-per-node N"
    ):
        registry.load_model(str(llama), options.LoadOptions(tp=2))
    with pytest.raises(UsageError, match="expected one of the two"):
        registry.load_model(str(llama), options.LoadOptions(tp=2, device_map="auto"))


def test_a_damaged_header_is_noticed(tmp_path: Path) -> None:
    opened = journal.Journal.of(tmp_path, {"batch": "1024"}, 3)
    opened.open("toy", {"batch": "1024"})
    assert journal.of_folder(tmp_path) == opened
    assert journal.inputs_of(tmp_path) == {"batch": "1024", "name": "toy"}
    header = tmp_path / "journal.json"
    intact = header.read_text()
    for old, new in [("1024", "1025"), ('"chunks": 3', '"chunks": 2'), ('"toy"', '"tox"')]:
        header.write_text(intact.replace(old, new))
        assert journal.of_folder(tmp_path) is None
        assert journal.inputs_of(tmp_path) == {}


def test_a_header_of_an_older_version_is_read(tmp_path: Path) -> None:
    opened = journal.Journal.of(tmp_path, {}, 3)
    opened.open("toy", {})
    header = tmp_path / "journal.json"
    content = json.loads(header.read_text())
    del content["sha256"]
    header.write_text(json.dumps(content))
    assert journal.of_folder(tmp_path) == opened
