"""The command line: output, and bad input (one line on stderr, exit 2, results left intact)."""

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Ended, Run

from gpt2eval import __version__, demo, pipeline
from gpt2eval.cli import main
from gpt2eval.config import catalog
from gpt2eval.config.loader import load_task
from gpt2eval.report import store

COMMANDS = sorted(
    command.callback.__name__ for command in main.app.registered_commands if command.callback
)
TOY = "--model=toy:uniform-bytes"
DATA = demo.data()


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two tasks on two toy models."""
    out = tmp_path_factory.mktemp("measured")
    for model in ("toy:uniform-bytes", "toy:unigram"):
        command = [
            sys.executable,
            "-m",
            "gpt2eval",
            "run",
            "--model",
            model,
            "--tasks",
            "ptb,text8",
            "--data",
            "demo",
        ]
        subprocess.run([*command, "--out", out], check=True, capture_output=True)
    return out


# -- what the commands print --


@pytest.mark.parametrize("command", [*COMMANDS, ""])
def test_help_ends_with_an_example(gpt2eval: Run, command: str) -> None:
    ended = gpt2eval(*command.replace("_", "-").split(), "--help")
    assert ended.code == 0
    assert (
        ended.out.rstrip()
        .splitlines()[-1]
        .strip()
        .startswith(f"Example: gpt2eval {command.replace('_', '-')}".strip())
    )


def test_no_command_is_help_and_version_is_the_version(gpt2eval: Run) -> None:
    assert gpt2eval() == gpt2eval("--help")
    assert gpt2eval("--version") == gpt2eval("-V") == (0, f"{__version__}\n", "")


def test_help_and_ls_import_nothing_heavy() -> None:
    code = (
        "import sys; from gpt2eval.cli import main as cli; sys.argv = ['gpt2eval', sys.argv[1]]\n"
        "heavy = {'torch', 'transformers', 'datasets', 'pandas', 'matplotlib'}\n"
        "try: cli.main()\n"
        "finally: print(*sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    for command, printed in (("--help", "Usage: "), ("ls", "wikitext2")):
        ended = subprocess.run(
            [sys.executable, "-c", code, command], capture_output=True, text=True, check=True
        )
        assert printed in ended.stdout
        assert ended.stderr.strip() == ""


def test_ls_lists_every_task_variant_suite_and_detokenizer(gpt2eval: Run) -> None:
    listed = gpt2eval("ls").out.replace(",", " ").split()
    names = [
        name for kind in ("tasks", "tasks/suites", "detokenizers") for name in catalog.files(kind)
    ]
    assert {*names, *load_task("ptb").variants} <= set(listed)


@pytest.mark.parametrize(
    ("task", "as_published", "as_scored"),
    [
        ("ptb", "[[ the <unk> maker said profit rose", "[[the <unk> maker said profit rose"),
        (
            "cbt_cn/no_detok",
            " cried he , and very soon he and the[[ dog were on",
            " and very soon he and the[[ dog were on",
        ),
        (
            "cbt_cn/candidate_only",
            "he and the[[ dog]] were on the other side .",
            "he and the[[ dog]] were on the other side.",
        ),
        ("text8", "[[ farm dystopian novel", "[[ farm dystopian novel"),
    ],
)
def test_show_prints_the_file_and_marks_the_span(
    gpt2eval: Run, task: str, as_published: str, as_scored: str
) -> None:
    ended = gpt2eval("show", task, "--data", "demo")
    resolved, before, after = ended.out.split("\n# -- ")
    assert resolved.startswith(f"name: {task.partition('/')[0]}\n")
    assert as_published in before
    assert as_scored in after
    assert (ended.code, ended.err, before.count("[["), after.count("]]")) == (0, "", 1, 1)


def test_check_reports_the_round_trip(gpt2eval: Run) -> None:
    ended = gpt2eval("check", "ptb", "--data", "demo", "--sample", "3")
    assert ended.code == 0
    for line in (
        "  lines                60",
        "  round-trip failures  0",
        "  kept as published    0 (0.00 %)",
        "  speed ",
    ):
        assert f"\n{line}" in ended.out
    assert ended.out.count("\n  | ") == 3


def test_run_prints_the_table_and_writes_the_results(gpt2eval: Run, tmp_path: Path) -> None:
    ended = gpt2eval(
        "run",
        TOY,
        "--tasks",
        "text8,lm1b/stream",
        "--data",
        "demo",
        "--limit",
        "5",
        "--out",
        tmp_path,
    )
    assert ended.code == 0
    assert "| toy:uniform-bytes | 8.000*! " in ended.out
    assert "not known to be the published test data" in ended.out
    written = {
        p.relative_to(tmp_path).as_posix()
        for p in tmp_path.rglob("*.*")
        if p.is_file() and p.parent.name != "journal"
    }
    assert written == {
        "results.csv",
        "toy-uniform-bytes/text8/result.json",
        "toy-uniform-bytes/text8/run.json",
        "toy-uniform-bytes/lm1b/stream/result.json",
        "toy-uniform-bytes/lm1b/stream/run.json",
    }
    by_task = {result.full_name: result for result in store.read_results(tmp_path)}
    assert by_task["text8"].primary.value == pytest.approx(8, rel=1e-15)
    assert "|limit:5|model:toy:uniform-bytes@" in by_task["lm1b/stream"].signature
    rows = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert [row["metric"] for row in rows] == [
        *("ppl", "nats_per_token"),
        *("bpc", "byte_ppl", "nats_per_token"),
    ]
    assert {row["signature"] for row in rows} == {
        m.signature for r in by_task.values() for m in r.metrics.values()
    }


def test_run_takes_several_models_into_one_table(gpt2eval: Run, tmp_path: Path) -> None:
    models = ["--model=toy:unigram", TOY, "--model=toy:unigram"]
    ended = gpt2eval("run", *models, "--tasks=text8", "--data=demo", "--limit=5", "--out", tmp_path)
    rows = [
        line.split("|")[1].strip() for line in ended.out.splitlines() if line.startswith("| toy:")
    ]
    assert (ended.code, rows) == (0, ["toy:unigram", "toy:uniform-bytes"])
    assert {result.model.name for result in store.read_results(tmp_path)} == set(rows)


def test_run_takes_every_model_at_every_revision(
    gpt2eval: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(
        pipeline, "evaluate", lambda model, tasks, **given: asked.append(model) or []
    )
    ended = gpt2eval(
        "run",
        "--model=a/b",
        "--model=c",
        "--revisions=step1000,step2000",
        "--tasks=ptb",
        "--out",
        tmp_path,
    )
    assert (ended, asked) == (
        (0, "", ""),
        ["a/b@step1000", "a/b@step2000", "c@step1000", "c@step2000"],
    )


def test_table_in_every_format(gpt2eval: Run, measured: Path) -> None:
    markdown = gpt2eval("table", measured).out.splitlines()
    assert markdown[0].split() == ["|", "model", "|", "PTB", "|", "text8", "BPC", "|"]
    assert markdown[2].split()[:2] == ["|", "toy:uniform-bytes"]
    rows = list(csv.reader(io.StringIO(gpt2eval("table", measured, "--format", "csv").out)))
    assert [row[0] for row in rows] == ["model", "toy:uniform-bytes", "toy:unigram"] + [
        f"published {row}" for row in ("SOTA", "117M", "345M", "762M", "1542M")
    ]
    as_json = json.loads(gpt2eval("table", measured, "--format", "json").out)
    assert [[*row] for row in as_json["rows"]] == [rows[0]] * len(rows[1:])
    for row, cells in zip(as_json["rows"], rows[1:], strict=True):
        texts = {key: "" if value is None else str(value) for key, value in row.items()}
        assert texts == dict(zip(rows[0], cells, strict=True))
        assert isinstance(row["PTB"], float)
    assert "|model:toy:unigram@" in as_json["signatures"]["toy:unigram"]["PTB"]
    latex = gpt2eval("table", measured, "--format", "latex").out
    assert "\\begin{tabular}{lrr}\n" in latex
    assert "toy:uniform-bytes & " in latex


# -- bad input --


def assert_one_line(ended: Ended, *expected: str) -> None:
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("gpt2eval: ")
    assert ended.err.count("\n") == 1
    for part in expected:
        assert part in ended.err


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("run --tasks wikitxt2", "unknown task 'wikitxt2'; did you mean 'wikitext2'?"),
        ("run --tasks ptb/s33", "unknown variant of ptb 's33'; did you mean 's32'?"),
        ("show lambda", "unknown task 'lambda'; did you mean 'lambada'?"),
        ("check ptb/no_dtok", "unknown variant of ptb 'no_dtok'; did you mean 'no_detok'?"),
        ("check text8 --data demo", "task text8 has no detokenizer"),
        (
            "table MEASURED --suite gpt-paper",
            "unknown suite 'gpt-paper'; did you mean 'gpt2-paper'?",
        ),
        ("table MEASURED --format latx", "unknown format 'latx'; did you mean 'latex'?"),
        ("run --model tyo:uniform-bytes", "unknown model scheme 'tyo'; did you mean 'toy'?"),
        (
            "run --revisions step1000,",
            "--revisions step1000,: expected branches, tags or commits, separated by commas",
        ),
        ("run --model toy:unigrm", "unknown toy model 'unigrm'; did you mean 'unigram'?"),
        ("run --model toy:unigram:NOTHING", "expected a file to count bytes in"),
        ("run --data ptbb=x", "unknown task 'ptbb'; did you mean 'ptb'?"),
        ("show ptb --data ptb", "--data ptb: expected TASK=PATH, a folder that exists, or 'demo'"),
        ("check ptb --data ptb=", "--data ptb=: expected TASK=PATH"),
        (
            "run --tasks ptb --data ptb=NOTHING",
            "NOTHING: no such file; expected ptb.test.txt for --data ptb, or an archive",
        ),
        (
            "show ptb --data ptb=NOTHING",
            "NOTHING: no such file; expected ptb.test.txt for --data ptb",
        ),
        ("ls --include NOTHING", "--include NOTHING: no such folder; expected one with tasks/"),
        (
            "run --context 2000000",
            "--context 2000000: the model's context is 1048576; expected at most that",
        ),
        ("run --context 0", "--context 0: expected a whole number of 1 or more"),
        ("run --stride 0", "--stride 0: expected a whole number of 1 or more"),
        ("run --stride 1025", "task ptb: stride 1025 is above the context of 1024"),
        ("run --stride 17 --context 16", "task ptb: stride 17 is above the context of 16"),
        ("run --limit 0", "--limit 0: expected a whole number of 1 or more"),
        ("run --limit -3", "--limit -3: expected a whole number of 1 or more"),
        ("run --batch-size 0", "--batch-size 0: expected a whole number of 1 or more"),
        ("run --limit few", "'--limit'"),
        ("run --strict-data", "checksum mismatch: not the published ptb.test.txt (--strict-data)"),
        ("rum", "rum"),
        ("run --limt 3", "--limt"),
        ("table", "RESULTS"),
        ("table MEASURED --columns ptbb", "unknown column 'ptbb'; did you mean 'ptb'?"),
        (
            "table NOTHING",
            "NOTHING: no result.json; expected a file or folder that 'gpt2eval run' wrote",
        ),
    ],
)
def test_bad_argument(
    gpt2eval: Run,
    measured: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = contents(measured)
    words = [str(measured) if word == "MEASURED" else word for word in arguments.split()]
    if words[0] == "run":  # what is not said is right
        given = {
            "--model": "toy:uniform-bytes",
            "--tasks": "ptb",
            "--data": "demo",
            "--out": str(measured),
        }
        words += [f"{option}={value}" for option, value in given.items() if option not in words]
    assert_one_line(gpt2eval(*words), expected)
    assert contents(measured) == before


TASK = """\
title: Mine
citation: nobody
licence: CC0
version: 1
source: {file: {name: mine.txt}}
format: lines
unit: byte
metrics: [bpb]
"""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("strid: 32", "{file}: unknown key 'strid'; did you mean 'stride'?"),
        ("context: many", '{file}: context: input should be a valid integer; found "many"'),
        ("stride: 0", "{file}: stride: input should be greater than 0; found 0"),
        ("note: [a]", "{file}: note: input should be a valid string"),
        (
            "ask: choices",
            "{file}: ask: choices: not compatible with format lines; choices and candidate require",
        ),
        ("note: [", "{file}: not readable as YAML"),
    ],
)
@pytest.mark.parametrize("command", ["ls", "show mine", "check mine", "run --tasks=mine"])
def test_bad_task_file(
    gpt2eval: Run, tmp_path: Path, command: str, change: str, expected: str
) -> None:
    file = tmp_path / "tasks" / "mine.yaml"
    file.parent.mkdir()
    asked = "" if change.startswith("ask") else "ask: everything\n"
    file.write_text(f"{TASK}{asked}{change}\n", encoding="utf-8")
    assert_one_line(gpt2eval(*command.split(), "--include", tmp_path), expected.format(file=file))


@pytest.mark.parametrize(
    ("task", "content", "expected"),
    [
        ("wikitext2", b"", "data: empty; expected wiki.test.tokens"),
        ("wikitext2", DATA["wikitext2"].read_bytes()[:-9], "no line ending; truncated?"),
        (
            "cbt_ne",
            b"".join(DATA["cbt_ne"].read_bytes().splitlines(True)[:30]),
            "line 30: expected '21 question",
        ),
        (
            "text8",
            bytes(range(256)),
            "data: line 1: binary; expected plain UTF-8 text with LF line endings",
        ),
        (
            "ptb",
            "na\u00efve\n".encode("latin-1"),
            "data: line 1: byte 0xef is not UTF-8; expected UTF-8 text",
        ),
        (
            "ptb",
            DATA["ptb"].read_bytes().replace(b"\n", b"\r\n", 1),
            "data: line 1: CRLF line endings",
        ),
        ("lambada", b'{"text": "a b"}\n[]\n', 'data: line 2: expected {"text": "..."}'),
        (
            "lm1b",
            b"PK\3\4" + bytes(40),
            "data: cannot be read: File is not a zip file; truncated or corrupt?",
        ),
        ("cbt_cn", b"\x1f\x8b\x08" + bytes(40), "data: cannot be read: "),
    ],
)
@pytest.mark.parametrize("command", ["run", "show"])
def test_bad_data_file(
    gpt2eval: Run, tmp_path: Path, command: str, task: str, content: bytes, expected: str
) -> None:
    file = tmp_path / "data"
    file.write_bytes(content)
    arguments = (
        ("show", task)
        if command == "show"
        else ("run", TOY, "--tasks", task, "--out", tmp_path / "out")
    )
    assert_one_line(gpt2eval(*arguments, "--data", f"{task}={file}"), str(file), expected)
    assert not list(tmp_path.rglob("result.json"))


BROKEN_MODEL = """\
import numpy as np
from gpt2eval.models import toy\nfrom gpt2eval.models.options import LoadOptions

class Broken(toy.ByteModel):
    def __init__(self, value):
        super().__init__("broken", np.full(256, 1 / 256))
        self.value = value

    def score(self, batch):
        scores = super().score(batch)
        logprobs = scores.logprobs.copy()
        logprobs[9] = self.value
        return scores._replace(logprobs=logprobs)

def nan():
    return Broken(np.nan)

def infinite():
    return Broken(-np.inf)
"""


def test_a_factory_in_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from gpt2eval.models import toy\nfrom gpt2eval.models.options import LoadOptions\n"
        "def Factory():\n    return toy.load('uniform-bytes', LoadOptions())\n"
    )
    command = [
        Path(sys.executable).parent / "gpt2eval",
        "run",
        "--model",
        "mine:Factory",
        "--tasks",
        "text8",
        "--data",
        "demo",
    ]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (ended.returncode, "| 8.000" in ended.stdout) == (0, True), ended.stderr


def test_a_suite_has_its_own_columns(gpt2eval: Run, tmp_path: Path) -> None:
    (tmp_path / "tasks" / "suites").mkdir(parents=True)
    (tmp_path / "tasks" / "suites" / "two.yaml").write_text(
        "title: two\ncitation: none\ncolumns:\n"
        "  - {title: Kept, task: ptb/no_detok, metric: ppl}\n"
        "  - {title: Bits, task: text8, metric: bpc}\n"
    )
    ended = gpt2eval(
        "run",
        "--model",
        "toy:unigram",
        "--data",
        "demo",
        "--tasks",
        "two",
        "--limit",
        "3",
        "--include",
        tmp_path,
        "--out",
        tmp_path,
    )
    assert ended.out.splitlines()[0].split() == ["|", "model", "|", "Kept", "|", "Bits", "|"]


def test_a_task_of_ones_own_has_no_published_rows(gpt2eval: Run, tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "novel.yaml").write_text(
        "{title: N, citation: me, licence: MIT, version: 1, source: {file: {name: n.txt}}, "
        "format: stream, ask: everything, unit: byte, metrics: [bpb]}"
    )
    (tmp_path / "n.txt").write_text("once upon a time\n")
    ended = gpt2eval(
        "run",
        TOY,
        "--include",
        tmp_path,
        "--tasks=novel",
        f"--data=novel={tmp_path / 'n.txt'}",
        "--out",
        tmp_path,
    )
    assert (ended.code, ended.out.count("| published")) == (0, 0)


@pytest.mark.parametrize(("factory", "value"), [("nan", "nan"), ("infinite", "-inf")])
def test_log_probability_that_is_no_number(
    gpt2eval: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factory: str, value: str
) -> None:
    (tmp_path / "broken_model.py").write_text(BROKEN_MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "text").write_text("a line of some length\n")
    ended = gpt2eval(
        "run",
        "--model",
        f"broken_model:{factory}",
        "--tasks=ptb",
        f"--data=ptb={tmp_path / 'text'}",
        "--out",
        tmp_path / "out",
    )
    assert (ended.code, ended.out) == (2, "")
    message = f"record 0, token 9: the model's log-probability is {value}; expected a finite number"
    assert ended.err.splitlines()[-1] == f"gpt2eval: {message}"
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == [
        "journal.json"
    ], "no result, no unit"


@pytest.mark.parametrize(
    "place", ["out", "out/toy-uniform-bytes", "out/toy-uniform-bytes/ptb", "out/results.csv/x"]
)
def test_output_that_cannot_be_written(gpt2eval: Run, tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text("a file in the way")
    ended = gpt2eval("run", TOY, "--tasks", "ptb", "--data", "demo", "--out", tmp_path / "out")
    assert (ended.code, ended.out) == (2, "")
    last = ended.err.splitlines()[-1]
    assert last.startswith("gpt2eval: ")
    assert str(tmp_path / "out") in last
    assert "written" in last
    assert (tmp_path / place).read_text() == "a file in the way"
    assert not list(tmp_path.rglob(".*"))


def test_folder_without_a_model(gpt2eval: Run, tmp_path: Path) -> None:
    ended = gpt2eval(
        "run", "--model", tmp_path, "--tasks", "ptb", "--data", "demo", "--out", tmp_path / "out"
    )
    assert_one_line(ended, f"model {tmp_path}: ", "expected a Hub id or a folder with a causal LM")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "invalid JSON: Expecting value"),
        ("[]", "expected a JSON object"),
        ('{"task": "ptb"', "invalid JSON: Expecting ',' delimiter"),
        ('{"format": 1, "task": 3}', "tally.nats: missing; expected a count"),
        ('{"task": 3}', "cannot be migrated from format 0: metrics: field required"),
        ('{"format": 9}', "format 9; expected at most 3, or a newer gpt2eval"),
    ],
)
def test_table_of_a_broken_result(
    gpt2eval: Run, measured: Path, tmp_path: Path, content: str, expected: str
) -> None:
    file = tmp_path / "result.json"
    file.write_text(content)
    line = f"{file}: not a result of gpt2eval: {expected}"
    assert_one_line(gpt2eval("table", tmp_path), line)
    beside = gpt2eval("table", measured, tmp_path)
    assert beside.code == 0
    assert beside.out == gpt2eval("table", measured).out
    assert beside.err.startswith(f"gpt2eval: {line}")
    assert beside.err.endswith("; skipped\n")


def test_run_beside_a_broken_result(gpt2eval: Run, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "result.json").write_text("{")
    ended = gpt2eval("run", TOY, "--tasks", "ptb", "--data", "demo", "--out", tmp_path)
    assert ended.code == 0
    assert f"{tmp_path / 'old' / 'result.json'}: not a result of gpt2eval" in ended.err
    assert (tmp_path / "toy-uniform-bytes" / "ptb" / "result.json").is_file()


def test_table_of_a_folder_without_results(gpt2eval: Run, tmp_path: Path) -> None:
    assert_one_line(gpt2eval("table", tmp_path), f"{tmp_path}: no result.json;")


@pytest.mark.parametrize("model", ["toy:uniform-bytes", "toy:unigram"])
def test_two_protocols_in_one_column_only_when_asked(
    gpt2eval: Run, measured: Path, tmp_path: Path, model: str
) -> None:
    shutil.copytree(measured / "toy-uniform-bytes", tmp_path / "toy-uniform-bytes")
    gpt2eval(
        "run",
        "--model",
        model,
        "--tasks",
        "ptb",
        "--data",
        "demo",
        "--stride",
        "512",
        "--out",
        tmp_path / "other",
    )
    ended = gpt2eval("table", tmp_path)
    assert_one_line(
        ended,
        "column PTB: numbers of two protocols, which differ in stride ",
        "1024",
        "512",
        "(--mixed allows several)",
    )
    mixed = gpt2eval("table", tmp_path, "--mixed", "--format", "json")
    signatures = " ".join(row["PTB"] for row in json.loads(mixed.out)["signatures"].values())
    assert signatures.count("|stride:1024|") == signatures.count("|stride:512|") == 1
