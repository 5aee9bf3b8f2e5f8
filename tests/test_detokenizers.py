"""Detokenizer files: their examples, round trips on made-up and on real text, and how much they leave undone."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.config import catalog
from gpt2eval.config.schema import Example
from gpt2eval.text.detokenizer import Detokenizer, RoundTrip, apply, detokenize
from gpt2eval.text.loader import load_detokenizer, load_detokenizer_file

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
    made = load_detokenizer(name)
    assert isinstance(made, Detokenizer)
    return made


INVERTIBLE = {
    name: invertible(name)
    for scheme, file in FILES.items()
    if file.invertible
    for name in [
        scheme,
        *(f"{scheme}+{option}" for option in file.options),
        "+".join([scheme, *file.options]),
    ]
}

TOKENS = {
    "cbt": "`` '' ` ' n't 's 'll -LRB- -RRB- -LSB- -RSB- -- I can not 'T is Mr. A. 'em",
    "lambada_standard": "`` '' ` ' n't 's i. -lrb- -rrb- -- - ´ s ... ?! mr. gon na 9:00 24,000 ol'",
    "lm1b": "\" ' 's 't -- - ( ) [ ] $ £ % US No. U.S. Mr. / & A # 1,000 http .. don",
    "moses": "\" ' 's 't ( ) $ % No. U.S. / & don -",
    "ptb": "<unk> N $ # 's ' n't c$ us$ \\* a\\/b can not 1 ? mr. s&p",
    "wikitext": "\" ' 's 't <unk> @-@ @,@ @.@ – — ‑ “ ” ‘ ’ ( ) [ ] $ £ % ° ′ No. U.S. Mr. / & A = US K",
}
COMMON = ", . : ; ! ? ... word Name boys 5 98"
LIMITS = {  # files, at most this share of edits dropped, and this share of lines kept as published
    "cbt": (["cbt/cbt_valid.txt"], 0.02, 0.01),
    "lambada_standard": (["lambada/lambada_development_plain_text.txt"], 0.02, 0.01),
    "lm1b": (["lm1b/news.en.heldout-00010-and-00011.txt"], 0.05, 0.03),
    "moses": (["lm1b/news.en.heldout-00010-and-00011.txt"], 0.05, 0.03),
    "ptb": (["ptb/ptb.valid.txt"], 0.02, 0.01),
    "wikitext": (["wikitext-2/wiki.valid.tokens", "wikitext-103/wiki.valid.tokens"], 0.05, 0.03),
}


def token_lines(name: str) -> st.SearchStrategy[str]:
    """Lines of telling tokens, blanks between most of them, with or without outer blanks."""
    tokens = st.sampled_from([*TOKENS[name].split(), *COMMON.split()])
    pairs = st.lists(st.tuples(tokens, st.sampled_from([" ", " ", " ", ""])), max_size=14)
    body = pairs.map(lambda pairs: "".join(token + blank for token, blank in pairs))
    return st.tuples(st.sampled_from(["", " "]), body).map("".join)


def check(detokenizer: Detokenizer, line: str) -> None:
    fair = detokenizer.do(line)
    assert detokenizer.undo(fair.text) == line
    assert apply(line, fair.edits) == fair.text
    assert all(a.end <= b.start for a, b in pairwise(fair.edits))


def scheme(name: str) -> str:
    return name.partition("+")[0]


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_telling_examples_and_explains_every_option(name: str) -> None:
    file = FILES[name]
    assert len(file.examples) >= (1 if file.steps else 6)
    assert {rule.option for rule in (*file.do, *file.undo, *file.steps)} <= {None, *file.options}
    assert {option for example in file.examples for option in example.options} == set(file.options)


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_examples_hold_in_both_directions(name: str, example: Example) -> None:
    detokenizer = load_detokenizer("+".join([name, *example.options]))
    assert detokenizer.do(example.published).text == example.fair
    if isinstance(detokenizer, Detokenizer) and detokenizer.invertible:
        assert detokenizer.undo(example.fair) == example.published


@pytest.mark.parametrize("name", INVERTIBLE)
@given(line=st.text(st.characters(exclude_characters="\n"), max_size=40))
def test_any_line_comes_back(name: str, line: str) -> None:
    check(INVERTIBLE[name], line)


@pytest.mark.parametrize("name", INVERTIBLE)
@given(data=st.data())
def test_lines_of_telling_tokens_come_back(name: str, data: st.DataObject) -> None:
    check(INVERTIBLE[name], data.draw(token_lines(scheme(name))))


@pytest.mark.parametrize(
    ("name", "file"), [(name, file) for name in INVERTIBLE for file in LIMITS[scheme(name)][0]]
)
def test_real_text_comes_back_with_few_edits_dropped(
    name: str, file: str, development_data: Path
) -> None:
    with (development_data / file).open(encoding="utf-8", newline="") as lines:
        text = lines.read()
    report, detokenizer = RoundTrip(), INVERTIBLE[name]
    fair = detokenize(text, detokenizer, report)
    assert [
        detokenizer.undo(line) for line in fair.text.removesuffix("\n").split("\n")
    ] == text.removesuffix("\n").split("\n")
    _, dropped, kept = LIMITS[scheme(name)]
    assert report.dropped <= dropped * (report.edits + report.dropped)
    assert report.kept <= kept * report.lines
    assert report.changed > 0.6 * report.lines


def test_one_way_detokenizer_does_not_claim_to_be_undone() -> None:
    one_way = [name for name, file in FILES.items() if not file.invertible]
    assert one_way == ["hf_docs", "lambada", "llama_cpp", "megatron", "megatron_lambada"]
    assert [name for name in one_way if not FILES[name].steps] == ["lambada"]
