"""The checking engine: whatever a scheme says, every line comes back, and spans move with the text."""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpt2eval.text.detokenizer import (
    ESCAPE,
    Detokenizer,
    Moved,
    OneWaySteps,
    RoundTrip,
    apply,
    detokenize,
    fair,
)
from gpt2eval.text.schemes import Edit, RuleScheme, Swap, WholeLine
from gpt2eval.types import Part, Passage, Units


def swap(find: str, put: str) -> Swap:
    return Swap(re.compile(find), put)


def glue(find: str) -> Swap:
    return Swap(re.compile(find), None)


STOPS = RuleScheme((glue(r"( )[.,]"), swap("``|''", '"')), (swap(r"(?<=\w)([.,])", r" \1"),))
LIAR = RuleScheme((swap("colour", "color"), glue("( )[.,]")), (swap(r"(?<=\w)([.,])", r" \1"),))


class Functions:
    """A scheme of two functions, for what rules would never do."""

    def __init__(self, do: Callable[[str], str], undo: Callable[[str], str]) -> None:
        self._do, self._undo = do, undo

    def do(self, line: str) -> str:
        return self._do(line)

    def undo(self, fair: str) -> str:
        return self._undo(fair)


# -- any rules, any text -------------------------------------------------------------------------------------------

ALPHABET = f"ab .'\"@{ESCAPE}"
scraps = st.text(ALPHABET, max_size=3)
finds = st.one_of(
    scraps.map(re.escape),
    st.sampled_from([r"\b", r"^.", r".$", r"(?<=a).", r"[ab]+", r" +", r"(?<!\w)'"]),
)
swaps = st.builds(swap, finds, st.one_of(scraps, st.just(r"\g<0>\g<0>")))
glues = st.builds(
    lambda a, b, c: glue(f"{a}({b}){c}"), scraps.map(re.escape), finds, scraps.map(re.escape)
)
rules = st.lists(st.one_of(swaps, glues), max_size=4).map(tuple)
inverses = st.lists(swaps, max_size=4).map(tuple)
lines = st.one_of(
    st.text(ALPHABET, max_size=30), st.text(st.characters(exclude_characters="\n"), max_size=30)
)


@st.composite
def honest(draw: st.DrawFn) -> RuleScheme:
    """Swaps of one scrap for another, and the same swaps back: right on some lines only."""
    pairs = draw(st.lists(st.tuples(st.text(ALPHABET, min_size=1, max_size=3), scraps), max_size=4))
    do = (swap(re.escape(a), b.replace("\\", "")) for a, b in pairs)
    back = (swap(re.escape(b), a) for a, b in reversed(pairs) if b)
    return RuleScheme(tuple(do), tuple(back))


schemes = st.one_of(st.builds(RuleScheme, rules, inverses), honest())


@given(schemes, st.lists(lines, min_size=1, max_size=4))
@example(STOPS, ["It ran , he said .", "It ran, he said.", f"{ESCAPE}It ran .", ESCAPE, ""])
@example(LIAR, ["The colour ran .", "The color ran ."])
@example(RuleScheme((glue("(a)"),), ()), [f"a{ESCAPE}b"])
@example(RuleScheme((glue("(a)"),), (swap("^", "a"),)), [f"a{ESCAPE}b"])
def test_every_line_comes_back_whatever_the_rules(scheme: RuleScheme, published: list[str]) -> None:
    detokenizer = Detokenizer("random", scheme)
    for line in published:
        done = detokenizer.do(line)
        assert detokenizer.undo(done.text) == line
        assert done.text == apply(line, done.edits)
        assert not done.kept or done.text in (line, ESCAPE + line)


@given(
    st.sampled_from(
        [
            str.upper,
            str.lower,
            str.strip,
            str.title,
            lambda s: s[::-1],
            lambda s: s + s,
            lambda _: "",
        ]
    ),
    lines,
)
@example(lambda line: ESCAPE + line, "a")
def test_every_line_comes_back_whatever_a_class_does(do: Callable[[str], str], line: str) -> None:
    for undo in (do, str.strip, lambda s: s[: len(s) // 2]):
        detokenizer = Detokenizer("functions", WholeLine(Functions(do, undo)))
        assert detokenizer.undo(detokenizer.do(line).text) == line


@given(schemes, st.lists(lines, min_size=1, max_size=6), st.booleans())
def test_a_text_is_its_lines(scheme: RuleScheme, published: list[str], ends: bool) -> None:
    detokenizer, report = Detokenizer("random", scheme), RoundTrip()
    text = "\n".join(published) + "\n" * ends
    stripped = text.removesuffix("\n").split("\n")
    moved = detokenize(text, detokenizer, report)
    assert isinstance(moved, Moved)
    assert moved.text == "\n".join(
        detokenizer.do(line).text for line in stripped
    ) + "\n" * text.endswith("\n")
    assert moved.text == apply(text, moved.edits)
    done = [detokenizer.do(line) for line in stripped]
    assert report.lines == len(stripped)
    assert report.changed == sum(d.text != line for d, line in zip(done, stripped, strict=True))
    assert report.edits == sum(len(d.edits) for d in done)
    assert report.dropped == sum(len(d.dropped) for d in done) == sum(report.most_dropped.values())
    assert report.kept == sum(d.kept for d in done)


# -- known lines ---------------------------------------------------------------------------------------------------


def test_a_line_that_comes_back_is_edited_in_full() -> None:
    done = Detokenizer("stops", STOPS).do("It ran , he said .")
    assert (done.text, done.dropped, done.kept) == ("It ran, he said.", (), False)
    assert done.edits == (Edit(6, 7, ""), Edit(16, 17, ""))


def test_only_the_edit_that_does_not_come_back_is_dropped() -> None:
    done = Detokenizer("liar", LIAR).do("The long colour of the wall ran .")
    assert (done.text, done.kept) == ("The long colour of the wall ran.", False)
    assert done.dropped == (Edit(9, 15, "color"),)


def test_the_edit_that_is_dropped_may_be_a_little_before_the_difference() -> None:
    scheme = RuleScheme((glue("^(x )"), glue("( )[.]")), STOPS.back)
    done = Detokenizer("first", scheme).do("x x x y and so on .")
    assert (done.text, done.dropped) == ("x x x y and so on.", (Edit(0, 2, ""),))
    far = "x " * 8 + "y and so on and on ."
    assert (
        Detokenizer("first", scheme).do(far).text,
        Detokenizer("first", scheme).do(far).kept,
    ) == (far, True)


def test_a_published_line_that_is_anothers_fair_form_is_told_apart() -> None:
    detokenizer = Detokenizer("stops", STOPS)
    spaced, tight = detokenizer.do("He ran ."), detokenizer.do("He ran.")
    assert (spaced.text, spaced.kept) == ("He ran.", False)
    assert (tight.text, tight.kept) == (f"{ESCAPE}He ran.", True)
    assert [detokenizer.undo(f.text) for f in (spaced, tight)] == ["He ran .", "He ran."]


def test_a_kept_line_that_cannot_be_mistaken_stands_as_it_is() -> None:
    scheme = RuleScheme((swap("a", "b"),), (swap("x", "y"),))
    done = Detokenizer("far", scheme).do("x and a long way off")
    assert (done.text, done.kept, done.edits) == ("x and a long way off", True, ())


@pytest.mark.parametrize("line", [ESCAPE, f"{ESCAPE}He ran .", f"{ESCAPE}{ESCAPE}"])
def test_a_line_that_begins_with_the_escape_gets_another(line: str) -> None:
    detokenizer = Detokenizer("stops", STOPS)
    done = detokenizer.do(line)
    assert (done.text, done.kept) == (ESCAPE + line, True)
    assert detokenizer.undo(done.text) == line


def test_a_one_way_scheme_is_applied_in_full() -> None:
    detokenizer, report = Detokenizer("liar", LIAR, invertible=False), RoundTrip()
    assert (
        detokenize("The colour ran .\nThe color ran.\n", detokenizer, report).text
        == "The color ran.\nThe color ran.\n"
    )
    assert (report.lines, report.changed, report.edits, report.dropped, report.kept) == (
        2,
        1,
        2,
        0,
        0,
    )


def test_the_leftmost_of_overlapping_edits_stands_then_the_earlier_rule() -> None:
    scheme = RuleScheme((swap("bc", "1"), swap("ab", "2"), swap("bcd", "3")), ())
    assert scheme.propose("abc bcd") == [Edit(0, 2, "2"), Edit(4, 6, "1")]


def test_the_report_names_what_was_dropped() -> None:
    report = RoundTrip()
    detokenize("The long colour of it .\n" * 3, Detokenizer("liar", LIAR), report)
    assert report.most_dropped.most_common() == [("[colour→color]", 3)]


# -- spans ---------------------------------------------------------------------------------------------------------


@st.composite
def edited(draw: st.DrawFn) -> tuple[str, list[Edit]]:
    """A text and edits in order that do not overlap, some insertions, some cuts."""
    text = draw(st.text("abc \n", max_size=25))
    bounds = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    edits = [
        Edit(a, b, draw(st.text("xyz", max_size=3)))
        for a, b in zip(bounds[::2], bounds[1::2], strict=False)
    ]
    return text, edits


def moved_naively(edits: Sequence[Edit], position: int) -> int:
    """Walk the published text character by character, and count the characters of the fair one."""
    at, out = 0, 0
    for edit in edits:
        if edit.start >= position:
            break
        out += edit.start - at + len(edit.new)
        at = edit.end
    return out + max(0, position - at)


@given(edited())
def test_positions_move_as_their_characters_do(case: tuple[str, list[Edit]]) -> None:
    text, edits = case
    moved = Moved(apply(text, edits), tuple(edits))
    positions = moved.positions(range(len(text) + 1))
    assert positions == [moved_naively(edits, p) for p in range(len(text) + 1)]
    assert positions == sorted(positions)
    touched = {i for e in edits for i in range(e.start, e.end)}
    inserted = {e.start for e in edits}
    for i in set(range(len(text))) - touched - inserted:
        assert moved.text[positions[i]] == text[i], (
            "a character that no edit touches is where its position went"
        )
    assert positions[-1] == len(moved.text) or len(text) in inserted


def spans(passage: Passage) -> list[str]:
    return [passage.text[part.start : part.end] for part in passage.parts]


def passage(*parts: str, before: str = "") -> Passage:
    """A passage of adjacent parts."""
    bounds = [len(before) + sum(map(len, parts[:i])) for i in range(len(parts) + 1)]
    return Passage(
        0, before + "".join(parts), tuple(Part(a, b, Units(words=7)) for a, b in pairwise(bounds))
    )


def test_a_passage_is_made_fair_and_its_parts_with_it() -> None:
    published = passage("He ran , she\n", "said .\n", "Oh , no .")
    report = RoundTrip()
    made = fair(published, Detokenizer("stops", STOPS), join="\n", lead=None, report=report)
    assert spans(made) == ["He ran, she\n", "said.\n", "Oh, no."]
    assert [part.units.words for part in made.parts] == [7, 7, 7]
    assert (report.lines, report.edits) == (3, 4)
    assert spans(fair(published, None, join=" ", lead=None, report=None)) == [
        "He ran , she ",
        "said . ",
        "Oh , no .",
    ]


@pytest.mark.parametrize("before", ["", " ", "  \n "])
def test_a_lead_replaces_the_white_space_at_the_beginning(before: str) -> None:
    asked = passage(" end .", before=f"{before}At the")
    made = fair(asked, Detokenizer("stops", STOPS), join="\n", lead="\n", report=None)
    assert (made.text, spans(made)) == ("\nAt the end.", [" end."])
    assert fair(asked, None, join=" ", lead="", report=None).text == "At the end ."


def test_a_blank_that_is_cut_before_the_scored_word_leaves_the_word() -> None:
    made = fair(
        passage(" .", before="He ran"),
        Detokenizer("stops", STOPS),
        join="\n",
        lead=None,
        report=None,
    )
    assert (made.text, spans(made)) == ("He ran.", ["."])


@given(
    schemes,
    st.text(ALPHABET + "\n", min_size=1, max_size=40),
    st.lists(st.integers(0, 40), max_size=4),
)
@example(RuleScheme((swap("$", "!"),), (swap("!$", ""),)), "a\nb", [1])
def test_parts_of_a_fair_text_stay_adjacent_and_cover_it(
    scheme: RuleScheme, text: str, cuts: list[int]
) -> None:
    bounds = sorted({0, len(text), *(c for c in cuts if c < len(text))})
    published = passage(*(text[a:b] for a, b in pairwise(bounds)))
    made = fair(published, Detokenizer("random", scheme), join="\n", lead=None, report=None)
    assert "".join(spans(made)) == made.text


def test_published_steps_follow_one_another_and_carry_positions_along() -> None:
    text = 'He said " so , \n it " and 1 @,@ 000 .'
    stages = OneWaySteps(
        "steps",
        [Swap(re.compile(r'"\s*([^"]*?)\s*"'), r'"\1"'), Swap(re.compile(" ([,.])"), r"\1")],
    ).stages(text)
    assert stages.text == 'He said "so, \n it" and 1 @,@ 000.'
    for word in ("He", "said", "and", "000"):
        start = text.index(word)
        assert stages.positions([start, start + len(word)]) == [
            stages.text.index(word),
            stages.text.index(word) + len(word),
        ]
    report = RoundTrip()
    assert detokenize(
        text, OneWaySteps("steps", [Swap(re.compile("a"), "b")]), report
    ).text == text.replace("a", "b")
    assert (report.lines, report.changed, report.edits) == (1, 1, 2)


@given(
    st.text("ab ,", max_size=30),
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b b", " ,", "[ab]+", "$", "^ "]), st.text("a ,", max_size=3)
        ),
        max_size=5,
    ),
)
def test_published_steps_are_substitutions(text: str, pairs: list[tuple[str, str]]) -> None:
    expected = text
    for find, put in pairs:
        expected = re.sub(find, put, expected)
    stages = OneWaySteps("steps", [Swap(re.compile(find), put) for find, put in pairs]).stages(text)
    assert stages.text == expected
    assert stages.positions([0, len(text)])[1] <= len(expected)
