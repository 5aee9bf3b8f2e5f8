"""Opening quotes at line ends: carried over to their sentence, and back."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.config.loader import load_task
from gpt2eval.data.formats import PARSERS
from gpt2eval.planning.task_plan import prepare
from gpt2eval.text.carry import carry
from gpt2eval.text.detokenizer import Detokenizer, RoundTrip
from gpt2eval.text.loader import load_detokenizer
from gpt2eval.text.prepare import detokenize, published
from gpt2eval.text.repair import MARK

TALE = (
    "` Who goes there ? '\n"
    "said the Darning-needle . '\n"
    "I shall never get into it .\n"
    "It is too small , ' she said .\n"
    "` Why do you ask ? ' '\n"
    "A friend told me , ' he said . ''\n"
)
EXPECTED = (
    "'Who goes there?'\n"
    "said the Darning-needle. \n"
    "'I shall never get into it.\n"
    "It is too small,' she said.\n"
    "'Why do you ask?' \n"
    "'A friend told me,' he said.\"\n"
)


def cbt() -> Detokenizer:
    detokenizer = load_detokenizer("cbt")
    assert isinstance(detokenizer, Detokenizer)
    return detokenizer


def test_opening_quote_goes_to_its_sentence_and_back() -> None:
    done = detokenize(TALE, cbt())
    assert done.text == EXPECTED
    assert published(done.text, cbt()) == TALE


def test_joined_lines_have_one_space_between_them() -> None:
    joined = detokenize(TALE, cbt(), joined=True).text.replace("\n", " ")
    assert joined == EXPECTED.replace(" \n", "\n").replace("\n", " ")


@pytest.mark.parametrize(
    "lines",
    [
        ["` Come here , ' she said .", "` I will . '", "He came ."],  # the speech ends there
        ["` It smells , '", "murmured he ."],  # a small letter begins no speech
        ["She is here . '", "I know ."],  # nothing says whether a speech was open
        ["` No . '", "That was the boys '", "Last word ."],  # an apostrophe
        ["` No , ' he said . '"],  # no next line
        ["", "'", "`", "''"],
    ],
)
def test_other_quotes_stay(lines: list[str]) -> None:
    assert [moved.line for moved in carry(lines)] == lines


@pytest.mark.parametrize("quote", ["'", "''", "`", "``"])
@pytest.mark.parametrize("word", ["I", "A", "Well"])
def test_every_kind_of_quote_comes_back(quote: str, word: str) -> None:
    closing = "''" if quote in ("''", "``") else "'"
    opening = "``" if quote in ("''", "``") else "`"
    text = f"{opening} Yes , {closing} he said . {quote}\n{word} did it , {closing} she said .\n"
    done = detokenize(text, cbt()).text
    mark = '"' if closing == "''" else "'"
    assert done.split("\n")[1] == f"{mark}{word} did it,{mark} she said."
    assert published(done, cbt()) == text


tokens = st.sampled_from(
    ["'", "''", "`", "``", "I", "A", "Well", ".", ",", "it", "n't", MARK, MARK * 2]
)
gaps = st.sampled_from([" ", " ", " ", "\n", "\n", "  ", "", " \n"])


@given(st.lists(st.tuples(tokens, gaps), max_size=16))
def test_any_text_survives_the_round_trip(pieces: list[tuple[str, str]]) -> None:
    text = "".join(token + gap for token, gap in pieces)
    done = detokenize(text, cbt())
    assert published(done.text, cbt()) == text


def test_question_of_the_book_test_takes_the_quote_of_the_line_before_it() -> None:
    lines = [f"{n} One more line .\n" for n in range(1, 20)]
    block = [
        *lines,
        "20 ` No , ' he said . '\n",
        "21 I saw the XXXXX .\tdog\t\tdog|cat|a|b|c|d|e|f|g|h\n",
    ]
    task = load_task("cbt_cn")
    records = list(PARSERS["cbt"]("".join(block), "test"))
    passages = prepare(task, records, cbt(), RoundTrip())
    assert passages[0].text.endswith("One more line. 'No,' he said. 'I saw the dog.")
    (part,) = passages[0].parts
    assert passages[0].text[part.start : part.end] == " dog."


def test_real_books_have_few_visible_quotes_left(development_data: Path) -> None:
    text = (development_data / "cbt/cbt_valid.txt").read_text(encoding="utf-8")
    done = detokenize(text, cbt()).text
    assert published(done, cbt()) == text
    carried = sum(line.endswith(" ") for line in done.split("\n"))
    assert 5 < 1000 * carried / text.count("\n") < 12
