"""Code in the current folder does not run unasked, and quoted text does not control a terminal."""

import subprocess
import sys
from pathlib import Path

import pytest

from gpt2eval.cli.output import CleanStream, escape_control, print_styled
from gpt2eval.models import registry
from tests.conftest import Run

# Packages that dependencies look for and that are usually not installed.
OPTIONAL = (
    *("pytz", "numexpr", "bottleneck", "h2", "brotli", "brotlicffi", "zstandard", "socksio"),
    *("orjson", "ujson", "simplejson", "lz4", "accelerate", "bitsandbytes", "flash_attn"),
    *("torchvision", "torchaudio", "tensorflow", "jax", "flax", "sentencepiece", "cupy"),
    *("IPython", "ipywidgets", "google", "kernels", "hf_xet", "openpyxl", "lxml", "pandas_gbq"),
)
STRAY = 'import pathlib\npathlib.Path(__file__).with_suffix(".ran").touch()\n'


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder with stray modules that leave a trace when they run."""
    for name in OPTIONAL:
        (tmp_path / f"{name}.py").write_text(STRAY, encoding="utf-8")
    (tmp_path / "text.txt").write_text("some words\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    "start",
    [
        [str(Path(sys.executable).with_name("gpt2eval"))],
        [sys.executable, "-m", "gpt2eval"],
    ],
    ids=["script", "module"],
)
def test_stray_modules_do_not_run(checkpoint: Path, start: list[str]) -> None:
    if not Path(start[0]).exists():
        pytest.skip("the command is not installed beside this interpreter")
    options = ["--model", "toy:unigram", "--text", "text.txt", "--out", "out"]
    for command in (["run", *options], ["table", "out"], ["table", "out", "--format", "csv"]):
        ended = subprocess.run(
            [*start, *command], cwd=checkpoint, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
    assert [path.name for path in checkpoint.glob("*.ran")] == []


def test_factory_in_the_current_folder_is_found(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkpoint / "a_factory_here.py").write_text(
        "import sys\nfrom pathlib import Path\n"
        "from gpt2eval.models import toy\n"
        "def Mine(): return toy.load('uniform-bytes', None)\n"
        "assert str(Path.cwd()) in sys.path\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(checkpoint)
    before = [*sys.path]
    model = registry.load_model("a_factory_here:Mine")
    assert model.identity()
    assert sys.path == before


DETOKENIZER = "title: T\nversion: 1\npython: 'beside_the_task:Plain'\n"
PLAIN = "class Plain:\n    def do(self, line): return line\n    undo = do\n"
TASK = """\
{title: T, citation: C, licence: L, version: 1, source: {file: {name: mine.txt}}, format: lines,
 ask: everything, unit: byte, metrics: [bpb], detokenizer: mine}
"""


@pytest.fixture
def include(tmp_path: Path) -> Path:
    """A folder of a task whose detokenizer is a Python class beside it."""
    folder = tmp_path / "include"
    for kind, content in (("tasks", TASK), ("detokenizers", DETOKENIZER)):
        (folder / kind).mkdir(parents=True)
        (folder / kind / "mine.yaml").write_text(content, encoding="utf-8")
    (folder / "beside_the_task.py").write_text(PLAIN + STRAY, encoding="utf-8")
    (tmp_path / "mine.txt").write_text("some words\n", encoding="utf-8")
    return folder


def test_code_of_an_include_folder_needs_trust(
    gpt2eval: Run, include: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(include.parent)
    words = ["check", "mine", "--data", "mine=mine.txt", "--include", str(include)]
    refused = gpt2eval(*words)
    assert refused.code == 2
    assert "mine.yaml: python: beside_the_task:Plain: No module named" in refused.err
    assert "--trust-include" in refused.err
    assert not (include / "beside_the_task.ran").exists()
    before = [*sys.path]
    for order in ([*words, "--trust-include"], ["check", "--trust-include", *words[1:]]):
        assert gpt2eval(*order).code == 0
        assert sys.path == before
    assert (include / "beside_the_task.ran").exists()


# -- what a terminal would obey --

HOSTILE = "\x1b[2J\x1b]0;title\x07 \x9b31m \u202eright to left\r overwritten \x00 \u2028 \x7f"


def test_escaping_leaves_no_control_character() -> None:
    cleaned = escape_control(HOSTILE)
    assert all(character.isprintable() for character in cleaned)
    assert cleaned.startswith("\\x1b[2J\\x1b]0;title\\x07 \\x9b31m \\u202eright")
    ordinary = "naïve café — „Zitat“ 日本語 עברית emoji 🤗\ttab\nline"
    assert escape_control(ordinary) == ordinary


def test_records_and_names_are_printed_without_control_characters(
    gpt2eval: Run, tmp_path: Path
) -> None:
    file = tmp_path / "text \x1b[31m.txt"
    file.write_text(HOSTILE + "\nsecond line\n", encoding="utf-8", newline="")
    for words in (
        ["show", "text8", "--data", f"text8={file}"],
        ["check", "ptb", "--data", f"ptb={file}"],
        ["run", "--model", "toy:unigram", "--tasks", "ptb", "--data", f"ptb={file}"],
        ["run", "--model", "toy:unigram", "--text", str(file)],
        ["run", "--model", f"no such {HOSTILE}"],
        ["table", str(tmp_path / HOSTILE.replace("\x00", ""))],
        ["show", HOSTILE.replace("\x00", "")],
    ):
        ended = gpt2eval(*words)
        for printed in (ended.out, ended.err):
            assert not {c for c in printed if not c.isprintable()} - {"\n"}


def test_stream_escapes_what_it_cannot_encode(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="ascii") as file:
        stream = CleanStream(file)
        print("a\udcff é \x1b b", file=stream)
        assert (stream.isatty(), stream.fileno()) == (False, file.fileno())
    assert (tmp_path / "out").read_text(encoding="ascii") == "a\\udcff \\xe9 \\x1b b\n"


def test_styles_of_our_own_pass(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", CleanStream(sys.stdout))
    print("\x1b[1mquoted")
    print_styled("\x1b[1mours")
    monkeypatch.undo()
    assert capsys.readouterr().out == "\\x1b[1mquoted\n\x1b[1mours\n"


def test_unexpected_errors_are_one_clean_line(
    gpt2eval: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError(f"{HOSTILE} http://me:canary@host")

    monkeypatch.setattr("gpt2eval.cli.main.app", fail)
    ended = gpt2eval("ls")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "unexpected ZeroDivisionError" in ended.err
    monkeypatch.setenv("GPT2EVAL_TRACEBACK", "1")
    traced = gpt2eval("ls").err
    assert "Traceback" in traced
    for printed in (ended.err, traced):
        assert "canary" not in printed
        assert not {c for c in printed if not c.isprintable()} - {"\n"}
