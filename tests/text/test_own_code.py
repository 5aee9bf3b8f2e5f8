"""Detokenizer files of other authors: Python classes and regular expressions that misbehave."""

import sys
import time
from pathlib import Path

import pytest

from gpt2eval.errors import UsageError
from gpt2eval.text.detokenizer import Detokenizer
from gpt2eval.text.loader import load_detokenizer
from gpt2eval.text.passages import units
from gpt2eval.text.prepare import detokenize_passage
from gpt2eval.types import Part, Passage

CLASSES = """
class Good:
    def do(self, line): return line.replace(" ,", ",")
    def undo(self, text): return text.replace(",", " ,")
class NoUndo:
    def do(self, line): return line
class Raises(Good):
    def do(self, line): raise KeyError(line)
class ReturnsNone(Good):
    def undo(self, text): return None
class NeedsArgument(Good):
    def __init__(self, argument): pass
class FailsToStart(Good):
    def __init__(self): raise OSError("no\\nmodel")
class Exits(Good):
    def do(self, line): raise SystemExit(0)
class ExitsAtStart(Good):
    def __init__(self): raise SystemExit(0)
instance = Good()
"""


def write(folder: Path, content: str) -> Path:
    path = folder / "detokenizers" / "mine.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"title: T\nversion: 1\n{content}\n", encoding="utf-8")
    return path


def problem(folder: Path, content: str, line: str = "a , b") -> str:
    path = write(folder, content)
    with pytest.raises(UsageError) as caught:
        load_detokenizer("mine", [folder]).do(line)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module on the import path that defines the classes above."""
    (tmp_path / "misbehaving_classes.py").write_text(CLASSES, encoding="utf-8")
    (tmp_path / "misbehaving_exit.py").write_text("raise SystemExit(3)", encoding="utf-8")
    (tmp_path / "misbehaving_syntax.py").write_text("def (:", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return "misbehaving_classes"


def test_class_with_both_directions_is_accepted(tmp_path: Path, module: str) -> None:
    write(tmp_path, f"python: '{module}:Good'")
    detokenizer = load_detokenizer("mine", [tmp_path])
    assert isinstance(detokenizer, Detokenizer)
    assert detokenizer.do("a , b").text == "a, b"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("{module}:NoUndo", "has no do and undo; expected a class with methods do(line)"),
        ("{module}:instance", "has no do and undo"),
        ("{module}:Raises", "do raises KeyError: 'a , b'"),
        ("{module}:ReturnsNone", "undo returns NoneType"),
        ("{module}:NeedsArgument", "TypeError"),
        ("{module}:FailsToStart", "OSError: no model; expected a class that takes no arguments"),
        ("{module}:Exits", "do raises SystemExit: 0"),
        ("{module}:ExitsAtStart", "SystemExit: 0; expected a class that takes no arguments"),
        ("{module}:Missing", "has no attribute 'Missing'"),
        ("misbehaving_exit:Good", "3; expected a module that imports"),
        ("misbehaving_syntax:Good", "invalid syntax"),
        ("no_such_module:Good", "expected an installed module, or one in a folder of --include"),
        ("builtins:dict", "has no do and undo"),
        ("builtins:print", "has no do and undo"),
        ("os.path:join", "has no do and undo"),
        *((bad, "not of the form 'module:Class'") for bad in (":", "a:", ":B", "a:b.c", "..a:B")),
        *((bad, "not of the form 'module:Class'") for bad in ("a b:C", "a:B:C", "a/b:C", "")),
    ],
)
def test_other_references_are_one_line(
    tmp_path: Path, module: str, reference: str, expected: str
) -> None:
    if not reference:
        reference = "None"
    message = problem(tmp_path, f"python: '{reference.format(module=module)}'")
    assert message.startswith("python: ")
    assert expected in message


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("{glue: '(a+)+$'}", "do.0: '(a+)+$' repeats a repetition"),
        ("{glue: '((a{0,60000})){0,60000}'}", "repeats a repetition"),
        ("{glue: '(?=(x|a*)*)b'}", "repeats a repetition"),
        ("{swap: '(?:a|aa)+$', by: b}", "takes more than 2.0 s on a text of 61 characters, at 'aa"),
        ("{glue: 'a{4294967294}'}", "do.0: 'a{4294967294}' counts repetitions of 4,294,967,294"),
        ("{glue: '(?:ab{1,999}c){1,999}'}", "counts repetitions of 999,999 characters"),
        ("{glue: '" + "(" * 2000 + ")" * 2000 + "'}", "too complex to compile"),
        ("{glue: '" + "a" * 20_000 + "'}", "an expression of 20,000 characters"),
        ("{glue: '(a'}", "invalid regular expression: '(a'"),
        ("{swap: a, by: '\\9'}", "invalid regular expression"),
        ("{swap: a, by: '\\g<b>'}", "invalid regular expression"),
        ("{swap: a, by: '\\'}", "invalid regular expression"),
    ],
)
def test_expressions_that_hang_or_do_not_compile(tmp_path: Path, rule: str, expected: str) -> None:
    start = time.process_time()
    assert expected in problem(tmp_path, f"do: [{rule}]", "a" * 60 + "c")
    assert time.process_time() - start < 5


@pytest.mark.parametrize(("key", "place"), [("do", "line 3"), ("steps", "from line 3 on")])
def test_a_slow_rule_is_named_with_the_record_and_the_line(
    tmp_path: Path, key: str, place: str
) -> None:
    write(tmp_path, f"{key}: [{{swap: '(?:a|aa)+$|b', by: c}}]\ninvertible: false")
    text = "b\nb\n" + "a" * 60 + "c '\nb\n"
    passage = Passage(4, text, (Part(0, len(text), units(text)),))
    with pytest.raises(UsageError, match=f"record 5, {place}, a text of") as raised:
        detokenize_passage(
            passage, load_detokenizer("mine", [tmp_path]), join="\n", lead=None, report=None
        )
    assert f"mine.yaml: {key}.0: '(?:a|aa)+$|b' takes more than 2" in str(raised.value)


def test_second_rule_is_named_by_its_number(tmp_path: Path) -> None:
    rules = "undo: [{glue: '( )x'}, {glue: '(a'}]"
    assert problem(tmp_path, rules).startswith("undo.1: invalid regular expression")


def test_copy_of_a_shipped_file_gives_the_same_text(tmp_path: Path) -> None:
    from gpt2eval.config import catalog

    line = " He said \" it 's 1 @,@ 000 \" ; ( see Fig. 2 ) , isn 't it ?"
    for name in ("wikitext", "ptb", "cbt", "lm1b", "lambada_standard"):
        shipped = catalog.find("detokenizers", name)
        (tmp_path / "detokenizers").mkdir(exist_ok=True)
        (tmp_path / "detokenizers" / "mine.yaml").write_bytes(shipped.read_bytes())
        assert load_detokenizer("mine", [tmp_path]).do(line) == load_detokenizer(name).do(line)


def test_loading_leaves_the_import_path_alone(tmp_path: Path, module: str) -> None:
    before = [*sys.path]
    write(tmp_path, f"python: '{module}:Good'")
    load_detokenizer("mine", [tmp_path])
    assert sys.path == before
