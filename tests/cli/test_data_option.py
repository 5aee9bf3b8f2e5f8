"""Every command resolves --data by one rule: a variant's own file, else the file of its task."""

import json
import os
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from gpt2eval import UsageError, demo, evaluate, explain
from gpt2eval.analysis import inspect_task, reproduce
from gpt2eval.config.loader import load_task
from gpt2eval.data import corpus
from gpt2eval.data.local import file_of, local_files, parse_data
from gpt2eval.measurement import measure
from gpt2eval.models import registry
from gpt2eval.models.options import LoadOptions
from gpt2eval.overlap import report as overlap_report
from gpt2eval.settings import Settings
from gpt2eval.training import watch as watching

TOY = "toy:unigram"
BASE = " \n = Robert <unk> = \n \n Robert <unk> is an English actor . \n"
OWN = " \n = Robert Boulter = \n \n Robert Boulter is an English film actor , he said . \n"
VARIANT = "wikitext2/raw"


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    """Options that give a task and one of its variants different files."""
    (tmp_path / "base").write_text(BASE)
    (tmp_path / "own").write_text(OWN)
    return [f"--data=wikitext2={tmp_path / 'base'}", f"--data={VARIANT}={tmp_path / 'own'}"]


COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("run", "--model", TOY, "--tasks", VARIANT),
    "explain": ("explain", "--model", TOY, "--task", "wikitext2", "--protocols", "raw"),
    "check": ("check", VARIANT, "--sample", "9"),
    "show": ("show", VARIANT),
    "overlap": ("overlap", "TRAIN", "--tasks", VARIANT, "--format", "json"),
    "rerun": ("rerun", "SIGNATURE", "--model", TOY),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_every_command_reads_the_file_of_the_variant(
    gpt2eval: Callable[..., object], tmp_path: Path, data: list[str], command: str, reverse: bool
) -> None:
    (tmp_path / "train.txt").write_text(OWN)
    expected = evaluate(TOY, VARIANT, data={VARIANT: tmp_path / "own"})[0]
    arguments = [
        {"TRAIN": str(tmp_path / "train.txt"), "SIGNATURE": expected.signature}.get(word, word)
        for word in COMMANDS[command]
    ]
    if command not in ("check", "show"):
        arguments += ["--out", str(tmp_path / "out")]
    ended = gpt2eval(*arguments, *(reversed(data) if reverse else data))
    assert ended.code == 0, ended.err  # type: ignore[attr-defined]
    out: str = ended.out  # type: ignore[attr-defined]
    if command in ("run", "rerun"):
        assert f"data:{digest(OWN)[:8]}!" in out
    elif command == "explain":
        assert f"| {VARIANT} " in out
        assert f"| {expected.ppl:.4f}" in out
    elif command == "overlap":
        (row,) = json.loads(out)
        assert row["found"] == row["ngrams"] == len(re.findall("[a-z0-9]+", OWN.lower())) - 7
    else:
        assert "Robert Boulter" in out


def test_every_function_reads_the_file_of_the_variant(tmp_path: Path, data: list[str]) -> None:
    files = {"wikitext2": tmp_path / "base", VARIANT: tmp_path / "own"}
    task = load_task(VARIANT)
    text = corpus.load(task, local_files(files), Settings())
    backend = registry.load_model(TOY, LoadOptions())
    measured = measure(backend, task, text, Settings())
    assert measured
    result = measured.result
    assert result.data.sha256 == digest(OWN)
    assert evaluate(TOY, VARIANT, data=files)[0].ppl == result.ppl
    assert explain(TOY, "wikitext2", protocols=["raw"], data=files)["raw"].ppl == result.ppl
    assert reproduce.rerun(result.signature, TOY, data=files)[0].ppl == result.ppl
    assert "Boulter" in inspect_task.show(VARIANT, files)
    assert "Boulter" in inspect_task.check(VARIANT, files, sample=9)
    hashes = watching._hash_data(["wikitext2", VARIANT], files, Settings(), ())
    assert hashes == {"wikitext2": digest(BASE), VARIANT: digest(OWN)}
    (tmp_path / "train").write_text(OWN)
    rows = overlap_report.overlap(VARIANT, [tmp_path / "train"], files, out=tmp_path / "out")
    assert rows[0]["found"] == rows[0]["ngrams"]


def test_an_explanation_adds_up_over_the_files_of_its_variants(tmp_path: Path) -> None:
    for name, text in (("base", BASE), ("own", OWN), ("third", OWN + BASE)):
        (tmp_path / name).write_text(text)
    files = {"wikitext2": "base", VARIANT: "own", "wikitext2/hf_docs": "third"}
    paths = {name: tmp_path / path for name, path in files.items()}
    protocols = ["raw", "hf_docs", "lm_eval", "s32", "no_detok"]
    explained = explain(TOY, "wikitext2", protocols=protocols, data=paths)
    for row in explained:
        assert row.ppl == pytest.approx(evaluate(TOY, row.name, data=paths)[0].ppl, rel=1e-12)
        total = explained[0].nats + sum(step.nats for step in row.steps)
        assert row.nats == pytest.approx(total, rel=1e-12)


def test_an_explanation_of_one_published_name_names_the_local_files(tmp_path: Path) -> None:
    for name, text in (("base", BASE), ("own", OWN)):
        (tmp_path / name).write_text(text)
    paths = {"wikitext2": tmp_path / "base", "wikitext2/no_detok": tmp_path / "own"}
    (step, _) = explain(TOY, "wikitext2", protocols=["no_detok"], data=paths)["no_detok"].steps
    assert (step.group, step.before) == ("text", f"wiki.test.tokens ({tmp_path / 'base'})")
    assert step.after == f"wiki.test.tokens ({tmp_path / 'own'})"


@pytest.mark.parametrize(
    ("model", "change"),
    [
        ("demo", "windows regular -> last_full"),  # its context is smaller than the task's
        (TOY, "windows context 1024, regular -> context whole text, last_full"),
    ],
)
def test_an_explanation_gives_the_context_that_the_model_really_has(
    tmp_path: Path, model: str, change: str
) -> None:
    path = tmp_path / "text"
    path.write_text(BASE * 20)
    text = str(explain(model, "wikitext2", protocols=["lm_eval"], data={"wikitext2": path}))
    assert "1000000" not in text
    assert change in text


# -- what it refuses -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["wikitxt2=a"], "unknown task.* 'wikitxt2'; did you mean 'wikitext2'"),
        (["wikitext2/rwa=a"], "unknown variant of wikitext2 'rwa'; did you mean 'raw'"),
        (["ptb=a", "ptb=b"], "--data ptb=b: ptb has a file already, a; expected one"),
        (["ptb"], "--data ptb: expected TASK=PATH, a folder that exists, or 'demo'"),
        (["=a"], "--data =a: expected TASK=PATH"),
        (["ptb="], "--data ptb=: expected TASK=PATH"),
    ],
)
def test_another_argument_is_a_one_line_error(arguments: list[str], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        parse_data(arguments)


def test_a_mapping_with_an_unknown_variant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown variant of wikitext2 'rwa'"):
        evaluate(TOY, "wikitext2", data={"wikitext2/rwa": tmp_path})
    with pytest.raises(
        UsageError, match="data='ptb': expected a mapping of tasks to files, a folder"
    ):
        explain(TOY, "wikitext2", data="ptb")


def test_the_demo_stands_for_all_records_and_a_file_replaces_one() -> None:
    assert local_files("demo") == local_files(None, model="demo") == demo.data()
    assert local_files(None, model="gpt2") == {}
    for order in (["demo", "ptb=a"], ["ptb=a", "demo"]):
        assert parse_data(order) == demo.data() | {"ptb": Path("a")}
    assert file_of(load_task("wikitext2/raw"), demo.data()) == demo.data()["wikitext2"]


# -- a folder --------------------------------------------------------------------------------------

TASK = """
title: {name}
citation: none
licence: none
version: 1
source:
  file: {{name: text, sha256: {sha256}}}
format: stream
ask: everything
unit: word
metrics: [ppl]
variants:
  other:
    source:
      file: {{name: other}}
"""


@pytest.fixture
def include(tmp_path: Path) -> list[Path]:
    """Two tasks whose files have one name; no hash is known for the file of their variants."""
    (tmp_path / "tasks").mkdir()
    for name, text in (("first", BASE), ("second", OWN)):
        task = TASK.format(name=name, sha256=digest(text))
        (tmp_path / "tasks" / f"{name}.yaml").write_text(task)
    return [tmp_path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with both published files, and one of the same name and other content."""
    folder = tmp_path / "data"
    for place, text in (("a", "other text"), ("b", BASE), ("c/d", OWN)):
        (folder / place).mkdir(parents=True)
        (folder / place / "text").write_text(text)
    return folder


def test_the_published_hash_tells_files_of_one_name_apart(
    folder: Path, include: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    files = parse_data([str(folder)], include)
    assert file_of(load_task("first", include), files) == folder / "b" / "text"
    assert file_of(load_task("second", include), files) == folder / "c" / "d" / "text"
    assert [record.getMessage() for record in caplog.records] == [
        f"{folder}/a/text: skipped: not the published text; --data TASK={folder}/a/text uses it"
    ]
    by_folder = evaluate(TOY, ["first", "second"], data=folder, include=include)
    by_files = evaluate(TOY, ["first", "second"], data=files, include=include)
    assert [r.data.sha256 for r in by_folder] == [digest(BASE), digest(OWN)]
    assert [r.signature for r in by_folder] == [r.signature for r in by_files]
    assert not any("!" in r.signature for r in by_folder)


def test_a_variant_with_a_source_of_its_own_never_gets_the_file_of_its_task(
    folder: Path, include: list[Path]
) -> None:
    other = load_task("first/other", include)
    assert file_of(other, local_files(folder, include)) is None
    (folder / "other").write_text(OWN)
    assert file_of(other, local_files(folder, include)) == folder / "other"


def test_a_file_that_is_given_comes_before_the_folder(folder: Path, include: list[Path]) -> None:
    given = folder / "a" / "text"
    for order in ([f"first={given}", str(folder)], [str(folder), f"first={given}"]):
        files = local_files(parse_data(order, include), include)
        assert file_of(load_task("first", include), files) == given
        assert file_of(load_task("second", include), files) == folder / "c" / "d" / "text"


def test_two_files_that_only_their_name_identifies_are_an_error(
    folder: Path, include: list[Path]
) -> None:
    (folder / "a" / "other").write_text(OWN)
    (folder / "b" / "other").write_text(OWN)
    assert local_files(folder, include)
    (folder / "b" / "other").write_text(BASE)
    with pytest.raises(UsageError, match=r"a/other and .*/b/other differ, and no hash"):
        local_files(folder, include)


def test_what_cannot_be_read_is_skipped_with_a_notice(
    folder: Path, include: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "loop").symlink_to(folder)
    (folder / "text").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "other")  # to read it would never end
    found = local_files(folder, include)
    assert {*found.values()} == {folder / "b" / "text", folder / "c" / "d" / "text"}
    notices = "\n".join(caplog.messages)
    assert f"{folder}/text: skipped: No such file or directory" in notices
    assert f"{folder}/other: skipped: not a regular file; expected a file that can be" in notices


def test_a_folder_without_published_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no published file in this folder; expected .*ptb\.test"):
        parse_data([str(tmp_path)])
