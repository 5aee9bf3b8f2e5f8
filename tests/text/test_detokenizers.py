"""Detokenizer files: examples, round trips on random and real text, and few dropped edits."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.config import catalog
from gpt2eval.config.detokenizer_schema import Example
from gpt2eval.text.detokenizer import Detokenizer
from gpt2eval.text.edits import apply_edits
from gpt2eval.text.loader import load_detokenizer, load_detokenizer_file
from gpt2eval.text.roundtrip import check_round_trip as check_texts

FILES = {
    name: load_detokenizer_file(path)
    for name, path in sorted(catalog.files("detokenizers").items())
}
EXAMPLES = [
    pytest.param(name, example, id=f"{name}-{n}")
    for name, file in FILES.items()
    for n, example in enumerate(file.examples)
]


def invertible(name: str) -> Detokenizer:
    detokenizer = load_detokenizer(name)
    assert isinstance(detokenizer, Detokenizer)
    return detokenizer


def names(scheme: str) -> list[str]:
    """A scheme without options, with each option alone, and with all options."""
    options = FILES[scheme].options
    single = [f"{scheme}+{option}" for option in options]
    return [scheme, *single, "+".join([scheme, *options])]


INVERTIBLE = {
    name: invertible(name) for scheme in FILES if FILES[scheme].invertible for name in names(scheme)
}

# Tokens on which the rules of each scheme depend.
TOKENS = {
    "cbt": "`` '' ` ' n't 's 'll -LRB- -RRB- -LSB- -RSB- -- I can not 'T is Mr. A. 'em",
    "lambada_standard": (
        "`` '' ` ' n't 's i. -lrb- -rrb- -- - ´ s ... ?! mr. gon na 9:00 24,000 ol'"
    ),
    "lm1b": "\" ' 's 't -- - ( ) [ ] $ £ % US No. U.S. Mr. / & A # 1,000 http .. don",
    "moses": "\" ' 's 't ( ) $ % No. U.S. / & don -",
    "ptb": "<unk> N $ # 's ' n't c$ us$ \\* a\\/b can not 1 ? mr. s&p",
    "wikitext": (
        "\" ' 's 't <unk> @-@ @,@ @.@ – — ‑ “ ” ‘ ’ ( ) [ ] $ £ % ° ′ No. U.S. Mr. / & A = US K"
    ),
}
COMMON = ", . : ; ! ? ... word Name boys 5 98"
# Files, the largest share of dropped edits, and the most marks per 1,000 lines.
LIMITS = {
    "cbt": (["cbt/cbt_valid.txt"], 0.001, 2),
    "lambada_standard": (["lambada/lambada_development_plain_text.txt"], 0.002, 3),
    "lm1b": (["lm1b/news.en.heldout-00010-and-00011.txt"], 0.003, 1),
    "moses": (["lm1b/news.en.heldout-00010-and-00011.txt"], 0.005, 1),
    "ptb": (["ptb/ptb.valid.txt"], 0.001, 1),
    "wikitext": (["wikitext-2/wiki.valid.tokens", "wikitext-103/wiki.valid.tokens"], 0.001, 1),
}
MOST_WORDS_KEPT = 0.0005  # share of a file's words in lines left as published


def token_lines(name: str) -> st.SearchStrategy[str]:
    """Return lines of a scheme's tokens; most have spaces between them, some one at the start."""
    tokens = st.sampled_from([*TOKENS[name].split(), *COMMON.split()])
    pairs = st.lists(st.tuples(tokens, st.sampled_from([" ", " ", " ", ""])), max_size=14)
    body = pairs.map(lambda pairs: "".join(token + blank for token, blank in pairs))
    return st.tuples(st.sampled_from(["", " "]), body).map("".join)


def check_round_trip(detokenizer: Detokenizer, line: str) -> None:
    detokenized = detokenizer.do(line)
    assert detokenizer.undo(detokenized.text) == line
    assert apply_edits(line, detokenized.edits) == detokenized.text
    assert all(a.end <= b.start for a, b in pairwise(detokenized.edits))


def scheme(name: str) -> str:
    return name.partition("+")[0]


@pytest.mark.parametrize("name", FILES)
def test_file_has_examples_and_explains_every_option(name: str) -> None:
    file = FILES[name]
    assert len(file.examples) >= (1 if file.steps else 6)
    assert {rule.option for rule in (*file.do, *file.undo, *file.steps)} <= {None, *file.options}
    assert {option for example in file.examples for option in example.options} == set(file.options)


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_examples_hold_in_both_directions(name: str, example: Example) -> None:
    detokenizer = load_detokenizer("+".join([name, *example.options]))
    assert detokenizer.do(example.published).text == example.detokenized
    if isinstance(detokenizer, Detokenizer) and detokenizer.invertible:
        assert detokenizer.undo(example.detokenized) == example.published


@pytest.mark.parametrize("name", INVERTIBLE)
@given(line=st.text(st.characters(exclude_characters="\n"), max_size=40))
def test_any_line_survives_the_round_trip(name: str, line: str) -> None:
    check_round_trip(INVERTIBLE[name], line)


@pytest.mark.parametrize("name", INVERTIBLE)
@given(data=st.data())
def test_lines_of_telling_tokens_survive_the_round_trip(name: str, data: st.DataObject) -> None:
    check_round_trip(INVERTIBLE[name], data.draw(token_lines(scheme(name))))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        # sacremoses takes several seconds a file.
        pytest.param(name, file, marks=pytest.mark.slow if name == "moses" else ())
        for name in INVERTIBLE
        for file in LIMITS[scheme(name)][0]
    ],
)
def test_real_text_survives_the_round_trip_with_few_dropped_edits(
    name: str, file: str, development_data: Path
) -> None:
    with (development_data / file).open(encoding="utf-8", newline="") as lines:
        text = lines.read()
    outcome = check_texts([text], INVERTIBLE[name])
    assert not outcome.failures
    report = outcome.report
    _, dropped_share, marks = LIMITS[scheme(name)]
    assert report.dropped <= dropped_share * (report.edits + report.dropped)
    assert report.marks <= marks * report.lines / 1000
    assert report.kept_words <= MOST_WORDS_KEPT * report.words
    assert report.changed > 0.6 * report.lines


def test_one_way_detokenizers_are_declared_as_such() -> None:
    one_way = [name for name, file in FILES.items() if not file.invertible]
    assert one_way == [
        *("gptq_ptb", "gptq_ptb_new", "hf_docs", "lambada", "llama_cpp"),
        *("megatron", "megatron_lambada", "plaid_ptb", "plaid_wikitext", "relm_lambada"),
        *("sedd_lambada", "sedd_lm1b", "sedd_papers", "sedd_ptb", "seekdeeper"),
    ]
    assert [name for name in one_way if not FILES[name].steps] == ["lambada"]
