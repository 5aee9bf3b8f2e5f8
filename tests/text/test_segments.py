"""Segments of text: they tile it, and each has exactly one kind."""

from itertools import pairwise

import regex
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.text import segments as cut
from gpt2eval.text.segments import KINDS, NAMES, segments

CHARACTERS = " \n\t\r\x1c\x1f\x85\xa0\u2028ab AZé世\u0301'’-_19.,:/\\<>&“—\udcff\x00http://www."
BREAKS = set("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
TEXTS = st.text(st.sampled_from(CHARACTERS) | st.characters(), max_size=30)


def pieces(text: str) -> list[tuple[str, str]]:
    ends, kinds = segments([text])
    bounds = [0, *ends.tolist()]
    return [(text[a:b], NAMES[kind]) for (a, b), kind in zip(pairwise(bounds), kinds, strict=True)]


@given(TEXTS)
def test_segments_tile_every_text(text: str) -> None:
    found = pieces(text)
    assert "".join(piece for piece, _ in found) == text
    assert all(piece for piece, _ in found)


def naive_kind(piece: str, before: str) -> str:
    """The kind of a segment by the definitions of `KINDS`, character by character."""
    body = piece.removeprefix(" ") or piece
    if body.isspace():
        if set(body) & BREAKS:
            return "line end"
        begins_line = not before or before[-1] in BREAKS
        return "indentation" if begins_line and piece != " " else "blank run"
    if regex.match(r"https?://|www\.", body):
        return "URL"
    if regex.match(r"[\p{L}\p{M}_]", body):
        if not body.isascii():
            return "non-ASCII word"
        return "capitalised word" if "A" <= body[0] <= "Z" else "word"
    if regex.match(r"\p{N}", body):
        return "number"
    assert not regex.search(r"[\p{L}\p{M}\p{N}\s]", body)
    return "punctuation" if body.isascii() else "non-ASCII symbol"


@given(TEXTS)
def test_every_segment_has_the_kind_of_its_definition(text: str) -> None:
    place = 0
    for piece, kind in pieces(text):
        assert kind == naive_kind(piece, text[:place]), (piece, text)
        place += len(piece)


@given(st.lists(TEXTS, max_size=4))
def test_no_segment_crosses_the_end_of_a_text(texts: list[str]) -> None:
    ends, kinds = segments(texts)
    expected = [pair for text in texts for pair in pieces(text)]
    joined = "".join(texts)
    bounds = [0, *ends.tolist()]
    found = [joined[a:b] for a, b in pairwise(bounds)]
    assert [*zip(found, [NAMES[kind] for kind in kinds], strict=True)] == expected


def test_examples_of_every_kind() -> None:
    text = "At  9.30 the café’s\tURL is http://a.b/c , “so” \n \n  say\n x's-y <unk> @-@ é"
    assert pieces(text) == [
        ("At", "capitalised word"),
        ("  ", "blank run"),
        ("9.30", "number"),
        (" the", "word"),
        (" café’s", "non-ASCII word"),
        ("\t", "blank run"),
        ("URL", "capitalised word"),
        (" is", "word"),
        (" http://a.b/c", "URL"),
        (" ,", "punctuation"),
        (" “", "non-ASCII symbol"),
        ("so", "word"),
        ("”", "non-ASCII symbol"),
        (" \n \n", "line end"),
        ("  ", "indentation"),
        ("say", "word"),
        ("\n", "line end"),
        (" x's-y", "word"),
        (" <", "punctuation"),
        ("unk", "word"),
        (">", "punctuation"),
        (" @-@", "punctuation"),
        (" é", "non-ASCII word"),
    ]
    assert pieces("end ") == [("end", "word"), (" ", "blank run")]
    assert pieces("\tx") == [("\t", "indentation"), ("x", "word")]
    assert pieces("") == []


def test_the_kinds_are_the_groups() -> None:
    assert {cut.WORD, cut.NON_ASCII_WORD, cut.CAPITALISED} | {*cut.GROUPS} == {*range(len(KINDS))}
