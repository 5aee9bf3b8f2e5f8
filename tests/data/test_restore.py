"""Re-encoded copies of a published file: recognized, restored, named, and scored as published."""

import textwrap
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from gpt2eval import evaluate
from gpt2eval.config.loader import load_task
from gpt2eval.config.schema import Task
from gpt2eval.config.source_schema import Expect, File, Source
from gpt2eval.data import corpus
from gpt2eval.data.restore import restore
from gpt2eval.errors import UsageError

PTB = (
    " the board said it wo n't pay $ N million \n"
    " <unk> shares fell N N in new york 's trading \n"
    " he can not say why \n"
)
ARTICLES = (
    ' \n = Robert Q. = \n \n Robert is a well @-@ known " actor " . \n He began in 1 @,@ 979 . \n'
    " \n = = Career = = \n \n He began early . \n He stopped . \n"
    " \n = = Works = = \n \n \n = = = Films = = = \n \n A film , and another . \n More . \n \n"
    " \n = Second (U.S.) = \n \n It is second . \n It is not first . \n \n"
)
NEWS = 'He said : " No . "\nIt won \'t rain , they say .\nThat is all .\n'
TEXTS = {"ptb": PTB, "wikitext2": ARTICLES, "wikitext103/raw": ARTICLES, "lm1b": NEWS}


def lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n")


def tokens(text: str, first: str, last: str) -> list[str]:
    return [" ".join([*first.split(), *line.split(), *last.split()]) for line in lines(text)]


def rows(text: str) -> list[str]:
    """The rows of a data set of lines: each with its end, and "" for a blank line."""
    return ["" if line == " " else f"{line}\n" for line in lines(text)]


FORMS: dict[str, Callable[[str], str]] = {
    "as published": lambda text: text,
    "stripped": lambda text: "".join(f"{line.strip()}\n" for line in lines(text)),
    "left-stripped": lambda text: "".join(f"{line.lstrip()}\n" for line in lines(text)),
    "right-stripped": lambda text: "".join(f"{line.rstrip()}\n" for line in lines(text)),
    "padded": lambda text: "".join(f" {line.strip()} \n" for line in lines(text)),
    "eos added": lambda text: "".join(f"{line.rstrip()} <eos>\n" for line in lines(text)),
    "eos only": lambda text: " ".join(tokens(text, "", "<eos>")),
    "eos for ends": lambda text: text.replace("\n", "<eos>"),
    "S": lambda text: "".join(f"{line}\n" for line in tokens(text, "<S>", "</S>")),
    "s": lambda text: "\n".join(tokens(text, "<s>", "</s>")),
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "BOM": lambda text: "\ufeff" + text,
    "no final end": lambda text: text.removesuffix("\n"),
    "rows": lambda text: "\n\n".join(rows(text)),
    "stripped rows": lambda text: "\n\n".join(row.strip() for row in rows(text)),
    "rows by one end": lambda text: "\n".join(rows(text)),
    "no blank lines": lambda text: "".join(f"{x}\n" for x in lines(text) if x.strip()),
    "tabs": lambda text: text.replace(" ", "\t"),
    "no-break spaces": lambda text: text.replace(" ", "\xa0"),
    "double spaces": lambda text: text.replace(" ", "  "),
    "two spaces at the end": lambda text: "".join(f"{x.rstrip()}  \n" for x in lines(text)),
    "EOS": lambda text: "".join(f"{line}\n" for line in tokens(text, "<BOS>", "<EOS>")),
    "SEP": lambda text: "".join(f"{line}\n" for line in tokens(text, "[CLS]", "[SEP]")),
    "eos between": lambda text: " <eos> ".join(line.strip() for line in lines(text)),
    "end of text": lambda text: "<|endoftext|>".join(lines(text)) + "<|endoftext|>",
    "CR": lambda text: text.replace("\n", "\r"),
    "header": lambda text: "text\n" + text,
    "numbers": lambda text: "".join(f"{n}\t{x}\n" for n, x in enumerate(lines(text), 1)),
    "cat -n": lambda text: "".join(f"{n:6}\t{x}\n" for n, x in enumerate(lines(text), 1)),
    "blank lines between": lambda text: "\n\n".join(lines(text)),
    "wide": lambda text: "\n \n".join(lines(text)),
    "entities": lambda text: (
        text.replace("&", "&amp;").replace("'", "&apos;").replace('"', "&quot;")
    ),
    "UNK": lambda text: text.replace("<unk>", "<UNK>"),
    "all at once": lambda text: "\ufeff" + "\r\n".join(tokens(text, "<s>", "<eos>")),
}


def published_task(name: str, text: str) -> Task:
    """A task whose published file is the text."""
    file = File(name="text.txt", sha256=sha256(text.encode()).hexdigest())
    return load_task(name).model_copy(update={"source": Source(file=file), "expect": Expect()})


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", TEXTS)
def test_every_form_of_a_published_file_is_restored(name: str, form: str) -> None:
    text = TEXTS[name]
    restored = restore(published_task(name, text), FORMS[form](text).encode())
    assert restored.content.decode() == text
    same = FORMS[form](text) == text
    assert bool(restored.names) != same


CUT_FORMS = [
    form for form in FORMS if form not in ("no final end", "s", "rows by one end", "eos between")
]


@pytest.mark.parametrize("form", CUT_FORMS)
@pytest.mark.parametrize("name", TEXTS)
def test_form_of_a_cut_is_restored_without_a_hash(name: str, form: str) -> None:
    text = TEXTS[name]
    if name == "lm1b" and form in ("stripped rows", "rows"):
        text = text.removesuffix("\n") + "\n"
    restored = restore(load_task(name), FORMS[form](text).encode())
    assert restored.content.decode() == text


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "One line in another form .\n",
        lambda text: text + "<eos>\n",
        lambda text: text.replace("\n", "\r\n", 1),
        lambda text: text.removesuffix("\n"),
    ],
)
def test_other_forms_are_left_alone(name: str, change: Callable[[str], str]) -> None:
    content = change(TEXTS[name]).encode()
    assert restore(load_task(name), content) == (content, ())


@pytest.mark.parametrize("text", ["a long text\nof two lines\n", "one line\n"])
def test_text_without_a_layout_gets_its_own_line_ends_back(text: str) -> None:
    task = published_task("text8", text)
    copies = {
        text: (),
        text.removesuffix("\n"): ("final line end",),
        text.replace("\n", "\r\n"): ("CRLF line ends",),
        "\ufeff" + text: ("byte-order mark",),
        "\ufeff" + text.removesuffix("\n"): ("byte-order mark", "final line end"),
    }
    for copy, names in copies.items():
        assert restore(task, copy.encode()) == (text.encode(), names)
    for other in (f"{text}more", f"{text}\n", "more", " ", "\0"):
        assert restore(task, other.encode()) == (other.encode(), ())
    assert restore(task, b"a\xff") == (b"a\xff", ())


def test_restoration_is_named_and_decides_whether_the_file_is_published(tmp_path: Path) -> None:
    file = tmp_path / "copy.txt"
    file.write_text(FORMS["stripped"](PTB), encoding="utf-8", newline="")
    read = corpus.load_corpus(published_task("ptb", PTB), file, strict=True)
    assert (read.published, read.origin) == (True, "copy.txt (restored: outer blanks)")
    assert read.sha256 == sha256(PTB.encode()).hexdigest()


def test_damaged_utf8_is_left_to_the_parser() -> None:
    assert restore(load_task("ptb"), b" a \xff \n") == (b" a \xff \n", ())


@pytest.mark.parametrize("form", ["stripped", "eos added", "eos only", "rows", "CRLF"])
def test_re_encoded_copy_has_the_result_of_the_published_file(form: str, tmp_path: Path) -> None:
    results = []
    for number, text in enumerate((PTB, FORMS[form](PTB))):
        file = tmp_path / f"{number}.txt"
        file.write_text(text, encoding="utf-8", newline="")
        measured = evaluate("toy:unigram", ["ptb"], data={"ptb": file})["ptb"]
        results.append((measured.ppl, measured.metrics["ppl"].signature))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ptb", "test/ptb/ptb.test.txt"),
        ("wikitext2", "test/wikitext-2/wiki.test.tokens"),
        *(
            pytest.param(name, file, marks=pytest.mark.slow)
            for name, file in (
                ("wikitext103", "test/wikitext-103/wiki.test.tokens"),
                ("wikitext2/raw", "test/wikitext-2-raw/wiki.test.raw"),
            )
        ),
    ],
)
def test_real_files_are_restored_to_the_published_hash(
    name: str, file: str, development_data: Path
) -> None:
    if not (development_data / file).is_file():
        pytest.skip(f"no {file} in the development data")
    text = (development_data / file).read_bytes().decode()
    for form, encode in FORMS.items():
        if "wiki.test.raw" in file and form in ("eos only", "S", "s", "EOS", "SEP", "all at once"):
            continue  # one line has two spaces in a row, which `split` loses
        content = restore(load_task(name), encode(text).encode()).content
        assert content.decode() == text, form


def test_strict_data_accepts_no_other_text(tmp_path: Path) -> None:
    file = tmp_path / "copy.txt"
    file.write_text(FORMS["stripped"](PTB), encoding="utf-8", newline="")
    with pytest.raises(UsageError, match="checksum mismatch"):
        corpus.load_corpus(load_task("ptb"), file, strict=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (str.upper, "text in upper case"),
        (str.lower, "text in lower case"),
        (lambda text: text.replace("\n", " "), "lines joined"),
        (lambda text: "\n".join(text.split()) + "\n", "one word per line"),
        (lambda text: "".join(f'"{line}"\n' for line in lines(text)), "lines in quotes"),
        (lambda text: f"{textwrap.fill(text, 80)}\n", "lines wrapped at"),
    ],
)
def test_text_with_other_lines_or_case_is_refused(
    change: Callable[[str], str], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "copy.txt"
    file.write_text(change(NEWS * 300), encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        corpus.load_corpus(load_task("lm1b"), file)


def test_line_numbers_must_be_successive() -> None:
    content = b"1 of us .\n2 of us .\n4 of us .\n"
    assert restore(load_task("lm1b"), content) == (content, ())
