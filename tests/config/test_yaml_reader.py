"""A YAML file is plain data within bounds, or one line that names the file and the place."""

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.config import catalog
from gpt2eval.config.yaml_reader import MOST_VALUES, read_yaml
from gpt2eval.errors import UsageError

DOUBLING = "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
MERGING = "".join(f"a{n}: &a{n} {{<<: *a{n - 1}, k{n}: *a{n - 1}}}\n" for n in range(1, 40))


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", catalog.files("tasks").values(), ids=lambda path: path.stem)
def test_shipped_files_read_as_the_safe_loader_reads_them(path: Path) -> None:
    assert read_yaml(path) == yaml.safe_load(path.read_text(encoding="utf-8"))


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**16), 10**16)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc01", max_size=3), inner)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text("abc 2:-", min_size=1, max_size=5), PLAIN, max_size=4))
def test_plain_data_comes_back(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, object]
) -> None:
    path = written(tmp_path_factory.getbasetemp(), yaml.safe_dump(content, allow_unicode=True))
    assert read_yaml(path) == content


def test_dates_times_and_other_bases_are_text(tmp_path: Path) -> None:
    text = "a: 2001-01-01\nb: 1:30\nc: 0x1F\nd: 010\n2001-01-01: e\n7: f\ng: 10\nh: -3\n"
    assert read_yaml(written(tmp_path, text)) == {
        **{"a": "2001-01-01", "b": "1:30", "c": "0x1F", "d": "010"},
        **{"2001-01-01": "e", "7": "f", "g": 10, "h": -3},
    }


# Every use of a declared tag repeats it in full: 8 GB here.
LONG_TAG = f"%TAG !a! {'x' * 400_000}\n---\na: [{'!a!x 1,' * 20_000}]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: !!binary aGVsbG8=", "line 1: a: the tag"),
        ("? !!binary aGVsbG8=\n: 3", "line 1: the tag"),
        ("a: !!python/object/apply:os.system [ls]", "line 1: a: the tag"),
        ("a: !!set {x, y}", "line 1: a: the tag"),
        ("a:\n  b: !!timestamp 2001-01-01", "line 2: a: the tag"),
        ("a: !!bool x", "line 1: a: the tag"),
        ("a: !!int [1]", "line 1: a: the tag"),
        (LONG_TAG, "line 3: a: the tag"),
        ("a:\n  <<: {? [1] : 2}", "line 2: a: a key that is a list"),
        ("a:\n  <<: {b: 1, b: 2}", "line 2: a: duplicate key 'b'"),
        ('a: "\\ud800"', "line 1: a: half of a surrogate pair"),
        ("? [1, 2]\n: 3", "line 1: a key that is a list"),
        ("? {a: 1}\n: 3", "line 1: a key that is a list or a mapping"),
        ("a: 1\nb: {c: 1, c: 2}", "line 2: b: duplicate key 'c'"),
        ("a: " + "9" * 5000, "line 1: a: an integer of 5000 characters"),
        ("a: [1, -" + "9" * 30 + "]", "line 1: a: an integer of 31 characters"),
        ("a: .inf", "line 1: a: the number .inf; expected a finite number"),
        ("a: .NaN", "line 1: a: the number .NaN"),
        ("a: " + "[" * 5000, "line 1: a: nested more than 30 levels deep"),
        ("a: " + "{b: " * 5000, "line 1: a: nested more than 30 levels deep"),
        ("a: " + "- " * 40 + "1", "sequence entries are not allowed"),
        ("\n".join(" " * n + "a:" for n in range(100)), "line 31: a: nested more than 30"),
        ("x: 1\na: &a [*a]", "line 2: a: *a refers to a value that contains it"),
        ("a: &a {b: {c: *a}}", "line 1: a: *a refers to a value that contains it"),
        ("a0: &a0 [x, x]\n" + DOUBLING, "more than 50,000 keys and values"),
        ("a0: &a0 {x: 1}\n" + MERGING, "more than 50,000 keys and values"),
        ("".join(f"k{n}: 1\n" for n in range(MOST_VALUES)), "more than 50,000 keys and values"),
        ("a: " + "x" * 1_000_001, "larger than 1,000,000 bytes"),
        ("a: *b", "undefined alias"),
        ("a: \x00", "not readable as YAML"),
        ("- a", "expected a mapping of keys, found list"),
        ("a: 1\n---\nb: 2", "found another document"),
    ],
)
def test_anything_else_is_one_line(tmp_path: Path, text: str, expected: str) -> None:
    path = written(tmp_path, text)
    start = time.process_time()
    with pytest.raises(UsageError) as caught:
        read_yaml(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert expected in message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 300
    assert time.process_time() - start < 10


def test_many_keys_take_linear_time(tmp_path: Path) -> None:
    path = written(tmp_path, "".join(f"key{n}: 1\n" for n in range(20_000)))
    assert len(read_yaml(path)) == 20_000


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"a: \xff\xfe")
    with pytest.raises(UsageError, match=r"mine\.yaml: not readable as YAML"):
        read_yaml(path)


def test_numbers_are_decimal(tmp_path: Path) -> None:
    text = f"a: 1:30.5\nb: 1{':1' * 300}.0\nc: 1_0.5\nd: -.5\ne: 2.50\nf: 1.5e-3\ng: ="
    content = read_yaml(written(tmp_path, text))
    assert content.pop("b") == f"1{':1' * 300}.0"
    assert content == {"a": "1:30.5", "c": "1_0.5", "d": -0.5, "e": 2.5, "f": 0.0015, "g": "="}


def test_merged_keys_are_overridden(tmp_path: Path) -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {<<: *a, x: 3}\nc: {<<: *b, y: 4}\nd: {<<: [*b, *a], z: 5}"
    content = read_yaml(written(tmp_path, text))
    assert content["b"] == {"x": 3, "y": 2}
    assert content["c"] == {"x": 3, "y": 4}
    assert content["d"] == {"x": 3, "y": 2, "z": 5}
