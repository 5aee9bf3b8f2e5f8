"""Repairs of single places: real cases, composed edits, and linear time on adversarial lines."""

import re
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.config import catalog
from gpt2eval.text.detokenizer import Detokenizer
from gpt2eval.text.edits import (
    Edit,
    apply_edits,
    clusters,
    compose,
    trimmed,
    white_space_edits,
)
from gpt2eval.text.loader import load_detokenizer
from gpt2eval.text.prepare import detokenize, published
from gpt2eval.text.repair import MARK
from gpt2eval.text.schemes import RuleScheme, Swap

# -- a token that the published text does not split ------------------------------------------------


@pytest.mark.parametrize(
    ("name", "line", "expected"),
    [
        (
            "wikitext",
            " The 1,000th win , at T2.5 , was 1 @,@ 000 m ( 3 @.@ 5 ft ) away . ",
            "The 1,000th win, at T2.5, was 1,000 m (3.5 ft) away.",
        ),
        (
            "wikitext",
            " Archduke Charles--the brother -- took a well @-@ known side . ",
            "Archduke Charles--the brother -- took a well-known side.",
        ),
        ("wikitext", " Republic Act No. <unk> , or so . ", "Republic Act No. <unk>, or so."),
        ("wikitext", " One — ' A ' Company — left . ", "One—'A' Company—left."),
        ("wikitext", " Nero ( / ˈnɪəroʊ / ; Latin ) . ", "Nero (/ˈnɪəroʊ/; Latin)."),
        (
            "lm1b",
            "Sales rose to £ 3.1bn. in May , he said .",
            "Sales rose to £3.1bn. in May, he said.",
        ),
        ("wikitext", " the so-called thing , and more . ", f"the so{MARK}-called thing, and more."),
        ("cbt", "I do n't know , but she 's in co. .", "I don't know, but she's in co.."),
        ("ptb", " he did n't or didn't say ", f"he didn't or did{MARK}n't say"),
    ],
)
def test_only_one_place_of_the_line_is_repaired(name: str, line: str, expected: str) -> None:
    detokenizer = load_detokenizer(name)
    assert isinstance(detokenizer, Detokenizer)
    done = detokenizer.do(line)
    assert detokenizer.undo(done.text) == line
    assert not done.as_published
    assert done.text.replace(MARK, "") == expected.replace(MARK, "") or name == "cbt"
    if name != "cbt":
        assert done.text == expected


@pytest.mark.parametrize("word", ["", " ,", " .", ' "', " ' x", " n't", " @-@ y", " ( z )"])
@pytest.mark.parametrize("name", ["wikitext", "lm1b", "cbt", "lambada_standard"])
def test_every_other_place_of_a_long_line_is_detokenized(name: str, word: str) -> None:
    """One foreign token costs at most the edits beside it, however long the line is."""
    detokenizer = load_detokenizer(name)
    assert isinstance(detokenizer, Detokenizer)
    sentence = "the old dog , a good one , sat down and did well . "
    line = f"{sentence * 20}odd,token.here?{word} {sentence * 20}".rstrip()
    line = f" {line} " if name == "wikitext" else line
    done = detokenizer.do(line)
    assert detokenizer.undo(done.text) == line
    assert not done.as_published
    assert done.text.count(" ,") <= 1
    assert done.marks <= 4


# -- edits -----------------------------------------------------------------------------------------

rules = st.lists(
    st.tuples(
        st.sampled_from(["a", "b ", "^", "$", " ", "ab", r"(?<=a)b", "c+"]),
        st.text("ab ", max_size=2),
    ),
    max_size=4,
)


@given(rules, st.text("abc ", max_size=30))
def test_undo_edits_are_those_of_undo(pairs: list[tuple[str, str]], text: str) -> None:
    scheme = RuleScheme((), tuple(Swap(re.compile(find), put) for find, put in pairs))
    edits = scheme.undo_edits(text)
    assert apply_edits(text, edits) == scheme.undo(text)
    assert all(a.end <= b.start for a, b in pairwise(edits))


@given(st.text("ab \t", max_size=30), st.text("ab \t", max_size=30))
def test_white_space_edits_turn_one_text_into_the_other(before: str, after: str) -> None:
    assert apply_edits(before, white_space_edits(before, after)) == after
    spaced = " ".join(before)
    assert apply_edits(before, white_space_edits(before, spaced)) == spaced


def test_touching_edits_share_a_cluster() -> None:
    first = [Edit(1, 2, ""), Edit(4, 5, "xy")]  # a-b, c+d -> ab, cxyd
    second = [Edit(1, 1, " "), Edit(5, 5, "!")]
    found = [(c.before, c.between, c.after) for c in clusters(first, second)]
    assert found == [((1, 2), (1, 1), (1, 2)), ((4, 5), (3, 5), (4, 7))]
    assert compose([], second, "") == second


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (Edit(1, 2, " ,"), Edit(1, 1, " ")),
        (Edit(0, 3, "a,b"), Edit(3, 3, "")),
        (Edit(0, 3, ""), Edit(0, 3, "")),
        (Edit(0, 1, "aa"), Edit(0, 0, "a")),
    ],
)
def test_trimmed_edit_does_the_same(edit: Edit, expected: Edit) -> None:
    short = trimmed("a,b", edit)
    assert apply_edits("a,b", [short]) == apply_edits("a,b", [edit])
    assert len(short.new) == len(expected.new)


# -- linear time -----------------------------------------------------------------------------------

ADVERSARIAL = [
    *(" . . .", ' " " "', " ' '", " @-@ @-@", " n't n't", " <unk> <unk>", "((((", " ( [ {", " ) ]"),
    *(
        "[[[",
        "{{{",
        '"""',
        "''''",
        "````",
        " `` ''",
        " -LRB- -RRB-",
        " -lrb-",
        " 's",
        " -- ",
        "1,1",
    ),
    *(
        "a' ",
        " s '",
        " ' s",
        "....",
        "!?!?",
        "****",
        "   ",
        " \\/ \\*",
        " N # $",
        " f ** k",
        " ’ s",
    ),
    *(
        " – — 5",
        " : / / a",
        " a @ b.",
        "<S> </S>",
        " can not",
        "& ",
        "´ s ",
        " \" ( ' . , n't `` -- 5 %",
    ),
]
SHORT = 2_000
LONG = 8 * SHORT


def seconds(detokenizer: object, pattern: str, size: int) -> float:
    """The processor time of both directions on one line of repetitions."""
    line = (pattern * (size // len(pattern) + 1))[:size]
    started = time.process_time()
    done = detokenize(line, detokenizer)  # type: ignore[arg-type]
    if isinstance(detokenizer, Detokenizer) and detokenizer.invertible:
        assert published(done.text, detokenizer) == line
    return time.process_time() - started


def check_linear(name: str, pattern: str) -> None:
    detokenizer = load_detokenizer(name)
    short = max(seconds(detokenizer, pattern, SHORT), 0.02)
    # Eight times the work: quadratic time would be 64 times as long.
    assert min(seconds(detokenizer, pattern, LONG) for _ in range(2)) < 30 * short


@pytest.mark.parametrize("name", sorted(catalog.files("detokenizers")))
@pytest.mark.parametrize("pattern", [" . . ."])
def test_time_is_linear(name: str, pattern: str) -> None:
    check_linear(name, pattern)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(catalog.files("detokenizers")))
@pytest.mark.parametrize("pattern", ADVERSARIAL)
def test_time_is_linear_for_every_kind_of_token(name: str, pattern: str) -> None:
    check_linear(name, pattern)
