"""Long lines and texts without content; `drill.texts.edges` has every other edge of a text."""

import json
import time
from pathlib import Path

import pytest

from gpt2eval.data.custom import load_text
from gpt2eval.errors import UsageError
from gpt2eval.text.passages import last_word
from gpt2eval.types import Record

LONG = 10_000_000  # characters


@pytest.mark.parametrize("content", ["", "\n", " \t\n\u2028\x85\n"])
@pytest.mark.parametrize("unit", ["word", "byte"])
def test_text_without_a_word_is_refused_in_one_line(
    tmp_path: Path, content: str, unit: str
) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(content.encode())
    with pytest.raises(UsageError, match=r"text\.txt: (?:empty|contains no words)") as caught:
        load_text(path, unit).read()
    assert len(str(caught.value).splitlines()) == 1


def test_line_of_ten_million_characters_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"abcd " * (LONG // 5))
    corpus = load_text(path).read()
    assert (corpus.units.words, corpus.units.lines, corpus.units.bytes) == (LONG // 5, 0, LONG)


def test_no_separator_of_unicode_ends_a_line_of_json(tmp_path: Path) -> None:
    path = tmp_path / "text.jsonl"
    texts = ["a\u2028b\x85c\u2029d", "e\x1cf\x0bg"]
    rows = [json.dumps({"t": text}, ensure_ascii=False) for text in texts]
    path.write_bytes("\n".join(rows).encode())
    assert [record.text for record in load_text(f"{path}:t").read().records] == texts


def test_lone_surrogate_in_json_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "text.jsonl"
    path.write_bytes(b'{"t": "a"}\n{"t": "\\ud800"}\n')
    with pytest.raises(UsageError, match=r"text\.jsonl: line 2: "):
        load_text(f"{path}:t").read()


@pytest.mark.parametrize("text", ["a  b", " a", "a \t\n b\n", "a", "x y\u2028z  "])
def test_last_word_is_what_the_plain_search_finds(text: str) -> None:
    body = text.rstrip()
    (part,) = last_word(Record(0, text))[0].parts
    words = body.rsplit(maxsplit=1)
    expected = len(body[: len(body) - len(words[-1])].rstrip())
    assert (part.start, part.end) == (expected, len(body))


def test_last_word_after_many_spaces_takes_linear_time() -> None:
    start = time.process_time()
    (part,) = last_word(Record(0, "a" + " " * 300_000 + "b c"))[0].parts
    assert part.start == 300_002
    assert time.process_time() - start < 5  # a quadratic search takes minutes
