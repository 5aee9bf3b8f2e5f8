"""Passages: scored spans and their units, on published text."""

import re
import time
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpt2eval.text.passages import (
    PARTS,
    after_last_blank,
    ask,
    choices,
    everything,
    head,
    last_word,
    units,
)
from gpt2eval.types import Record, Units


def without_pieces(units: Units) -> Units:
    """Drop the counts that only other tools use."""
    return replace(units, pieces=0, blanks=0)


prose = st.text(st.sampled_from("ab é\n\u2003\udcff"), min_size=1, max_size=400)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Units(0, 0, 0, 0)),
        (" \n", Units(0, 1, 2, 2)),
        ("the cat\nsat\n", Units(3, 2, 12, 12)),
        ("no end", Units(2, 0, 6, 6)),
        ("café – 名前\n", Units(3, 1, 17, 10)),
        ("a\udcc3\udca9 b", Units(2, 0, 5, 5)),
        ("one\u00a0two\tthree", Units(3, 0, 14, 13)),
        ("🙂", Units(1, 0, 4, 1)),
    ],
)
def test_units_of_known_texts(text: str, expected: Units) -> None:
    assert without_pieces(units(text)) == expected


@given(prose)
@example(" \n a  b \n \n")
def test_pieces_and_blanks_equal_the_splits_of_other_tools(text: str) -> None:
    counts = units(text)
    assert counts.pieces == len(re.split(r"\s+", text))
    assert counts.blanks == len(text.strip().split(" ")) - 1
    (passage,) = everything(Record(0, text))
    assert sum(part.units.pieces for part in passage.parts) == counts.pieces
    assert sum(part.units.blanks for part in passage.parts) == counts.blanks


# -- everything ------------------------------------------------------------------------------------


@given(prose)
def test_parts_are_adjacent_cover_the_text_and_add_up(text: str) -> None:
    (passage,) = everything(Record(3, text))
    assert (passage.record, passage.text, passage.right) == (3, text, True)
    assert "".join(text[p.start : p.end] for p in passage.parts) == text
    assert [p.start for p in passage.parts] == [0, *(p.end for p in passage.parts[:-1])]
    assert len(passage.parts) <= PARTS
    assert all(p.end > p.start for p in passage.parts)
    for start, end, counts in passage.parts:
        # Words are left out: a word that two parts share counts only where it begins.
        alone = without_pieces(units(text[start:end]))
        assert replace(without_pieces(counts), words=0) == replace(alone, words=0)
    assert sum((p.units for p in passage.parts), Units()) == units(text)
    assert units(text).words == len(text.split())
    if "\n" in text:
        assert all(text[p.end - 1] == "\n" for p in passage.parts[:-1])


def test_word_shared_by_two_parts_counts_where_it_begins() -> None:
    (passage,) = everything(Record(0, "ein Wort"))
    assert [p.units.words for p in passage.parts] == [1, 0, 0, 0, 1, 0, 0, 0]


def test_empty_text_has_one_empty_part() -> None:
    assert everything(Record(0, ""))[0].parts == ((0, 0, Units()),)


def test_stream_is_cut_at_line_ends_or_at_equal_lengths() -> None:
    lines = "a line of a stream\n" * 1000
    ends = [p.end for p in everything(Record(0, lines))[0].parts]
    assert ends == [*range(95, 19_001, 95)]
    ends = [p.end for p in everything(Record(0, "x" * 1001))[0].parts]
    assert ends == [*range(6, 1001, 6), 1001]


def article(title: str, lines: int = 3) -> str:
    return (
        f" = {title} = \n \n" + " some words of a line \n" * lines + " = = Section = = \n more \n"
    )


def test_a_text_of_articles_is_also_cut_before_each_title() -> None:
    texts = [" \n" + article("One"), article("Two", 40), article("Three", 1)]
    text = "".join(texts)
    (passage,) = everything(Record(0, text))
    begins = [passage.parts[number].start for number in passage.articles]
    assert begins == [0, len(texts[0]), len(texts[0] + texts[1])]
    assert sum((p.units for p in passage.parts), Units()) == units(text)
    # Cutting at the titles adds bounds, and moves none.
    plain = {p.end for p in everything(Record(0, text.replace("=", "-")))[0].parts}
    assert {p.end for p in passage.parts} == plain | {*begins[1:]}


@pytest.mark.parametrize(
    ("text", "articles"),
    [
        ("no title\n" * 9, 0),
        (article("Only one"), 0),
        ("= One =\n\ntext\n= Two =\n\ntext", 2),
        ("Preface\n" + article("One") + article("Two"), 0),
        ("Preface\n" + article("Name") * 30, 31),
        (article("Name") * 30, 30),
        ("= = Section = =\n" * 40, 0),
        ("a = b\n" * 40, 0),
    ],
)
def test_a_text_of_articles_begins_with_a_title_or_has_many(text: str, articles: int) -> None:
    (passage,) = everything(Record(0, text))
    assert len(passage.articles) == articles


def test_a_record_among_others_is_one_part() -> None:
    text = " \n" + article("One") + article("Two")
    (passage,) = ask("everything", Record(3, text), alone=False)
    assert (passage.parts, passage.articles) == (((0, len(text), units(text)),), ())
    assert ask("everything", Record(3, text), alone=True) == everything(Record(3, text))
    assert ask("everything", Record(3, ""), alone=False)[0].parts == ((0, 0, Units()),)
    assert ask("last_word", Record(3, text), alone=False) == last_word(Record(3, text))


def test_blank_text_is_counted_in_linear_time() -> None:
    def cost(size: int) -> float:
        begin = time.process_time()
        everything(Record(0, " \n" * size))
        return time.process_time() - begin

    cost(1000)
    assert min(cost(40_000) for _ in range(3)) < 12 * min(cost(10_000) for _ in range(3)) + 0.01


# -- the last word ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "scored", "units"),
    [
        ("He asked for Anna", " Anna", Units(1, 0, 4, 4)),
        ("He asked for Anna \n", " Anna", Units(1, 0, 4, 4)),
        ("He asked for\n Zoë", "\n Zoë", Units(1, 0, 4, 3)),
        ("He asked for\nAnna", "\nAnna", Units(1, 0, 4, 4)),
        ("alone", "alone", Units(1, 0, 5, 5)),
    ],
)
def test_last_word_includes_the_white_space_before_it(text: str, scored: str, units: Units) -> None:
    (passage,) = last_word(Record(0, text))
    (part,) = passage.parts
    assert passage.text[part.start : part.end] == scored
    assert without_pieces(part.units) == units
    assert part.end == len(passage.text) == len(text.rstrip())


@given(prose.filter(lambda text: bool(text.split())))
def test_last_word_equals_the_last_of_split(text: str) -> None:
    (passage,) = last_word(Record(0, text))
    (part,) = passage.parts
    assert passage.text[part.start :].split() == text.split()[-1:]
    assert not passage.text[: part.start].endswith((" ", "\n", "\u2003"))


# -- choices ---------------------------------------------------------------------------------------

QUESTION = Record(4, "A dog .\nThe XXXXX ran off .", "dog", ("cat", "dog", "lion tamer"))


def test_each_choice_fills_the_blank_and_is_scored_to_the_end() -> None:
    passages = choices(QUESTION, to_the_end=True)
    assert [p.text for p in passages] == [f"A dog .\nThe {o} ran off ." for o in QUESTION.options]
    assert [p.text[slice(*p.parts[0][:2])] for p in passages] == [
        f" {o} ran off ." for o in QUESTION.options
    ]
    assert [p.parts[0].units.words for p in passages] == [4, 4, 5]
    assert [(p.record, p.choice, p.right) for p in passages] == [
        (4, 0, False),
        (4, 1, True),
        (4, 2, False),
    ]


def test_candidate_is_scored_to_the_end_of_the_option() -> None:
    passages = choices(QUESTION, to_the_end=False)
    assert [p.text[slice(*p.parts[0][:2])] for p in passages] == [f" {o}" for o in QUESTION.options]
    assert [p.parts[0].units for p in passages] == [units(o) for o in QUESTION.options]


@pytest.mark.parametrize(
    ("text", "scored"),
    [("XXXXX ran", "cat ran"), ("«XXXXX ran", "cat ran"), ("the\nXXXXX ran", "\ncat ran")],
)
def test_white_space_before_a_choice_is_scored_and_nothing_else(text: str, scored: str) -> None:
    (passage,) = choices(Record(0, text, "cat", ("cat",)), to_the_end=True)
    assert passage.text[passage.parts[0].start :] == scored


# -- limits ----------------------------------------------------------------------------------------


def test_head_returns_the_first_records() -> None:
    records = [Record(i, f"line {i}\n") for i in range(5)]
    assert [*head(records, 2, stream=False)] == records[:2]
    assert [*head(records, 9, stream=False)] == [*head(records, None, stream=True)] == records


@given(prose, st.integers(1, 12))
def test_head_of_a_stream_is_its_first_lines(text: str, limit: int) -> None:
    (record,) = head([Record(0, text)], limit, stream=True)
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    assert record.text == ("".join(lines[:limit]) if "\n" in text else text)


def test_head_of_a_stream_without_lines_counts_thousands_of_characters() -> None:
    (record,) = head([Record(0, "x" * 5000)], 3, stream=True)
    assert len(record.text) == 3000


def test_head_of_one_question_is_that_question() -> None:
    assert [*head([QUESTION], 1, stream=False)] == [QUESTION]


@pytest.mark.parametrize(
    ("text", "scored"),
    [
        ("He asked for Anna", " Anna"),
        ("He asked \n\n for\n", " \n\n for\n"),
        ("He asked for ", " "),
        ("alone", "alone"),
    ],
)
def test_after_last_blank_includes_all_white_space_before_it(text: str, scored: str) -> None:
    (passage,) = after_last_blank(Record(0, text))
    assert (passage.text, passage.text[passage.parts[0].start :]) == (text, scored)


def test_after_last_blank_always_counts_one_word() -> None:
    for text in ("spoke of the Words of\n\nPower", "hello world "):
        (passage,) = after_last_blank(Record(0, text))
        assert passage.parts[0].units.words == 1
