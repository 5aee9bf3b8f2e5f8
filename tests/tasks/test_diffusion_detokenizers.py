"""The one-way detokenizers of diffusion language models give exactly the text of their loaders."""

from pathlib import Path

import pytest
from diffusion_loaders import DETOKENIZERS, stripped_rows, wikitext_rows
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.errors import UsageError
from gpt2eval.text.loader import load_detokenizer

# Ours, and the loaders' own.
PAIRS = {
    "megatron": "wikitext",
    "sedd_ptb": "ptb",
    "sedd_lm1b": "lm1b",
    "sedd_lambada": "lambada",
    "sedd_papers": "papers",
}
TOKEN_TEXT = (
    "\" ' ( ) [ ] { } “ ” ? ! . , : ; / $ # £ ° N <unk> \\/ n't 's s boys a 1 5 @-@ @,@ @.@ "
    "= http https word"
)
TOKENS = TOKEN_TEXT.split()
FILES = {
    "megatron": ["wikitext-2/wiki.valid.tokens", "test/wikitext-2-raw/wiki.test.raw"],
    "sedd_ptb": ["ptb/ptb.valid.txt", "test/ptb/ptb.test.txt"],
    "sedd_lm1b": ["lm1b/news.en.heldout-00010-and-00011.txt"],
    "sedd_lambada": ["lambada/lambada_development_plain_text.txt"],
}


def ours(name: str, text: str) -> str:
    return load_detokenizer(name).do(text).text


@pytest.mark.parametrize("name", PAIRS)
@given(data=st.data())
def test_texts_of_telling_tokens_are_prepared_alike(name: str, data: st.DataObject) -> None:
    pieces = st.lists(
        st.tuples(
            st.sampled_from(TOKENS), st.sampled_from([" ", " ", " ", "", "  ", "\n", " \n "])
        ),
        max_size=20,
    )
    text = "".join(token + gap for token, gap in data.draw(pieces))
    assert ours(name, text) == DETOKENIZERS[PAIRS[name]](text)
    assert ours(name, " " + text) == DETOKENIZERS[PAIRS[name]](" " + text)


@pytest.mark.parametrize("name", PAIRS)
@given(text=st.text(max_size=60))
def test_any_text_is_prepared_alike(name: str, text: str) -> None:
    assert ours(name, text) == DETOKENIZERS[PAIRS[name]](text)


@pytest.mark.parametrize(
    ("name", "file"), [(n, file) for n, files in FILES.items() for file in files]
)
def test_every_row_of_real_text_is_prepared_alike(
    name: str, file: str, development_data: Path
) -> None:
    text = (development_data / file).read_text(encoding="utf-8")
    rows = wikitext_rows(text) if name == "megatron" else stripped_rows(text)
    expected = DETOKENIZERS[PAIRS[name]]
    detokenizer = load_detokenizer(name)
    differing = [row for row in rows if detokenizer.do(row).text != expected(row)]
    assert not differing
    assert len(rows) > 2000


def test_plaids_forms_are_those_of_a_complete_file(development_data: Path) -> None:
    ptb = (development_data / "ptb/ptb.valid.txt").read_text(encoding="utf-8")
    assert ours("plaid_ptb", ptb) == DETOKENIZERS["ptb"](ptb[:-1])
    wikitext = (development_data / "wikitext-2/wiki.valid.tokens").read_text(encoding="utf-8")
    assert ours("plaid_wikitext", wikitext) == DETOKENIZERS["wikitext"](wikitext[1:])


def test_used_steps_must_have_the_stated_version(tmp_path: Path) -> None:
    (tmp_path / "detokenizers").mkdir()
    head = "title: Mine\nversion: 1\ninvertible: false\nsteps:\n"
    mine = tmp_path / "detokenizers" / "mine.yaml"
    mine.write_text(f"{head}- {{use: sedd_ptb.2}}\n")
    with pytest.raises(UsageError, match=r"steps\.0: use: sedd_ptb\.2; sedd_ptb has version 1"):
        load_detokenizer("mine", [tmp_path])
    mine.write_text(f"{head}- {{use: ptb.1}}\n")
    with pytest.raises(UsageError, match="expected a file with steps of its own"):
        load_detokenizer("mine", [tmp_path])
    mine.write_text(f"{head}- {{use: sedd_ptb.1, by: x}}\n")
    with pytest.raises(UsageError, match="expected one of"):
        load_detokenizer("mine", [tmp_path])
