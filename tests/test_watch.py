"""Watching a run: what counts as a whole checkpoint, each scored once and under its own name, whatever comes between."""

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
from gpt2eval.models import registry
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.toy import ByteModel
from gpt2eval.pipeline import Settings
from gpt2eval.report import plots
from gpt2eval.training import checkpoints, history
from gpt2eval.training.watch import ScoredCheckpoint, watch
from gpt2eval.types import ModelIdentity

MODEL = DEMO / "model"
LIMIT = Settings(limit=2)


class Trained(ByteModel):
    """A stand-in for what lies in a file: its probabilities, revision and step follow from the content."""

    def __init__(self, name: str, content: bytes) -> None:
        counts = 1.0 + np.bincount(np.frombuffer(content, np.uint8), minlength=256)
        super().__init__(name, counts / counts.sum())
        self.said = {"step": content.split()[1].decode()} if content.startswith(b"step ") else {}
        self.said["revision"] = sha256(content).hexdigest()[:8]

    def identity(self) -> ModelIdentity:
        return replace(super().identity(), **self.said)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Checkpoints are stand-ins; the names of those that were loaded. One that says `broken` does not load."""
    names: list[str] = []

    def load(name: str, options: LoadOptions) -> ByteModel:
        names.append(name)
        path = Path(name.partition(":")[2])
        content = (path / "model.safetensors" if path.is_dir() else path).read_bytes()
        if b"broken" in content:
            raise UsageError(f"model {path}: broken;\nexpected a model")
        return Trained(
            name, zipfile.ZipFile(path).read("content") if path.suffix == ".pt" else content
        )

    monkeypatch.setattr(registry, "load_model", load)
    return names


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a training run, as it is called where the command is given."""
    monkeypatch.chdir(tmp_path)
    Path("RUN").mkdir()
    return Path("RUN")


def tensors(content: bytes = b"weights") -> bytes:
    """A safetensors file with one tensor."""
    header = json.dumps(
        {"a": {"dtype": "U8", "shape": [len(content)], "data_offsets": [0, len(content)]}}
    ).encode()
    return len(header).to_bytes(8, "little") + header + content


def save(run: Path, step: int, content: bytes = b"weights") -> Path:
    """A Hugging Face folder."""
    folder = run / f"checkpoint-{step}"
    folder.mkdir(exist_ok=True)
    for name, bytes_ in (
        ("config.json", b"{}"),
        ("tokenizer.json", b"{}"),
        ("model.safetensors", tensors(content)),
    ):
        (folder / name).write_bytes(bytes_)
    return folder


def pt(path: Path, content: bytes) -> None:
    """A zip file, as torch.save writes."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("content", content)


def watched(
    run: Path, tasks: str = "ptb", settings: Settings = LIMIT, *, once: bool = True
) -> Iterator[ScoredCheckpoint]:
    return watch(
        run, tasks, data=demo.data(), out=Path("out"), settings=settings, every=0.05, once=once
    )


def names(run: Path, tasks: str = "ptb", settings: Settings = LIMIT) -> list[str]:
    return [scored.model for scored in watched(run, tasks, settings)]


def steps() -> list[int | None]:
    return [record.step for record in history.read(Path("out"))]


# -- what is whole -------------------------------------------------------------------------------------------------


def shards(folder: Path, *shard: str) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {f"layer{i}": name for i, name in enumerate(shard)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, size)


def one_of_two(folder: Path) -> None:
    shards(folder, "one.safetensors", "two.safetensors")
    (folder / "one.safetensors").write_bytes(tensors())


def half_of_two(folder: Path) -> None:
    one_of_two(folder)
    (folder / "two.safetensors").write_bytes(tensors()[:-1])


def two_of_two(folder: Path) -> None:
    one_of_two(folder)
    (folder / "two.safetensors").write_bytes(tensors())


def half_an_index(folder: Path) -> None:
    shards(folder, "one.safetensors")
    cut("model.safetensors.index.json", 20)(folder)


def bin_(content: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        pt(folder / "pytorch_model.bin", content)

    return change


def half_a_bin(folder: Path) -> None:
    bin_(b"weights")(folder)
    cut("pytorch_model.bin", 40)(folder)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda folder: None, ""),
        (two_of_two, ""),
        (bin_(b"weights"), ""),
        (
            lambda folder: (folder / "config.json").unlink(),
            "config.json is not there, or not whole",
        ),
        (cut("config.json", 1), "config.json is not there, or not whole"),
        (
            lambda folder: (folder / "model.safetensors").unlink(),
            "it has no weights: expected one of model.safetensors, ",
        ),
        (one_of_two, "two.safetensors is not there"),
        (half_of_two, "two.safetensors is not whole"),
        (half_an_index, "model.safetensors.index.json is not whole"),
        (half_a_bin, "pytorch_model.bin is not whole"),
        *(
            (cut("model.safetensors", size), "model.safetensors is not whole")
            for size in (0, 7, 8, 30, len(tensors()) - 1)
        ),
    ],
)
def test_what_a_folder_lacks(run: Path, change: Callable[[Path], None], expected: str) -> None:
    folder = save(run, 5)
    change(folder)
    (found,) = checkpoints.find(run)
    lack = checkpoints.lacking(found)
    assert lack.startswith(expected)
    assert bool(lack) == bool(expected)


@pytest.mark.parametrize(
    "name", ["../other.safetensors", "/etc/passwd", "sub/one.safetensors", "..", ""]
)
def test_an_index_that_names_files_elsewhere(run: Path, name: str) -> None:
    shards(save(run, 5), name)
    with pytest.raises(
        UsageError, match=r"index\.json: names .*; expected files of its own folder"
    ):
        checkpoints.lacking(checkpoints.find(run)[0])


def test_what_single_files_lack(run: Path) -> None:
    pt(run / "ckpt.pt", b"weights")
    (run / "model_00000010.bin").write_bytes(bytes(1025))
    assert [checkpoints.lacking(found) for found in checkpoints.find(run)] == ["", ""]
    os.truncate(run / "ckpt.pt", 40)
    os.truncate(run / "model_00000010.bin", 1024)
    lacks = ["model_00000010.bin is no longer than its header", "ckpt.pt is not whole"]
    assert [checkpoints.lacking(found) for found in checkpoints.find(run)] == lacks


def test_names_numbers_and_order(run: Path) -> None:
    for step in (1000, 20, 0):
        save(run, step)
    for name in ("ckpt.pt", "ckpt_300.pt"):
        pt(run / name, b"weights")
    for name in ("model_00000100.bin", "optimizer.bin", "checkpoint-7", "state_00000100_00000.bin"):
        (run / name).write_bytes(bytes(2000))
    for name in ("tmp-checkpoint-9", "checkpoint-last", "ckpt_4.pt"):
        (run / name).mkdir()
    found = checkpoints.find(run)
    assert [(checkpoint.number, checkpoint.model, checkpoint.name) for checkpoint in found] == [
        (0, "hf:RUN/checkpoint-0", "RUN/checkpoint-0"),
        (20, "hf:RUN/checkpoint-20", "RUN/checkpoint-20"),
        (100, "llmc:RUN/model_00000100.bin", "llmc:RUN/model_00000100.bin"),
        (300, "nanogpt:RUN/ckpt_300.pt", "nanogpt:RUN/ckpt_300.pt"),
        (1000, "hf:RUN/checkpoint-1000", "RUN/checkpoint-1000"),
        (None, "nanogpt:RUN/ckpt.pt", "nanogpt:RUN/ckpt.pt"),
    ]
    kinds = ["checkpoint-*", "checkpoint-*", "model_*.bin", "ckpt_*.pt", "checkpoint-*", "ckpt.pt"]
    assert [checkpoint.series for checkpoint in found] == [
        str(run.resolve() / kind) for kind in kinds
    ]


# -- watching ------------------------------------------------------------------------------------------------------


def test_a_checkpoint_that_arrives_slowly_is_taken_when_it_is_whole(
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
    watching = watched(run, once=False)
    first = next(watching)
    training.start()
    second = next(watching)
    training.join()
    assert [(scored.model, scored.step) for scored in (first, second)] == [
        ("RUN/checkpoint-3", 3),
        ("RUN/checkpoint-20", 20),
    ]
    (direct,) = evaluate("demo", ["ptb"], settings=LIMIT)
    assert {scored.results[0].nll_sha256 for scored in (first, second)} == {direct.nll_sha256}
    said = caplog.messages
    assert said[0] == "watching RUN, every 0.05 s; Ctrl-C ends it"
    assert "RUN/checkpoint-20: model.safetensors is not whole; it waits until it is whole" in said
    rows = list(csv.DictReader(Path("out/results.csv").read_text().splitlines()))
    assert {row["model"] for row in rows} == {"RUN/checkpoint-3", "RUN/checkpoint-20"}
    assert Path("out/curves.svg").read_bytes().startswith(b"<?xml")


def test_in_order_of_steps_and_once_each(
    run: Path, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1000, 20, 300):
        save(run, step, b"%d" % step)
    (run / "model_00000100.bin").write_bytes(bytes(2000))
    calls: list[tuple[str, list[str]]] = []
    evaluated = pipeline.evaluate

    def counting(model: registry.Model, tasks: list[str], **given: object) -> object:
        calls.append((model.identity().name, tasks))
        return evaluated(model, tasks, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "evaluate", counting)
    drawn: list[list[int]] = []
    monkeypatch.setattr(
        plots, "svg", lambda points: drawn.append([point.step for point in points]) or b""
    )
    order = [
        "RUN/checkpoint-20",
        "llmc:RUN/model_00000100.bin",
        "RUN/checkpoint-300",
        "RUN/checkpoint-1000",
    ]
    assert names(run) == order
    assert calls == [(name, ["ptb"]) for name in order]
    assert [sorted(steps) for steps in drawn] == [
        [20],
        [20, 100],
        [20, 100, 300],
        [20, 100, 300, 1000],
    ]
    calls.clear()
    assert names(run) == names(run.resolve()) == []
    assert calls == []
    save(run, 2000)
    assert names(run) == ["RUN/checkpoint-2000"]
    calls.clear()
    assert names(run, "ptb,text8") == [*order, "RUN/checkpoint-2000"], "another task"
    assert {tuple(tasks) for _, tasks in calls} == {("text8",)}
    assert names(run, "ptb") == names(run, "text8") == []
    assert len(names(run, "ptb", Settings(limit=3))) == 5, "another protocol"
    (Path("out") / "RUN-checkpoint-20" / "text8" / "result.json").unlink()
    assert names(run, "text8", Settings(limit=3))[:1] == ["RUN/checkpoint-20"]


def test_a_file_that_is_written_over_and_over(run: Path, loaded: list[str]) -> None:
    made: list[str] = []
    for content in (b"step 1000 a", b"step 2000 a", b"step 1000 b", b"a"):
        pt(run / "ckpt.pt", content)
        made += names(run)
    again, none = (sha256(content).hexdigest()[:8] for content in (b"step 1000 b", b"a"))
    name = "nanogpt:RUN/ckpt.pt"
    assert made == [f"{name}@step1000", f"{name}@step2000", f"{name}@{again}", f"{name}@{none}"]
    assert steps() == [1000, 2000, 1000, None]
    assert {
        result.model.name
        for record in history.read(Path("out"))
        for result in record.results(Path("out"))
    } == {*made}
    assert names(run) == []


def test_a_folder_written_anew(run: Path, loaded: list[str]) -> None:
    save(run, 500, b"old")
    first = names(run)
    save(run, 500, b"new")
    revision = sha256(tensors(b"new")).hexdigest()[:8]
    assert (first, names(run)) == (["RUN/checkpoint-500"], [f"RUN/checkpoint-500@{revision}"])
    save(run, 500, b"new")
    assert names(run) == [f"RUN/checkpoint-500@{revision}"], "the same weights keep their name"
    assert steps() == [500, 500]


def test_a_broken_checkpoint_is_said_and_skipped_until_it_changes(
    run: Path, loaded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    save(run, 1, b"broken")
    shards(save(run, 2), "../one.safetensors")
    save(run, 3)
    watching = watched(run, once=False)
    assert next(watching).step == 3
    mend = threading.Timer(0.3, save, [run, 1])
    mend.start()
    assert next(watching).step == 1
    mend.join()
    assert loaded.count("hf:RUN/checkpoint-1") == 2
    assert caplog.messages[1:] == [
        "model RUN/checkpoint-1: broken; expected a model; skipped until it changes",
        "RUN/checkpoint-2/model.safetensors.index.json: names '../one.safetensors'; "
        "expected files of its own folder; skipped until it changes",
    ]


def test_a_checkpoint_that_diverged(
    run: Path, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save(run, 1, b"x")
    save(run, 2, b"y")
    score = Trained.score
    monkeypatch.setattr(
        Trained,
        "score",
        lambda self, batch: (s := score(self, batch))._replace(logprobs=s.logprobs * self.scale),
        raising=False,
    )
    monkeypatch.setattr(
        Trained,
        "scale",
        property(lambda self: np.nan if "-1" in self._name else 1.0),
        raising=False,
    )
    watching = watched(run)
    assert next(watching).step == 2
    with pytest.raises(
        UsageError, match=r"RUN: not scored: checkpoint-1; expected whole checkpoints"
    ):
        next(watching)


def test_a_checkpoint_that_changes_while_it_is_loaded(
    run: Path, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pt(run / "ckpt.pt", b"step 1")
    load = registry.load_model

    def slow(name: str, options: LoadOptions) -> registry.Model:
        made = load(name, options)
        if len(loaded) == 1:
            pt(run / "ckpt.pt", b"step 2")
        return made

    monkeypatch.setattr(registry, "load_model", slow)
    assert next(watched(run, once=False)).step == 2
    assert steps() == [2]


def test_a_folder_without_a_tokenizer(
    run: Path, loaded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    (save(run, 1) / "tokenizer.json").unlink()
    with pytest.raises(UsageError, match="not scored: checkpoint-1"):
        names(run)
    assert (
        "RUN/checkpoint-1: no tokenizer was saved with it; expected --tokenizer with" in caplog.text
    )
    own = LoadOptions(tokenizer="mine")
    scored = watch(
        run,
        "ptb",
        data=demo.data(),
        out=Path("out"),
        settings=LIMIT,
        options=own,
        every=0.01,
        once=True,
    )
    assert next(scored).step == 1


# -- the command ---------------------------------------------------------------------------------------------------


def ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[object, str, str]:
    given = ["--data=demo", "--tasks=ptb", "--limit=2", "--out=out", "--every=0.02"]
    monkeypatch.setattr(sys, "argv", ["gpt2eval", "watch", *given, *arguments])
    with pytest.raises(SystemExit) as caught:
        main.main()
    printed = capsys.readouterr()
    return caught.value.code or 0, printed.out, printed.err


def test_the_command_prints_a_line_per_number(
    run: Path,
    loaded: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save(run, 20)
    pt(run / "ckpt.pt", b"no step")
    code, out, _ = ended(monkeypatch, capsys, "RUN", "--once")
    lines = [line.split("\t") for line in out.splitlines()]
    assert code == 0
    assert [line[:3:2] for line in lines] == [
        ["20", "ppl"],
        ["20", "nats_per_token"],
        ["", "ppl"],
        ["", "nats_per_token"],
    ]
    assert lines[0][1] == "RUN/checkpoint-20"
    assert "|limit:2|model:RUN/checkpoint-20@" in lines[0][4]
    assert ended(monkeypatch, capsys, "RUN", "--once") == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["NOWHERE"], "NOWHERE: No such file or directory; expected the folder of a training run"),
        (
            ["RUN", "--once"],
            "RUN: no checkpoint there; expected checkpoint-STEP folders, ckpt*.pt or model_*.bin",
        ),
        (["RUN", "--every=0"], "--every 0: expected seconds, more than 0 and at most 86400"),
        (["RUN", "--every=nan"], "--every nan: expected seconds"),
        (["RUN", "--tasks=ptt"], "unknown task 'ptt'; did you mean 'ptb'?"),
        (["RUN", "--limit=0"], "--limit 0: expected a whole number"),
        (["RUN", "--data=ptb=NOTHING"], "--data ptb=NOTHING: no such file"),
    ],
)
def test_bad_arguments_end_it_at_once(
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    expected: str,
) -> None:
    code, out, err = ended(monkeypatch, capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"gpt2eval: {expected}")


def test_a_history_that_is_none(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("out/mine").mkdir(parents=True)
    Path("out/mine/checkpoint.json").write_text("{}")
    code, _, err = ended(monkeypatch, capsys, "RUN")
    assert (code, err.partition(";")[0]) == (2, "gpt2eval: out/mine/checkpoint.json: not readable")


def test_ctrl_c_ends_it(run: Path) -> None:
    def heed() -> (
        None
    ):  # even where the tests themselves run in the background, which ignores SIGINT
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
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed)
    assert process.stderr is not None
    assert [*islice(process.stderr, 1)] == ["gpt2eval: watching RUN, every 0.1 s; Ctrl-C ends it\n"]
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "gpt2eval: interrupted; the same command goes on from the last finished unit\n"
