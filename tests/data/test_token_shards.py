"""Files of token ids: what they hold, and what is wrong with a file that is none."""

from pathlib import Path

import numpy as np
import pytest

from gpt2eval.data.token_shards import read_shard
from gpt2eval.errors import UsageError

GPT2 = (20240520, 1, "<u2")
LLAMA3 = (20240801, 7, "<u4")
IDS = [0, 5, 70, 5, 65535]


def write(
    path: Path, form: tuple[int, int, str] = GPT2, ids: list[int] = IDS, count: int | None = None
) -> str:
    """Write a shard as llm.c does: 256 integers, then the tokens."""
    magic, version, dtype = form
    header = np.zeros(256, "<i4")
    header[:3] = [magic, version, len(ids) if count is None else count]
    path.write_bytes(header.tobytes() + np.array(ids, dtype).tobytes())
    return str(path)


@pytest.mark.parametrize("form", [GPT2, LLAMA3])
def test_a_shard_is_read(tmp_path: Path, form: tuple[int, int, str]) -> None:
    ids = [*IDS, 128_000] if form is LLAMA3 else IDS
    shard = read_shard(write(tmp_path / "val.bin", form, ids), 1000)
    assert shard.ids.tolist() == ids
    assert shard.ids.dtype == np.int32
    assert (shard.held, shard.is_cut, shard.name) == (len(ids), False, "val.bin")


def test_the_first_tokens_are_read(tmp_path: Path) -> None:
    shard = read_shard(write(tmp_path / "val.bin"), 2)
    assert shard.ids.tolist() == IDS[:2]
    assert (shard.held, shard.is_cut) == (5, True)


def test_the_hash_is_of_the_whole_file(tmp_path: Path) -> None:
    from hashlib import sha256

    path = tmp_path / "val.bin"
    shard = read_shard(write(path), 2)
    assert shard.sha256 == sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", ["uint16", "uint32"])
def test_numbers_without_a_header_are_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "val.bin"
    np.array(IDS, kind).tofile(path)
    assert read_shard(f"{kind}:{path}", 1000).ids.tolist() == IDS
    with pytest.raises(UsageError, match=r"no header; expected a shard of llm\.c"):
        read_shard(str(path), 1000)


@pytest.mark.parametrize(
    ("form", "count", "tail", "problem"),
    [
        ((20240326, 3, "<u2"), None, b"", "magic 20240326, version 3; expected a shard"),
        ((20240520, 2, "<u2"), None, b"", "magic 20240520, version 2; expected a shard"),
        (GPT2, 6, b"", "counts 6 tokens, and it holds 5; truncated?"),
        (GPT2, 4, b"", "counts 4 tokens, and it holds 5; appended to?"),
        (GPT2, None, b"x", "counts 5 tokens, and it holds 5 and 1 more bytes; appended to?"),
        (GPT2, 0, None, "no token; expected at least two"),
    ],
)
def test_a_wrong_shard_is_named(
    tmp_path: Path,
    form: tuple[int, int, str],
    count: int | None,
    tail: bytes | None,
    problem: str,
) -> None:
    path = tmp_path / "val.bin"
    write(path, form, [] if tail is None else IDS, count)
    path.write_bytes(path.read_bytes() + (tail or b""))
    with pytest.raises(UsageError, match=problem.replace("?", r"\?")):
        read_shard(str(path), 1000)


def test_other_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "val.bin"
    with pytest.raises(UsageError, match="No such file"):
        read_shard(str(path), 10)
    with pytest.raises(UsageError, match="directory"):
        read_shard(str(tmp_path), 10)
    path.write_bytes(b"abc")
    with pytest.raises(UsageError, match="3 bytes, no header"):
        read_shard(str(path), 10)
    with pytest.raises(UsageError, match="3 bytes; expected a multiple of 2"):
        read_shard(f"uint16:{path}", 10)
    write(path)
    with pytest.raises(UsageError, match="has the header of a shard"):
        read_shard(f"uint16:{path}", 10)
    np.array([7, 1 << 31], "<u4").tofile(path)
    with pytest.raises(UsageError, match="token 1 is 2,147,483,648; expected a token id"):
        read_shard(f"uint32:{path}", 10)
