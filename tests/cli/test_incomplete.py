"""What `run --shard` says about the chunks that other shards have to score."""

import shlex
from pathlib import Path

import pytest
from conftest import Run

from gpt2eval.cli.incomplete import shard_command


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A text of four chunks for a model of bytes."""
    path = tmp_path / "t.txt"
    path.write_text("the river ran past the mill \n" * 8000)
    return path


def test_the_notices_name_the_remaining_shards_and_their_commands(
    gpt2eval: Run, text: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out folder"
    model = ("--model", "toy:uniform-bytes", "--text", text)
    first = gpt2eval("run", *model, "--shard", "2/3", "--out", out)
    assert first.code == 0
    lines = [line for line in first.err.splitlines() if line.startswith("gpt2eval: ")]
    assert lines[0].endswith("3 of 4 chunks missing: 0, 2, 3; they belong to shard 1/3, 3/3")
    commands = [line.partition(": gpt2eval run")[2] for line in lines[1:]]
    assert len(commands) == 2
    assert "run the same command again" not in first.err
    done = [gpt2eval("run", *shlex.split(command)) for command in commands]
    assert [ended.code for ended in done] == [0, 0]
    assert "shard" not in done[-1].err, "nothing remains"
    assert list(out.rglob("result.json"))


def test_a_run_without_shards_is_repeated(gpt2eval: Run, text: Path, tmp_path: Path) -> None:
    model = ("--model", "toy:uniform-bytes", "--text", text)
    done = gpt2eval("run", *model, "--out", tmp_path / "out")
    assert "missing" not in done.err


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["run", "--shard=1/2"], "gpt2eval run --shard=2/2"),
        (["run", "--config", "a b.yaml"], "gpt2eval run --config 'a b.yaml' --shard 2/2"),
        (
            ["run", "--shard", "1/2", "--model", "api:http://a:word@h?k=1#m"],
            "gpt2eval run --shard 2/2 --model 'api:http://***@h?***#m'",
        ),
    ],
)
def test_the_command_of_another_shard(arguments: list[str], command: str) -> None:
    assert shard_command(arguments, 2, 2) == command
