"""What saves time changes nothing: each quick way agrees with the plain one."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sacremoses import MosesTokenizer

from gpt2eval.config import catalog
from gpt2eval.config.yaml_reader import read_yaml
from gpt2eval.text.carry import LAST_QUOTE, QUOTE
from gpt2eval.text.detokenizer import Detokenizer
from gpt2eval.text.loader import load_detokenizer, load_detokenizer_file
from gpt2eval.text.moses import QuickTokenizer
from gpt2eval.text.repair import MARK
from gpt2eval.text.schemes import RuleScheme, Swap, matches
from gpt2eval.text.telling import telling_texts

FILES = {
    name: load_detokenizer_file(path)
    for name, path in sorted(catalog.files("detokenizers").items())
}


def full_names(name: str) -> list[str]:
    """A scheme without options, and with all of them."""
    return list(dict.fromkeys([name, "+".join([name, *FILES[name].options])]))


SCHEMES: dict[str, RuleScheme] = {}
for base in FILES:
    for full_name in full_names(base):
        detokenizer = load_detokenizer(full_name)
        if isinstance(detokenizer, Detokenizer) and isinstance(detokenizer._scheme, RuleScheme):
            SCHEMES[full_name] = detokenizer._scheme
PATTERNS = sorted(
    {
        rule.glue or rule.swap or ""
        for file in FILES.values()
        for rule in (*file.do, *file.undo, *file.steps)
    }
)
TELLING = {pattern: telling_texts(pattern) for pattern in PATTERNS}
CONTRACTIONS = "cannot can not gonna gon na wan wanna gotta got ta gim me lem lemme 't is 'twas"
# Every token of the examples, and all that the rules look for.
TOKENS = sorted(
    {
        *(
            token
            for file in FILES.values()
            for example in file.examples
            for token in f"{example.published} {example.detokenized}".split()
        ),
        *(text for telling in TELLING.values() for text in telling),
        *CONTRACTIONS.split(),
        *(MARK, "word", "Name", "5"),
    }
)
token_lines = st.lists(
    st.tuples(st.sampled_from(TOKENS), st.sampled_from([" ", " ", " ", ""])), max_size=14
).map(lambda pairs: "".join(token + blank for token, blank in pairs))
lines = st.one_of(token_lines, st.text(st.characters(exclude_characters="\n"), max_size=30))


# -- rules that a line cannot match ----------------------------------------------------------------


@given(line=st.one_of(lines, st.lists(lines, max_size=3).map("\n".join)))
def test_line_with_a_match_has_a_telling_text(line: str) -> None:
    for pattern, telling in TELLING.items():
        if re.search(pattern, line):
            assert any(text in line for text in telling), pattern


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a–b", {"a–b"}),
        ("(?i)x–y", {""}),
        ("(?:n't){e<=1}", {""}),
        pytest.param(
            "[[:alpha:]]", {""}, marks=pytest.mark.filterwarnings("ignore::FutureWarning")
        ),
        ("(?x)--{0, 2}b", {""}),
        ("–{2,3}", {"–"}),
        ("(?i:n–)", {""}),
        ("(?i:a)–", {"–"}),
        ("(–)?", {""}),
        ("–*", {""}),
        ("[^–]", {""}),
        ("(?!–)", {""}),
        ("(?<!–)", {""}),
        ("(?<=–) ", {"–"}),
        ("(?=–) ", {"–"}),
        ("–|", {""}),
        ("(?:–|—)+", {"–", "—"}),
        ("(?:n't|')", {"'"}),
        ("(a)(?(1)–|—)", {""}),
        (r"(–)\1", {"–"}),
        (r"(?>–)", {"–"}),
        (r"(?:–){2,3}+", {"–"}),
        (r"[–-—]", {""}),
        (r"\w", {""}),
        ("", {""}),
        ("( )n't(?=–)", {" n't"}),
    ],
)
def test_telling_texts(pattern: str, expected: set[str]) -> None:
    assert set(telling_texts(pattern)) == expected


@pytest.mark.parametrize("name", SCHEMES)
@given(line=lines)
def test_rules_with_telling_texts_do_what_rules_without_them_do(name: str, line: str) -> None:
    quick = SCHEMES[name]
    do, back = (
        tuple(Swap(rule.find, rule.put) for rule in rules) for rules in (quick.do, quick.back)
    )
    plain = RuleScheme(do, back)
    assert quick.propose(line) == plain.propose(line)
    assert quick.undo(line) == plain.undo(line)
    assert quick.undo_edits(line) == plain.undo_edits(line)


@pytest.mark.parametrize("name", SCHEMES)
def test_most_rules_have_telling_texts(name: str) -> None:
    rules = (*SCHEMES[name].do, *SCHEMES[name].back)
    assert sum("" not in rule.telling for rule in rules) >= 0.7 * len(rules)


# -- replacements ----------------------------------------------------------------------------------


@given(
    st.sampled_from(["a(b)?", "(a)|b", "(a)(b)", "a"]),
    st.lists(st.sampled_from(["x", " ", r"\g<0>", r"\1", r"\\", r"\n"]), max_size=4).map("".join),
    st.text("abc", max_size=12),
)
@example("a(b)?", r"\1", "aab")
@example("a(b)?", r"\101\0", "aab")
def test_replacement_is_that_of_the_module_re(find: str, put: str, text: str) -> None:
    put = put.replace(r"\1", r"\g<0>") if find == "a" else put
    rule = Swap(re.compile(find), put)
    assert RuleScheme((), (rule,)).undo(text) == re.sub(find, put, text)
    expected = [(m.start(), m.end(), m.expand(put)) for m in re.finditer(find, text)]
    assert matches(rule, text) == expected


# -- lines without repairs -------------------------------------------------------------------------


class Thorough(Detokenizer):
    """A detokenizer that takes the long way for every line."""

    def _is_restored(self, line: str, text: str) -> bool:
        return False

    def _is_unrepaired(self, line: str, text: str) -> bool:
        return False


@pytest.mark.parametrize("name", SCHEMES)
@given(line=lines)
def test_line_without_repairs_is_that_of_the_long_way(name: str, line: str) -> None:
    quick = Detokenizer(name, SCHEMES[name])
    thorough = Thorough(name, SCHEMES[name])
    assert quick.do(line) == thorough.do(line)
    for text in (line, quick.do(line).text):
        assert quick.undo(text) == thorough.undo(text)


# -- quotes that are carried -----------------------------------------------------------------------


@given(st.one_of(token_lines, st.text("a '`", max_size=12)))
def test_quotes_are_found_as_tokens(line: str) -> None:
    plain = re.finditer(r"(?<!\S)(?:''?|``?)(?!\S)", line)
    assert [match.span() for match in QUOTE.finditer(line)] == [match.span() for match in plain]
    last = re.search(r"(?<=\S) (''?|``?)\Z", line)
    found = LAST_QUOTE.search(line)
    assert (found and (found.span(), found[1])) == (last and (last.span(), last[1]))


# -- Moses -----------------------------------------------------------------------------------------


STOPS = "U.S. Mr. No. 5 etc. end. End a.b. .. ... . , 1,000 x,y it's 's s' 5's '' \t"


@given(
    st.one_of(
        lines,
        st.lists(st.sampled_from(STOPS.split(" ")), max_size=8).map(" ".join),
    )
)
@example("He left the U.S. in No. 5 . Then Mr. Smith left at 5 p.m. on Monday.")
@example("an end. and another end.")
def test_quick_tokenizer_is_the_library_s(line: str) -> None:
    quick, plain = (
        tokenizer.tokenize(line, return_str=True, escape=False) for tokenizer in TOKENIZERS
    )
    assert quick == plain


TOKENIZERS = (QuickTokenizer(), MosesTokenizer(lang="en"))


# -- files -----------------------------------------------------------------------------------------


def test_file_is_read_again_after_a_change(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text("a: 1")
    content = read_yaml(path)
    assert content == {"a": 1}
    content["b"] = 2
    assert read_yaml(path) == {"a": 1}
    path.write_text("a: 2")
    assert read_yaml(path) == {"a": 2}
