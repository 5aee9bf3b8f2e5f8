"""The checked detokenizer: any scheme survives the round trip, and spans move with the text."""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpt2eval.text.detokenizer import ESCAPE, Detokenizer, OneWaySteps, RoundTrip
from gpt2eval.text.edits import Edit, EditedText, apply_edits
from gpt2eval.text.prepare import detokenize, detokenize_passage
from gpt2eval.text.repair import MARK
from gpt2eval.text.schemes import RuleScheme, Swap, WholeLine
from gpt2eval.types import Part, Passage, Units


def swap(find: str, put: str) -> Swap:
    return Swap(re.compile(find), put)


def glue(find: str) -> Swap:
    return Swap(re.compile(find), None)


# Removes spaces before punctuation and straightens quotes; `undo` does not restore the quotes.
STOPS = RuleScheme((glue(r"( )[.,]"), swap("``|''", '"')), (swap(r"(?<=\w)([.,])", r" \1"),))
# Also changes a spelling, which `undo` cannot restore.
LIAR = RuleScheme((swap("colour", "color"), glue("( )[.,]")), (swap(r"(?<=\w)([.,])", r" \1"),))


class Functions:
    """A scheme of two arbitrary functions, for changes that no rule makes."""

    def __init__(self, do: Callable[[str], str], undo: Callable[[str], str]) -> None:
        self._do, self._undo = do, undo

    def do(self, line: str) -> str:
        return self._do(line)

    def undo(self, detokenized: str) -> str:
        return self._undo(detokenized)


# -- any rules, any text ---------------------------------------------------------------------------

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
def partly_reversible(draw: st.DrawFn) -> RuleScheme:
    """Swaps of one scrap for another, and the same swaps back, which succeed on some lines only."""
    pairs = draw(st.lists(st.tuples(st.text(ALPHABET, min_size=1, max_size=3), scraps), max_size=4))
    do = (swap(re.escape(a), b.replace("\\", "")) for a, b in pairs)
    back = (swap(re.escape(b), a) for a, b in reversed(pairs) if b)
    return RuleScheme(tuple(do), tuple(back))


schemes = st.one_of(st.builds(RuleScheme, rules, inverses), partly_reversible())


@given(schemes, st.lists(lines, min_size=1, max_size=4))
@example(STOPS, ["It ran , he said .", "It ran, he said.", f"{ESCAPE}It ran .", ESCAPE, ""])
@example(LIAR, ["The colour ran .", "The color ran ."])
@example(RuleScheme((glue("(a)"),), ()), [f"a{ESCAPE}b"])
@example(RuleScheme((glue("(a)"),), (swap("^", "a"),)), [f"a{ESCAPE}b"])
def test_any_rules_survive_the_round_trip(scheme: RuleScheme, published: list[str]) -> None:
    detokenizer = Detokenizer("random", scheme)
    for line in published:
        done = detokenizer.do(line)
        assert detokenizer.undo(done.text) == line
        assert done.text == apply_edits(line, done.edits)
        assert not done.as_published or done.text in (line, ESCAPE + line)


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
def test_any_class_survives_the_round_trip(do: Callable[[str], str], line: str) -> None:
    for undo in (do, str.strip, lambda s: s[: len(s) // 2]):
        detokenizer = Detokenizer("functions", WholeLine(Functions(do, undo)))
        assert detokenizer.undo(detokenizer.do(line).text) == line


@given(schemes, st.lists(lines, min_size=1, max_size=6), st.booleans())
def test_text_is_detokenized_line_by_line(
    scheme: RuleScheme, published: list[str], ends: bool
) -> None:
    detokenizer = Detokenizer("random", scheme)
    report = RoundTrip()
    text = "\n".join(published) + "\n" * ends
    stripped = text.removesuffix("\n").split("\n")
    edited = detokenize(text, detokenizer, report)
    assert isinstance(edited, EditedText)
    expected = "\n".join(detokenizer.do(line).text for line in stripped)
    assert edited.text == expected + "\n" * text.endswith("\n")
    assert edited.text == apply_edits(text, edited.edits)
    done = [detokenizer.do(line) for line in stripped]
    assert report.lines == len(stripped)
    assert report.changed == sum(d.text != line for d, line in zip(done, stripped, strict=True))
    assert report.edits == sum(len(d.edits) for d in done)
    assert report.dropped == sum(len(d.dropped) for d in done) == sum(report.most_dropped.values())
    assert report.kept == sum(d.as_published for d in done)


# -- known lines -----------------------------------------------------------------------------------


def test_reversible_line_is_edited_in_full() -> None:
    done = Detokenizer("stops", STOPS).do("It ran , he said .")
    assert (done.text, done.dropped, done.as_published) == ("It ran, he said.", (), False)
    assert done.edits == (Edit(6, 7, ""), Edit(16, 17, ""))


def test_only_the_irreversible_edit_is_dropped() -> None:
    done = Detokenizer("liar", LIAR).do("The long colour of the wall ran .")
    assert (done.text, done.as_published) == ("The long colour of the wall ran.", False)
    assert done.dropped == (Edit(9, 15, "color"),)


def test_dropped_edit_may_lie_shortly_before_the_difference() -> None:
    scheme = RuleScheme((glue("^(x )"), glue("( )[.]")), STOPS.back)
    done = Detokenizer("first", scheme).do("x x x y and so on .")
    assert (done.text, done.dropped) == ("x x x y and so on.", (Edit(0, 2, ""),))
    far = "x " * 8 + "y and so on and on ."
    done = Detokenizer("first", scheme).do(far)
    assert (done.text, done.dropped) == (far.replace(" .", "."), (Edit(0, 2, ""),))


def test_place_that_looks_detokenized_gets_a_mark() -> None:
    detokenizer = Detokenizer("stops", STOPS)
    spaced = detokenizer.do("He ran .")
    tight = detokenizer.do("He ran.")
    assert (spaced.text, spaced.marks) == ("He ran.", 0)
    assert (tight.text, tight.marks) == (f"He ran{MARK}.", 1)
    assert not spaced.as_published
    assert not tight.as_published
    assert [detokenizer.undo(f.text) for f in (spaced, tight)] == ["He ran .", "He ran."]


def test_line_with_few_edits_stays_as_published_rather_than_get_a_mark() -> None:
    detokenizer = Detokenizer("stops", STOPS)
    few = "He left for St.Ives in May ."
    done = detokenizer.do(few)
    assert (done.text, done.as_published, done.marks) == (few, True, 0)
    assert detokenizer.undo(few) == few
    many = detokenizer.do("He left , we say , for St.Ives in May .")
    assert many.text == f"He left, we say, for St{MARK}.Ives in May."


def test_only_the_place_where_undo_errs_is_repaired() -> None:
    detokenizer = Detokenizer("stops", STOPS)
    line = "A long line , with one place.where nothing was split , and others ."
    done = detokenizer.do(line)
    assert done.text == f"A long line, with one place{MARK}.where nothing was split, and others."
    assert (done.marks, done.dropped, done.as_published) == (1, (), False)
    assert detokenizer.undo(done.text) == line


def test_unambiguous_line_left_as_published_needs_no_escape() -> None:
    scheme = RuleScheme((glue("^( )"), glue("( )[.]")), (swap("^", " "), *STOPS.back))
    done = Detokenizer("blanks", scheme).do("No blank before it .")
    assert (done.text, done.as_published, done.edits) == ("No blank before it .", True, ())


@pytest.mark.parametrize("line", [ESCAPE, f"{ESCAPE}He ran .", f"{ESCAPE}{ESCAPE}"])
def test_line_that_begins_with_the_escape_gets_another_one(line: str) -> None:
    detokenizer = Detokenizer("stops", STOPS)
    done = detokenizer.do(line)
    assert (done.text, done.as_published) == (ESCAPE + line, True)
    assert detokenizer.undo(done.text) == line


def test_one_way_scheme_is_applied_in_full() -> None:
    detokenizer = Detokenizer("liar", LIAR, invertible=False)
    report = RoundTrip()
    edited = detokenize("The colour ran .\nThe color ran.\n", detokenizer, report)
    assert edited.text == "The color ran.\nThe color ran.\n"
    assert report == RoundTrip(lines=2, changed=1, edits=2, words=7)


def test_leftmost_of_overlapping_edits_wins_then_the_earlier_rule() -> None:
    scheme = RuleScheme((swap("bc", "1"), swap("ab", "2"), swap("bcd", "3")), ())
    assert scheme.propose("abc bcd") == [Edit(0, 2, "2"), Edit(4, 6, "1")]


def test_report_names_the_dropped_edits() -> None:
    report = RoundTrip()
    detokenize("The long colour of it .\n" * 3, Detokenizer("liar", LIAR), report)
    assert report.most_dropped.most_common() == [("[colour→color]", 3)]


# -- spans -----------------------------------------------------------------------------------------


@st.composite
def edited(draw: st.DrawFn) -> tuple[str, list[Edit]]:
    """A text with ordered edits that do not overlap: replacements, insertions and deletions."""
    text = draw(st.text("abc \n", max_size=25))
    bounds = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    edits = [
        Edit(a, b, draw(st.text("xyz", max_size=3)))
        for a, b in zip(bounds[::2], bounds[1::2], strict=False)
    ]
    return text, edits


def moved_naively(edits: Sequence[Edit], position: int) -> int:
    """Walk along the published text and count the characters of the edited one."""
    read = 0
    written = 0
    for edit in edits:
        if edit.start >= position:
            break
        written += edit.start - read + len(edit.new)
        read = edit.end
    return written + max(0, position - read)


@given(edited())
def test_positions_move_with_their_characters(case: tuple[str, list[Edit]]) -> None:
    text, edits = case
    moved = EditedText(apply_edits(text, edits), tuple(edits))
    positions = moved.positions(range(len(text) + 1))
    assert positions == [moved_naively(edits, p) for p in range(len(text) + 1)]
    assert positions == sorted(positions)
    touched = {i for e in edits for i in range(e.start, e.end)}
    inserted = {e.start for e in edits}
    for i in set(range(len(text))) - touched - inserted:
        assert moved.text[positions[i]] == text[i], "an untouched character moves with its position"
    assert positions[-1] == len(moved.text) or len(text) in inserted


def spans(passage: Passage) -> list[str]:
    return [passage.text[part.start : part.end] for part in passage.parts]


def passage(*parts: str, before: str = "") -> Passage:
    """A passage of adjacent parts."""
    bounds = [len(before) + sum(map(len, parts[:i])) for i in range(len(parts) + 1)]
    return Passage(
        0, before + "".join(parts), tuple(Part(a, b, Units(words=7)) for a, b in pairwise(bounds))
    )


def test_passage_is_detokenized_and_its_parts_move_along() -> None:
    published = passage("He ran , she\n", "said .\n", "Oh , no .")
    report = RoundTrip()
    stops = Detokenizer("stops", STOPS)
    result = detokenize_passage(published, stops, join="\n", lead=None, report=report)
    assert spans(result) == ["He ran, she\n", "said.\n", "Oh, no."]
    assert [part.units.words for part in result.parts] == [7, 7, 7]
    assert (report.lines, report.edits) == (3, 4)
    joined = detokenize_passage(published, None, join=" ", lead=None, report=None)
    assert spans(joined) == ["He ran , she ", "said . ", "Oh , no ."]


@pytest.mark.parametrize("before", ["", " ", "  \n "])
def test_lead_replaces_the_white_space_at_the_beginning(before: str) -> None:
    published = passage(" end .", before=f"{before}At the")
    stops = Detokenizer("stops", STOPS)
    result = detokenize_passage(published, stops, join="\n", lead="\n", report=None)
    assert (result.text, spans(result)) == ("\nAt the end.", [" end."])
    result = detokenize_passage(published, None, join=" ", lead="", report=None)
    assert result.text == "At the end ."


def test_scored_word_survives_the_removal_of_the_space_before_it() -> None:
    published = passage(" .", before="He ran")
    stops = Detokenizer("stops", STOPS)
    result = detokenize_passage(published, stops, join="\n", lead=None, report=None)
    assert (result.text, spans(result)) == ("He ran.", ["."])


@given(
    schemes,
    st.text(ALPHABET + "\n", min_size=1, max_size=40),
    st.lists(st.integers(0, 40), max_size=4),
)
@example(RuleScheme((swap("$", "!"),), (swap("!$", ""),)), "a\nb", [1])
def test_parts_of_a_detokenized_text_stay_adjacent_and_cover_it(
    scheme: RuleScheme, text: str, cuts: list[int]
) -> None:
    bounds = sorted({0, len(text), *(c for c in cuts if c < len(text))})
    published = passage(*(text[a:b] for a, b in pairwise(bounds)))
    detokenizer = Detokenizer("random", scheme)
    result = detokenize_passage(published, detokenizer, join="\n", lead=None, report=None)
    assert "".join(spans(result)) == result.text


def test_steps_run_in_order_and_move_positions() -> None:
    text = 'He said " so , \n it " and 1 @,@ 000 .'
    quotes = swap(r'"\s*([^"]*?)\s*"', r'"\1"')
    stops = swap(" ([,.])", r"\1")
    stepped = OneWaySteps("steps", [quotes, stops]).apply_steps(text)
    assert stepped.text == 'He said "so, \n it" and 1 @,@ 000.'
    for word in ("He", "said", "and", "000"):
        start = text.index(word)
        moved = stepped.text.index(word)
        assert stepped.positions([start, start + len(word)]) == [moved, moved + len(word)]
    report = RoundTrip()
    result = detokenize(text, OneWaySteps("steps", [swap("a", "b")]), report)
    assert result.text == text.replace("a", "b")
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
def test_steps_equal_re_sub(text: str, pairs: list[tuple[str, str]]) -> None:
    expected = text
    for find, put in pairs:
        expected = re.sub(find, put, expected)
    steps = [swap(find, put) for find, put in pairs]
    stepped = OneWaySteps("steps", steps).apply_steps(text)
    assert stepped.text == expected
    assert stepped.positions([0, len(text)])[1] <= len(expected)
