"""Resume, sharing out and damage: the same hash however a run came to its end, and no unit done twice."""

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

import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from gpt2eval import demo, files, pipeline
from gpt2eval.config.catalog import DEMO
from gpt2eval.errors import UsageError
from gpt2eval.models import options, registry
from gpt2eval.pipeline import Settings
from gpt2eval.scoring import execute, journal
from gpt2eval.scoring.workers import worker_of_launcher, worker_of_shard
from gpt2eval.types import Model, Request, TokenScores, Worker

TASKS = ["text8", "lambada"]


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units of one batch each, so that there are many."""
    monkeypatch.setattr(execute.plan, "chunks", lambda batches: [[batch] for batch in batches])


class Counting:
    """A toy model that counts what it is asked, and stops when told to."""

    def __init__(self, name: str = "toy:unigram", stop_after: int = 10**9) -> None:
        self.model: Model = registry.load_model(name)
        self.context, self.start, self.encode, self.identity = (
            1024,
            self.model.start,
            self.model.encode,
            self.model.identity,
        )
        self.calls, self.stop_after = 0, stop_after

    def score(self, batch: Sequence[Request]) -> TokenScores:
        self.calls += 1
        if self.calls > self.stop_after:
            raise KeyboardInterrupt
        return self.model.score(batch)


def run(
    out: Path | None, model: Counting, tasks: Sequence[str] = TASKS, **settings: Any
) -> dict[str, str]:
    """Task to `nll_sha256` of what was completed."""
    chosen = replace(Settings(batch_size=2), **settings)
    made = pipeline.evaluate(model, tasks, data=dict(demo.data()), out=out, settings=chosen)
    return {result.task: result.nll_sha256 for result in made}


@pytest.fixture(scope="module")
def whole() -> Mapping[str, str]:
    return run(None, Counting())


def test_the_same_run_again_does_no_work(tmp_path: Path, whole: Mapping[str, str]) -> None:
    first, second = Counting(), Counting()
    assert run(tmp_path, first) == run(tmp_path, second) == whole
    assert (first.calls > 10, second.calls) == (True, 0)


@pytest.mark.parametrize("stop", [1, 5, 20])
def test_a_stopped_run_goes_on(tmp_path: Path, whole: Mapping[str, str], stop: int) -> None:
    complete, stopped, resumed = Counting(), Counting(stop_after=stop), Counting()
    run(None, complete)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stopped)
    assert run(tmp_path, resumed) == whole
    assert resumed.calls == complete.calls - stop


CHANGES = [
    {"context": 512},
    {"stride": 100},
    {"batch_size": 3},
    {"limit": 30},
    {"name": "toy:uniform-bytes"},
]


@pytest.mark.parametrize("change", CHANGES)
def test_another_run_reuses_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    run(tmp_path, Counting())
    settings = {key: value for key, value in change.items() if key != "name"}
    alone, beside = (Counting(change.get("name", "toy:unigram")) for _ in range(2))
    run(None, alone, ["text8"], **settings)
    run(tmp_path, beside, ["text8"], **settings)
    assert beside.calls == alone.calls > 0


@pytest.mark.parametrize("damage", ["cut", "altered", "emptied"])
def test_a_damaged_unit_is_scored_again(
    tmp_path: Path, whole: Mapping[str, str], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path, Counting())
    unit = sorted(tmp_path.rglob("*.safetensors"))[3]
    content = bytearray(unit.read_bytes())
    content[-3] ^= 1
    unit.write_bytes(
        {"cut": bytes(content[:-40]), "altered": bytes(content), "emptied": b""}[damage]
    )
    again = Counting()
    assert run(tmp_path, again) == whole
    assert again.calls == 1
    assert caplog.text.count(f"{unit}: cut short or altered; unit") == 1


def test_a_unit_of_another_number_is_no_unit(tmp_path: Path, whole: Mapping[str, str]) -> None:
    run(tmp_path, Counting())
    first, second = sorted(tmp_path.rglob("text8/journal/*.safetensors"))[:2]
    second.write_bytes(first.read_bytes())
    again = Counting()
    assert (run(tmp_path, again), again.calls) == (whole, 1)
    arrays = load_file(first)
    save_file(arrays, second)  # as another program would, without its hash
    again = Counting()
    assert (run(tmp_path, again), again.calls) == (whole, 1)


def test_a_damaged_list_of_units_is_said_and_no_hindrance(
    tmp_path: Path, whole: Mapping[str, str]
) -> None:
    run(tmp_path, Counting())
    listed = next(tmp_path.rglob("text8/journal/journal.json"))
    listed.write_text("{")
    assert journal.incomplete([tmp_path]) == [f"{listed}: cannot be read"]
    assert run(tmp_path, Counting()) == whole
    assert journal.incomplete([tmp_path]) == []


def test_units_without_a_result_are_named(tmp_path: Path) -> None:
    run(tmp_path, Counting())
    result = next(tmp_path.rglob("text8/result.json"))
    result.unlink()
    assert [line.partition(": ")[2] for line in journal.incomplete([tmp_path])] == [
        "all 20 units are there, and no result"
    ]
    assert journal.incomplete([tmp_path], lambda decides: decides["task"] == "lambada") == []


def test_shards_at_the_same_time_make_the_result(tmp_path: Path, whole: Mapping[str, str]) -> None:
    """One shard does all its units while the other is at its first: the last to end finds all of them."""
    other: list[Mapping[str, str]] = []

    class Slow(Counting):
        def score(self, batch: Sequence[Request]) -> TokenScores:
            if not other:
                other.append(run(tmp_path, Counting(), worker=worker_of_shard("2/2")))
            return super().score(batch)

    assert run(tmp_path, Slow(), worker=worker_of_shard("1/2")) == whole
    assert other == [{}]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK=x WORLD_SIZE=2: expected numbers"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "expected numbers"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "without MASTER_ADDR: expected torchrun"),
    ],
)
def test_half_a_launcher_is_one_line(
    environment: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=said):
        worker_of_launcher()


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_shards_in_any_order_make_the_same_result(
    tmp_path: Path, whole: Mapping[str, str], order: tuple[int, ...]
) -> None:
    calls, found = 0, {}
    for number in order:
        shard = Counting()
        found = run(tmp_path, shard, worker=worker_of_shard(f"{number}/3"))
        calls += shard.calls
        missing = journal.incomplete([tmp_path])
        assert bool(missing) == (not found), (
            "until the last shard is done, what is missing is named"
        )
    complete = Counting()
    run(None, complete)
    assert (found, calls) == (whole, complete.calls)


def test_shards_are_counted_from_one() -> None:
    assert worker_of_shard("2/8") == Worker(1, 8)
    for wrong in ("0/3", "4/3", "x/3", "2", "1/0", "-1/2"):
        with pytest.raises(UsageError, match="expected I/N"):
            worker_of_shard(wrong)


def test_a_full_disk_is_one_line_and_no_loss(
    tmp_path: Path, whole: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = 0

    def full(descriptor: int) -> None:
        nonlocal synced
        synced += 1
        if synced > 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(
        UsageError, match=r"cannot be written: No space left on device; the same command goes on"
    ):
        run(tmp_path, Counting())
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()], (
        "nothing half-written is left"
    )
    monkeypatch.undo()
    monkeypatch.setattr(execute.plan, "chunks", lambda batches: [[batch] for batch in batches])
    again = Counting()
    assert run(tmp_path, again) == whole


def test_records_of_every_token_are_kept(tmp_path: Path) -> None:
    run(tmp_path, Counting())
    units = [load_file(path) for path in sorted(tmp_path.rglob("text8/journal/*.safetensors"))]
    assert sum(len(unit["logprobs"]) for unit in units) == 40000
    assert {end for unit in units for end in unit["ends"].tolist()} == set(range(1, 40001))
    assert all(set(unit) == {"logprobs", "is_greedy", "ends", "records"} for unit in units)


# -- processes -----------------------------------------------------------------------------------------------------

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
    found = {
        path.parent.name: json.loads(path.read_text())["nll_sha256"]
        for path in out.rglob("result.json")
    }
    assert set(found) == set(TASKS)
    return found


@pytest.fixture(scope="module")
def demo_hashes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("whole")
    subprocess.run([*COMMAND, str(out)], check=True, capture_output=True, env=SINGLE)
    return hashes(out)


def wait_for_a_unit(out: Path) -> None:
    deadline = time.monotonic() + 60
    while not list(out.rglob("*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(out.rglob("*.safetensors"))


def test_a_killed_process_goes_on(tmp_path: Path, demo_hashes: dict[str, str]) -> None:
    process = subprocess.Popen(
        [*COMMAND, str(tmp_path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=SINGLE
    )
    wait_for_a_unit(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run([*COMMAND, str(tmp_path)], check=True, capture_output=True, env=SINGLE)
    assert hashes(tmp_path) == demo_hashes


def test_an_interrupted_process_says_how_to_go_on(tmp_path: Path) -> None:
    def heed() -> (
        None
    ):  # even where the tests themselves run in the background, which ignores SIGINT
        signal.signal(signal.SIGINT, signal.default_int_handler)

    process = subprocess.Popen(
        [*COMMAND, str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=SINGLE,
        preexec_fn=heed,
    )
    wait_for_a_unit(tmp_path)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (
        said.splitlines()[-1]
        == "gpt2eval: interrupted; the same command goes on from the last finished unit"
    )


def test_two_ranks_make_the_same_result(tmp_path: Path, demo_hashes: dict[str, str]) -> None:
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    ended = subprocess.run(
        [*launcher, *COMMAND[1:], str(tmp_path)],
        capture_output=True,
        text=True,
        env=SINGLE,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("| demo ") == 1, "one rank prints the table"
    assert hashes(tmp_path) == demo_hashes


def test_two_ranks_meet_once_for_each_model(tmp_path: Path) -> None:
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "gpt2eval",
        "run",
    ]
    toys = ["toy:unigram", "toy:uniform-bytes", f"toy:unigram:{DEMO / 'data' / 'ptb.txt'}"]
    models_ = [part for toy in toys for part in ("--model", toy)]
    command = [
        *launcher,
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
    assert [
        line.split("|")[1].strip()
        for line in ended.stdout.splitlines()
        if line.startswith("| toy:")
    ] == toys
    assert len(list(tmp_path.rglob("result.json"))) == 3


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random LLaMA, whose architecture has a plan for splitting its tensors, with the demo's tokenizer."""
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
    ids=["tensors over two processes", "layers over devices"],
)
def test_a_model_laid_over_several_devices(
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
    assert ended.stdout.count("| published 117M ") == 1
    assert nats(tmp_path / "many") == pytest.approx(nats(tmp_path / "one"), rel=1e-6)


def test_tensors_are_split_over_as_many_processes_as_there_are(llama: Path) -> None:
    with pytest.raises(
        UsageError, match="--tp 2: there are 1 processes; expected 'torchrun --nproc-per-node N"
    ):
        registry.load_model(str(llama), options.LoadOptions(tp=2))
    with pytest.raises(UsageError, match="expected one of the two"):
        registry.load_model(str(llama), options.LoadOptions(tp=2, device_map="auto"))
