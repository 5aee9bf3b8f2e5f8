"""Texts in another form than their detokenizer reads: refused, or named in the signature."""

from pathlib import Path

import pytest
from conftest import Run

from gpt2eval import evaluate
from gpt2eval.errors import UsageError
from gpt2eval.settings import Settings
from gpt2eval.text import fit
from gpt2eval.text.detokenizer import Detokenizer, RoundTrip
from gpt2eval.text.loader import load_detokenizer
from gpt2eval.text.prepare import detokenize

GOOD = " he did n't say why \n"
BAD = "he did n't say why\n"


def kept(name: str, text: str, *, allowed: bool = False) -> str:
    report = RoundTrip()
    detokenizer = load_detokenizer(name)
    detokenize(text, detokenizer, report)
    return fit.kept("task mine: file", detokenizer, report, allowed=allowed)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD * 40,
        GOOD * 9 + BAD,  # a single line of a few records
        GOOD * 95 + BAD * 5,
    ],
)
def test_few_lines_may_be_kept(text: str) -> None:
    assert kept("ptb", text) == ""


@pytest.mark.parametrize(
    ("text", "counts"), [(BAD, "1 of 1"), (GOOD * 8 + BAD * 2, "2 of 10"), (BAD * 40, "40 of 40")]
)
def test_many_kept_lines_are_refused_or_named(text: str, counts: str) -> None:
    with pytest.raises(UsageError, match=f"task mine: file: detokenizer ptb.1: {counts} lines"):
        kept("ptb", text)
    assert kept("ptb", text, allowed=True) == f"(kept {counts.replace(' of ', '/')})"


@pytest.mark.parametrize(
    ("name", "line", "cause"),
    [
        ("ptb", "he did n't say", "the published lines begin and end with a space"),
        ("wikitext", "He came , and went .", "the published lines begin and end with a space"),
        ("wikitext", "", "an empty line"),
        ("wikitext", "He came , and went . <eos>", "<eos> is not part of the published text"),
        ("lm1b", 'He said, "come.", and went; why?', "the text is not tokenized"),
    ],
)
def test_error_names_the_line_and_the_cause(name: str, line: str, cause: str) -> None:
    with pytest.raises(UsageError, match=cause) as caught:
        kept(name, f"{line}\n" * 30)
    assert f"line 1: {line!r}" in str(caught.value)
    assert "--allow-kept" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_first_line_is_numbered() -> None:
    with pytest.raises(
        UsageError, match="2 of 4 lines are not in the form that it reads; line 3: "
    ):
        kept("ptb", GOOD * 2 + BAD * 2)


def test_one_way_detokenizer_keeps_no_lines() -> None:
    assert kept("lambada", BAD) == kept("megatron", BAD) == ""


def test_task_and_text_are_refused_or_named_in_the_signature(tmp_path: Path) -> None:
    file = tmp_path / "mixed.txt"
    file.write_text((GOOD + BAD) * 10, encoding="utf-8")
    with pytest.raises(UsageError, match="10 of 20 lines"):
        evaluate("toy:unigram", ["ptb"], data={"ptb": file})
    allowed = Settings(allow_kept=True)
    result = evaluate("toy:unigram", ["ptb"], data={"ptb": file}, settings=allowed)["ptb"]
    assert result.protocol.detok == "ptb.1(kept 10/20)"
    assert result.detokenizer.kept == 10


def test_command_line_and_config_file(gpt2eval: Run, tmp_path: Path) -> None:
    file = tmp_path / "stripped.txt"
    file.write_text(BAD * 40, encoding="utf-8")
    command = f"run --model toy:unigram --text {file} --detokenizer ptb --out {tmp_path}/r".split()
    ended = gpt2eval(*command)
    assert (ended.code, ended.out) == (2, "")
    assert "40 of 40 lines" in ended.err
    assert gpt2eval(*command, "--allow-kept").code == 0
    config = tmp_path / "run.yaml"
    config.write_text("allow-kept: true\n", encoding="utf-8")
    assert gpt2eval(*command, "--config", config).code == 0


def test_a_line_of_prose_is_not_marked_all_over() -> None:
    detokenizer = load_detokenizer("lm1b")
    assert isinstance(detokenizer, Detokenizer)
    done = detokenizer.do('He said, "come.", and went; why? No, not I, he said: "go".')
    assert done.as_published
