"""JSON in which every key of an object occurs once."""

from pathlib import Path

import pytest

from gpt2eval.config import json_reader
from gpt2eval.data.formats import json_text
from gpt2eval.errors import UsageError
from gpt2eval.report.result_file import read_result


def test_reads_what_json_reads() -> None:
    assert json_reader.loads('{"a": {"b": [1, {}]}, "b": 2}') == {"a": {"b": [1, {}]}, "b": 2}
    assert json_reader.loads('"é\\ud800"'.encode()) == "é\ud800"
    for broken in ("", "{", "\ufeff{}", "{} {}"):
        with pytest.raises(ValueError, match="line 1"):
            json_reader.loads(broken)


def test_a_repeated_key_is_refused_at_any_depth() -> None:
    for text in ('{"a": 1, "a": 1}', '[{"b": {"c": 0, "a": 1, "\\u0061": 2}}]'):
        with pytest.raises(json_reader.RepeatedKeyError, match="key 'a' occurs twice"):
            json_reader.loads(text)


def test_a_line_with_two_texts_is_refused_except_for_training() -> None:
    line = '{"text": "one", "text": "two"}'
    with pytest.raises(UsageError, match="mine: line 3: the key 'text' occurs twice"):
        json_text(line, "text", "mine: line 3")
    assert json_text(line, "text", "mine: line 3", lenient=True) == "two"


def test_a_result_with_two_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text('{"format": 3, "format": 2}', encoding="utf-8")
    with pytest.raises(UsageError, match="not a result of gpt2eval: the key 'format' occurs twice"):
        read_result(path)
