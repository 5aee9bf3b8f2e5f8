"""Watching a training run: which checkpoints are complete, and that each is scored exactly once.

Most tests replace model loading by a stand-in whose scores follow from the file's content.
"""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from gpt2eval import demo, evaluate, pipeline
from gpt2eval.cli import main
from gpt2eval.config.catalog import DEMO
from gpt2eval.errors import UsageError
from gpt2eval.models import identified, registry
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.toy import ByteModel
from gpt2eval.pipeline import Settings
from gpt2eval.report import trackers
from gpt2eval.report.logged import Logged
from gpt2eval.report.plots import curves
from gpt2eval.training import checkpoints, history
from gpt2eval.training.watch import ScoredCheckpoint, watch
from gpt2eval.types import ModelIdentity

MODEL = DEMO / "model"
LIMIT = Settings(limit=2)


class StandInModel(ByteModel):
    """A model whose probabilities, revision and step follow from the content of a file."""

    def __init__(self, name: str, content: bytes) -> None:
        counts = 1.0 + np.bincount(np.frombuffer(content, np.uint8), minlength=256)
        super().__init__(name, counts / counts.sum())
        self.from_content = {"revision": sha256(content).hexdigest()[:8]}
        if content.startswith(b"step "):
            self.from_content["step"] = content.split()[1].decode()

    def identity(self) -> ModelIdentity:
        return replace(super().identity(), **self.from_content)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Load stand-in models and return the names of the loaded checkpoints.

    A checkpoint whose content includes `broken` does not load.
    """
    names: list[str] = []

    def load(name: str, options: LoadOptions) -> ByteModel:
        names.append(name)
        path = Path(name.partition(":")[2])
        content = (path / "model.safetensors" if path.is_dir() else path).read_bytes()
        if b"broken" in content:
            raise UsageError(f"model {path}: broken;\nexpected a model")
        return StandInModel(
            name, zipfile.ZipFile(path).read("content") if path.suffix == ".pt" else content
        )

    monkeypatch.setattr(registry, "load_model", load)
    return names


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty training-run folder, relative to the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("RUN").mkdir()
    return Path("RUN")


def tensors(content: bytes = b"weights") -> bytes:
    """Return a safetensors file with one tensor."""
    header = json.dumps(
        {"a": {"dtype": "U8", "shape": [len(content)], "data_offsets": [0, len(content)]}}
    ).encode()
    return len(header).to_bytes(8, "little") + header + content


def save(run: Path, step: int, content: bytes = b"weights") -> Path:
    """Write a Hugging Face folder."""
    folder = run / f"checkpoint-{step}"
    folder.mkdir(exist_ok=True)
    for name, bytes_ in (
        ("config.json", b"{}"),
        ("tokenizer.json", b"{}"),
        ("model.safetensors", tensors(content)),
    ):
        (folder / name).write_bytes(bytes_)
    return folder


def save_zip(path: Path, content: bytes) -> None:
    """Write a zip file, as torch.save does."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("content", content)


def start_watch(
    run: Path, tasks: str = "ptb", settings: Settings = LIMIT, *, once: bool = True
) -> Iterator[ScoredCheckpoint]:
    return watch(
        run, tasks, data=demo.data(), out=Path("out"), settings=settings, every=0.05, once=once
    )


def watch_names(run: Path, tasks: str = "ptb", settings: Settings = LIMIT) -> list[str]:
    return [scored.model for scored in start_watch(run, tasks, settings)]


def history_steps() -> list[int | None]:
    return [entry.step for entry in history.read_history(Path("out"))]


# -- complete checkpoints ------------------------------------------------------------------------


def replace_by_index(folder: Path, *shards: str) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {f"layer{i}": name for i, name in enumerate(shards)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def truncate(name: str, size: int) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, size)


def one_shard_of_two(folder: Path) -> None:
    replace_by_index(folder, "one.safetensors", "two.safetensors")
    (folder / "one.safetensors").write_bytes(tensors())


def second_shard_truncated(folder: Path) -> None:
    one_shard_of_two(folder)
    (folder / "two.safetensors").write_bytes(tensors()[:-1])


def both_shards(folder: Path) -> None:
    one_shard_of_two(folder)
    (folder / "two.safetensors").write_bytes(tensors())


def truncated_index(folder: Path) -> None:
    replace_by_index(folder, "one.safetensors")
    truncate("model.safetensors.index.json", 20)(folder)


def bin_weights(content: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        save_zip(folder / "pytorch_model.bin", content)

    return change


def truncated_bin(folder: Path) -> None:
    bin_weights(b"weights")(folder)
    truncate("pytorch_model.bin", 40)(folder)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda folder: None, ""),
        (both_shards, ""),
        (bin_weights(b"weights"), ""),
        (
            lambda folder: (folder / "config.json").unlink(),
            "config.json is missing or incomplete",
        ),
        (truncate("config.json", 1), "config.json is missing or incomplete"),
        (
            lambda folder: (folder / "model.safetensors").unlink(),
            "no weights; expected one of model.safetensors, ",
        ),
        (one_shard_of_two, "two.safetensors is missing"),
        (second_shard_truncated, "two.safetensors is incomplete"),
        (truncated_index, "model.safetensors.index.json is incomplete"),
        (truncated_bin, "pytorch_model.bin is incomplete"),
        *(
            (truncate("model.safetensors", size), "model.safetensors is incomplete")
            for size in (0, 7, 8, 30, len(tensors()) - 1)
        ),
    ],
)
def test_incomplete_folder_is_described(
    run: Path, change: Callable[[Path], None], expected: str
) -> None:
    folder = save(run, 5)
    change(folder)
    (checkpoint,) = checkpoints.find_checkpoints(run)
    problem = checkpoints.find_incomplete_part(checkpoint)
    assert problem.startswith(expected)
    assert bool(problem) == bool(expected)


@pytest.mark.parametrize(
    "name", ["../other.safetensors", "/etc/passwd", "sub/one.safetensors", "..", ""]
)
def test_index_may_not_name_files_outside_its_folder(run: Path, name: str) -> None:
    replace_by_index(save(run, 5), name)
    with pytest.raises(
        UsageError, match=r"index\.json: names .*; expected files in the index's own folder"
    ):
        checkpoints.find_incomplete_part(checkpoints.find_checkpoints(run)[0])


def test_incomplete_single_file_is_described(run: Path) -> None:
    save_zip(run / "ckpt.pt", b"weights")
    (run / "model_00000010.bin").write_bytes(bytes(1025))
    assert [
        checkpoints.find_incomplete_part(checkpoint)
        for checkpoint in checkpoints.find_checkpoints(run)
    ] == ["", ""]
    os.truncate(run / "ckpt.pt", 40)
    os.truncate(run / "model_00000010.bin", 1024)
    problems = [
        "model_00000010.bin is incomplete: no weights follow its header",
        "ckpt.pt is incomplete",
    ]
    assert [
        checkpoints.find_incomplete_part(checkpoint)
        for checkpoint in checkpoints.find_checkpoints(run)
    ] == problems


def test_checkpoints_are_found_in_order_of_their_numbers(run: Path) -> None:
    for step in (1000, 20, 0):
        save(run, step)
    for name in ("ckpt.pt", "ckpt_300.pt"):
        save_zip(run / name, b"weights")
    for name in ("model_00000100.bin", "optimizer.bin", "checkpoint-7", "state_00000100_00000.bin"):
        (run / name).write_bytes(bytes(2000))
    for name in ("tmp-checkpoint-9", "checkpoint-last", "ckpt_4.pt"):
        (run / name).mkdir()
    present = checkpoints.find_checkpoints(run)
    assert [(checkpoint.number, checkpoint.model, checkpoint.name) for checkpoint in present] == [
        (0, "hf:RUN/checkpoint-0", "RUN/checkpoint-0"),
        (20, "hf:RUN/checkpoint-20", "RUN/checkpoint-20"),
        (100, "llmc:RUN/model_00000100.bin", "llmc:RUN/model_00000100.bin"),
        (300, "nanogpt:RUN/ckpt_300.pt", "nanogpt:RUN/ckpt_300.pt"),
        (1000, "hf:RUN/checkpoint-1000", "RUN/checkpoint-1000"),
        (None, "nanogpt:RUN/ckpt.pt", "nanogpt:RUN/ckpt.pt"),
    ]
    patterns = [
        "checkpoint-*",
        "checkpoint-*",
        "model_*.bin",
        "ckpt_*.pt",
        "checkpoint-*",
        "ckpt.pt",
    ]
    assert [checkpoint.series for checkpoint in present] == [
        str(run.resolve() / pattern) for pattern in patterns
    ]


# -- watching ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_slowly_written_checkpoint_is_scored_when_complete(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def train() -> None:
        folder = run / "checkpoint-20"
        folder.mkdir()
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            content = (MODEL / name).read_bytes()
            with (folder / name).open("wb") as file:
                for part in (content[: len(content) // 2], content[len(content) // 2 :]):
                    file.write(part)
                    file.flush()
                    time.sleep(0.35 if name == "model.safetensors" else 0)

    shutil.copytree(MODEL, run / "checkpoint-3")
    training = threading.Thread(target=train)
    watching = start_watch(run, once=False)
    first = next(watching)
    training.start()
    second = next(watching)
    training.join()
    assert [(scored.model, scored.step) for scored in (first, second)] == [
        ("RUN/checkpoint-3", 3),
        ("RUN/checkpoint-20", 20),
    ]
    assert "|model:checkpoint-20@" in second.results[0].signature
    (direct,) = evaluate("demo", ["ptb"], settings=LIMIT)
    assert {scored.results[0].nll_sha256 for scored in (first, second)} == {direct.nll_sha256}
    messages = caplog.messages
    assert messages[0] == "watching RUN every 0.05 s; press Ctrl-C to stop"
    assert (
        "RUN/checkpoint-20: model.safetensors is incomplete; waiting until it is complete"
        in messages
    )
    rows = list(csv.DictReader(Path("out/results.csv").read_text().splitlines()))
    assert {row["model"] for row in rows} == {"RUN/checkpoint-3", "RUN/checkpoint-20"}
    assert Path("out/curves.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("nanogpt:RUN/ckpt.pt@step2000", "nanogpt:ckpt.pt@step2000"),
        ("nanogpt:RUN/ckpt.pt@0123abcd", "nanogpt:ckpt.pt"),
    ],
)
def test_signature_of_a_renamed_checkpoint_holds_no_path(name: str, label: str) -> None:
    probabilities = np.full(256, 1 / 256)
    model = ByteModel("nanogpt:RUN/ckpt.pt", probabilities, label="nanogpt:ckpt.pt")
    (result,) = evaluate(identified.renamed(model, name), ["ptb"], data=demo.data(), settings=LIMIT)
    assert result.model.name == name
    assert f"|model:{label}@{result.model.revision}|" in result.signature.replace("%3A", ":")


def test_checkpoints_are_scored_once_in_order_of_steps(
    run: Path, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1000, 20, 300):
        save(run, step, b"%d" % step)
    (run / "model_00000100.bin").write_bytes(bytes(2000))
    calls: list[tuple[str, list[str]]] = []
    evaluate_unchanged = pipeline.evaluate

    def counting(model: registry.Model, tasks: list[str], **arguments: object) -> object:
        calls.append((model.identity().name, tasks))
        return evaluate_unchanged(model, tasks, **arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "evaluate", counting)
    drawn: list[list[int]] = []
    monkeypatch.setattr(
        curves, "svg", lambda points: drawn.append([point.step for point in points]) or b""
    )
    order = [
        "RUN/checkpoint-20",
        "llmc:RUN/model_00000100.bin",
        "RUN/checkpoint-300",
        "RUN/checkpoint-1000",
    ]
    assert watch_names(run) == order
    assert calls == [(name, ["ptb"]) for name in order]
    assert [sorted(steps) for steps in drawn] == [
        [20],
        [20, 100],
        [20, 100, 300],
        [20, 100, 300, 1000],
    ]
    calls.clear()
    assert watch_names(run) == watch_names(run.resolve()) == []
    assert calls == []
    save(run, 2000)
    assert watch_names(run) == ["RUN/checkpoint-2000"]
    calls.clear()
    assert watch_names(run, "ptb,text8") == [*order, "RUN/checkpoint-2000"], "another task"
    assert {tuple(tasks) for _, tasks in calls} == {("text8",)}
    assert watch_names(run, "ptb") == watch_names(run, "text8") == []
    assert len(watch_names(run, "ptb", Settings(limit=3))) == 5, "another protocol"
    (Path("out") / "RUN--checkpoint-20" / "text8" / "result.json").unlink()
    assert watch_names(run, "text8", Settings(limit=3))[:1] == ["RUN/checkpoint-20"]


def test_overwritten_file_is_scored_under_a_new_name_each_time(
    run: Path, loaded: list[str]
) -> None:
    scored_names: list[str] = []
    for content in (b"step 1000 a", b"step 2000 a", b"step 1000 b", b"a"):
        save_zip(run / "ckpt.pt", content)
        scored_names += watch_names(run)
    repeated_step = sha256(b"step 1000 b").hexdigest()[:8]
    no_step = sha256(b"a").hexdigest()[:8]
    name = "nanogpt:RUN/ckpt.pt"
    assert scored_names == [
        f"{name}@step1000",
        f"{name}@step2000",
        f"{name}@{repeated_step}",
        f"{name}@{no_step}",
    ]
    assert history_steps() == [1000, 2000, 1000, None]
    assert {
        result.model.name
        for entry in history.read_history(Path("out"))
        for result in history.read_model_results(Path("out"), entry.model)
    } == {*scored_names}
    assert watch_names(run) == []


def test_rewritten_folder_is_scored_under_its_revision(run: Path, loaded: list[str]) -> None:
    save(run, 500, b"old")
    first = watch_names(run)
    save(run, 500, b"new")
    revision = sha256(tensors(b"new")).hexdigest()[:8]
    assert (first, watch_names(run)) == (["RUN/checkpoint-500"], [f"RUN/checkpoint-500@{revision}"])
    save(run, 500, b"new")
    assert watch_names(run) == [f"RUN/checkpoint-500@{revision}"], (
        "the same weights keep their name"
    )
    assert history_steps() == [500, 500]


def test_broken_checkpoint_is_reported_and_retried_after_a_change(
    run: Path, loaded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    save(run, 1, b"broken")
    replace_by_index(save(run, 2), "../one.safetensors")
    save(run, 3)
    watching = start_watch(run, once=False)
    assert next(watching).step == 3
    repair = threading.Timer(0.3, save, [run, 1])
    repair.start()
    assert next(watching).step == 1
    repair.join()
    assert loaded.count("hf:RUN/checkpoint-1") == 2
    assert caplog.messages[1:] == [
        "model RUN/checkpoint-1: broken; expected a model; skipped until its files change",
        "RUN/checkpoint-2/model.safetensors.index.json: names '../one.safetensors'; "
        "expected files in the index's own folder; skipped until its files change",
    ]


def test_diverged_checkpoint_is_reported(
    run: Path, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save(run, 1, b"x")
    save(run, 2, b"y")
    score = StandInModel.score
    monkeypatch.setattr(
        StandInModel,
        "score",
        lambda self, batch: (scores := score(self, batch))._replace(
            logprobs=scores.logprobs * self.scale
        ),
        raising=False,
    )
    monkeypatch.setattr(
        StandInModel,
        "scale",
        property(lambda self: np.nan if "-1" in self._name else 1.0),
        raising=False,
    )
    watching = start_watch(run)
    assert next(watching).step == 2
    with pytest.raises(
        UsageError, match=r"RUN: not scored: checkpoint-1; .*checkpoint-1: .*is nan; expected"
    ):
        next(watching)


def test_checkpoint_that_changes_during_loading_is_retried(
    run: Path, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_zip(run / "ckpt.pt", b"step 1")
    load = registry.load_model

    def slow(name: str, options: LoadOptions) -> registry.Model:
        model = load(name, options)
        if len(loaded) == 1:
            save_zip(run / "ckpt.pt", b"step 2")
        return model

    monkeypatch.setattr(registry, "load_model", slow)
    assert next(start_watch(run, once=False)).step == 2
    assert history_steps() == [2]


def test_folder_without_a_tokenizer_needs_the_option(
    run: Path, loaded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    (save(run, 1) / "tokenizer.json").unlink()
    with pytest.raises(UsageError, match="not scored: checkpoint-1"):
        watch_names(run)
    assert "RUN/checkpoint-1: it has no tokenizer; expected --tokenizer with" in caplog.text
    options = LoadOptions(tokenizer="mine")
    scored = watch(
        run,
        "ptb",
        data=demo.data(),
        out=Path("out"),
        settings=LIMIT,
        options=options,
        every=0.01,
        once=True,
    )
    assert next(scored).step == 1


# -- the command ---------------------------------------------------------------------------------


def run_watch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[object, str, str]:
    defaults = ["--data=demo", "--tasks=ptb", "--limit=2", "--out=out", "--every=0.02"]
    monkeypatch.setattr(sys, "argv", ["gpt2eval", "watch", *defaults, *arguments])
    with pytest.raises(SystemExit) as caught:
        main.main()
    printed = capsys.readouterr()
    return caught.value.code or 0, printed.out, printed.err


def test_command_logs_every_checkpoint_to_a_tracker(
    run: Path,
    loaded: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    logged: list[tuple[str, int, list[str]]] = []

    class Listener:
        def log(self, run: str, found: Logged) -> None:
            logged.append((run, found.step, [*found.numbers]))

        def close(self) -> None:
            logged.append(("closed", 0, []))

    monkeypatch.setattr(trackers, "KINDS", {"wandb": lambda project: Listener()})
    save(run, 20)
    save(run, 1000, b"other")
    status, _, _ = run_watch(monkeypatch, capsys, "RUN", "--once", "--track=wandb:mine")
    assert status == 0
    assert [(name, step) for name, step, _ in logged] == [("RUN", 20), ("RUN", 1000), ("closed", 0)]
    assert logged[0][2] == ["gpt2eval/ptb/ppl", "gpt2eval/ptb/nats_per_token"]


def test_command_prints_one_line_per_metric(
    run: Path,
    loaded: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save(run, 20)
    save_zip(run / "ckpt.pt", b"no step")
    code, out, _ = run_watch(monkeypatch, capsys, "RUN", "--once")
    lines = [line.split("\t") for line in out.splitlines()]
    assert code == 0
    assert [[line[0], *line[2:4]] for line in lines] == [
        ["20", "ptb", "ppl"],
        ["20", "ptb", "nats_per_token"],
        ["", "ptb", "ppl"],
        ["", "ptb", "nats_per_token"],
    ]
    assert lines[0][1] == "RUN/checkpoint-20"
    value, low, high = lines[0][4:7]
    assert float(value) > 1
    assert (low, high) == ("", ""), "two lines have no interval"
    assert "|limit:2|model:RUN/checkpoint-20@" in lines[0][7]
    assert run_watch(monkeypatch, capsys, "RUN", "--once") == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["NOWHERE"], "NOWHERE: No such file or directory; expected the folder of a training run"),
        (
            ["RUN", "--once"],
            "RUN: no checkpoint found; expected checkpoint-STEP folders, ckpt*.pt or model_*.bin",
        ),
        (["RUN", "--every=0"], "--every 0: expected more than 0 and at most 86400 seconds"),
        (["RUN", "--every=nan"], "--every nan: expected more than 0"),
        (["RUN", "--tasks=ptt"], "unknown task 'ptt'; did you mean 'ptb'?"),
        (["RUN", "--limit=0"], "--limit 0: expected a whole number"),
        (["RUN", "--data=ptb=NOTHING"], "NOTHING: no such file"),
    ],
)
def test_bad_arguments_fail_before_watching(
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    expected: str,
) -> None:
    code, out, err = run_watch(monkeypatch, capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"gpt2eval: {expected}")


def test_data_of_an_unknown_task_fails_before_watching(run: Path, loaded: list[str]) -> None:
    save(run, 20)
    data = demo.data() | {"ptt": demo.data()["ptb"]}
    with pytest.raises(UsageError, match="unknown task in --data 'ptt'; did you mean 'ptb'"):
        next(watch(run, "ptb", data=data, out=Path("out"), every=0.05, once=True))
    assert loaded == []


def test_unreadable_history_is_an_error(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("out/mine").mkdir(parents=True)
    Path("out/mine/checkpoint.json").write_text("{}")
    code, _, err = run_watch(monkeypatch, capsys, "RUN")
    assert (code, err.partition(";")[0]) == (2, "gpt2eval: out/mine/checkpoint.json: unreadable")


def test_history_of_an_older_version_is_read(run: Path, loaded: list[str]) -> None:
    save(run, 20)
    assert watch_names(run) == ["RUN/checkpoint-20"]
    (path,) = Path("out").glob("*/checkpoint.json")
    entry = json.loads(path.read_text())
    entry["written"] = entry.pop("modified_ns")
    entry["asked"] = entry.pop("settings")
    path.write_text(json.dumps(entry))
    assert watch_names(run) == []


def test_ctrl_c_stops_the_watch(run: Path) -> None:
    def accept_interrupts() -> None:  # a background process ignores SIGINT
        signal.signal(signal.SIGINT, signal.default_int_handler)

    command = [
        sys.executable,
        "-m",
        "gpt2eval",
        "watch",
        "RUN",
        "--tasks=ptb",
        "--data=demo",
        "--every=0.1",
        "--out=out",
    ]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, preexec_fn=accept_interrupts
    )
    assert process.stderr is not None
    assert [*islice(process.stderr, 1)] == [
        "gpt2eval: watching RUN every 0.1 s; press Ctrl-C to stop\n"
    ]
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130
    assert message.startswith("gpt2eval: interrupted; ")


def test_a_checkpoint_without_tokenizer_is_explained_at_the_end(run: Path) -> None:
    folder = run / "checkpoint-5"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(DEMO / "model" / name, folder)
    with pytest.raises(
        UsageError,
        match=r"not scored: checkpoint-5; .*-5: it has no tokenizer; expected --tokenizer",
    ):
        list(start_watch(run))
