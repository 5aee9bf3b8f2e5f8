"""Packs: unpacking restores the files, equal files give equal packs, and a bad pack is refused."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from data_samples import BOOK, tarred
from doubles import Done, StandIn
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.config.source_schema import File, Source
from gpt2eval.data import manage, packs
from gpt2eval.data.cache import Cache
from gpt2eval.errors import UsageError

pytest_plugins = ["data_fixtures"]


def test_an_unpacked_pack_gives_the_same_numbers_offline(
    hub: StandIn, run: Callable[..., Done], tmp_path: Path
) -> None:
    measured = (
        "run",
        "--model",
        "toy:uniform-bytes",
        "--tasks",
        "wikitext2,ptb,cbt_cn,lambada",
        "--out",
    )
    first = run(*measured, tmp_path / "with")
    packed = run("data", "pack", tmp_path / "all.tar.gz")
    assert packed.code == 0, packed.err
    assert "licence of ptb.test.txt: LDC User Agreement" in packed.err
    hub.repositories.clear()
    hub.requests.clear()
    unpacked = run("data", "unpack", tmp_path / "all.tar.gz", "--cache", tmp_path / "target")
    assert len(unpacked.out.splitlines()) == len(packed.out.splitlines()) == 4
    assert unpacked.out.count("NOT the published file (marked ! in signatures), from hub:") == 4
    again = run(*measured, tmp_path / "without", "--cache", tmp_path / "target", offline=True)
    assert (again.code, again.out) == (0, first.out)
    assert hub.requests == []
    listed = run("data", "ls", "--cache", tmp_path / "target").out
    assert listed == run("data", "ls").out


def filled_cache(folder: Path, contents: Mapping[str, bytes]) -> tuple[Cache, list[Source]]:
    cache = Cache.at(folder)
    sources = [Source(file=File(name=name)) for name in contents]
    for source in sources:
        cache.put(source, contents[source.file.name], "somewhere", "abc")
    return cache, sources


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z.0-9 ]{0,10}", fullmatch=True),
        st.binary(max_size=300),
        min_size=1,
        max_size=4,
    )
)
def test_unpacking_restores_the_packed_files(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("pack")
    cache, sources = filled_cache(folder / "here", contents)
    packs.pack(folder / "a.tar.gz", cache, sources)
    packs.pack(folder / "b.tar.gz", cache, reversed(sources))
    assert (folder / "a.tar.gz").read_bytes() == (folder / "b.tar.gz").read_bytes()
    target = Cache.at(folder / "target")
    packs.unpack(folder / "a.tar.gz", target)
    for source in sources:
        unpacked = target.get(source)
        assert unpacked == cache.get(source)
        assert unpacked is not None
        assert unpacked.content == contents[source.file.name]


def manifest(**changed: Any) -> bytes:
    known = {
        "name": "book.txt",
        "sha256": sha256(BOOK.encode()).hexdigest(),
        "bytes": len(BOOK),
        "origin": "x",
        "revision": "",
    }
    return json.dumps({"format": 1, "files": [{"key": "book", "known": known | changed}]}).encode()


def link(kind: bytes, name: str = "files/book/book.txt") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        first = tarfile.TarInfo("manifest.json")
        first.size = len(manifest(bytes=0))
        archive.addfile(first, io.BytesIO(manifest(bytes=0)))
        member = tarfile.TarInfo(name)
        member.type = kind
        member.linkname = "/etc/passwd"
        archive.addfile(member)
    return file.getvalue()


FINE = {"manifest.json": manifest(), "files/book/book.txt": BOOK}
HOSTILE: dict[str, tuple[bytes, str]] = {
    "no archive": (b"PK no archive", "cannot be read: "),
    "empty": (b"", "cannot be read: "),
    "cut short": (tarred(FINE)[:-3000], "cannot be read: "),
    "no manifest": (
        tarred({"files/book/book.txt": BOOK}),
        "not a pack; expected manifest.json first",
    ),
    "manifest last": (
        tarred(dict(reversed(FINE.items()))),
        "not a pack; expected manifest.json first",
    ),
    "manifest is no JSON": (tarred({"manifest.json": b"{"}), "manifest.json: "),
    "unknown format": (
        tarred({"manifest.json": b'{"format": 2, "files": []}'}),
        "manifest.json: format: ",
    ),
    "unknown key": (
        tarred({"manifest.json": b'{"files": [], "run": "rm"}'}),
        "manifest.json: run: ",
    ),
    "key is a path": (
        tarred({"manifest.json": manifest().replace(b'"book"', b'"../book"')}),
        "manifest.json: files.0.key: ",
    ),
    "name is a path": (
        tarred({"manifest.json": manifest(name="../../x")}),
        "manifest.json: files.0.known.name: ",
    ),
    "hidden name": (
        tarred({"manifest.json": manifest(name=".bashrc")}),
        "manifest.json: files.0.known.name: ",
    ),
    "absolute name": (
        tarred({"manifest.json": manifest(name="/etc/passwd")}),
        "manifest.json: files.0.known.name: ",
    ),
    "path outside": (
        tarred({"manifest.json": manifest(), "../../outside": "x"}),
        "'../../outside': not listed in the manifest",
    ),
    "not named": (
        tarred({**FINE, "files/book/more.txt": "x"}),
        "'files/book/more.txt': not listed in the manifest",
    ),
    "symbolic link": (link(tarfile.SYMTYPE), "a link, folder or device; expected a plain file"),
    "hard link": (link(tarfile.LNKTYPE), "a link, folder or device; expected a plain file"),
    "device": (link(tarfile.CHRTYPE), "a link, folder or device; expected a plain file"),
    "folder": (link(tarfile.DIRTYPE), "a link, folder or device; expected a plain file"),
    "other size": (tarred({**FINE, "files/book/book.txt": BOOK + "x"}), "its manifest says"),
    "other hash": (
        tarred({**FINE, "files/book/book.txt": BOOK.replace("Line 7 ", "Line 8 ")}),
        "checksum mismatch with its manifest",
    ),
    "lacking": (
        tarred({"manifest.json": manifest()}),
        "lacks files/book/book.txt, listed in its manifest",
    ),
    "huge": (
        tarred({"manifest.json": manifest(bytes=1 << 50), "files/book/book.txt": BOOK}),
        "files.0.known.bytes: ",
    ),
    "terminal control characters": (
        tarred({"manifest.json": manifest(origin="\x1b[31m\nFAKE")}),
        "files.0.known.origin: ",
    ),
    "trailing garbage": (tarred(FINE) + b"more", "cannot be read: "),
    "cut in its checksum": (tarred(FINE)[:-5], "cannot be read: "),
}


@pytest.mark.parametrize("pack", HOSTILE)
def test_an_invalid_pack_is_refused_completely(tmp_path: Path, pack: str) -> None:
    content, message = HOSTILE[pack]
    (tmp_path / "pack.tar.gz").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        packs.unpack(tmp_path / "pack.tar.gz", Cache.at(tmp_path / "cache"))
    assert str(caught.value).startswith(f"{tmp_path / 'pack.tar.gz'}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["pack.tar.gz"]


def test_the_valid_pack_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "pack.tar.gz").write_bytes(tarred(FINE))
    assert [entry.key for entry in packs.unpack(tmp_path / "pack.tar.gz", Cache.at(tmp_path))] == [
        "book"
    ]


def test_one_corrupt_member_refuses_the_complete_pack(tmp_path: Path) -> None:
    cache, sources = filled_cache(tmp_path / "here", {"a.txt": b"right", "b.txt": b"wrong"})
    packs.pack(tmp_path / "pack.tar.gz", cache, sources)
    raw = gzip.decompress((tmp_path / "pack.tar.gz").read_bytes())
    (tmp_path / "pack.tar.gz").write_bytes(
        gzip.compress(raw.replace(b"wrong" + bytes(507), b"WRONG" + bytes(507)))
    )
    with pytest.raises(UsageError, match="checksum mismatch with its manifest"):
        packs.unpack(tmp_path / "pack.tar.gz", Cache.at(tmp_path / "target"))
    assert not (tmp_path / "target").exists()


def test_unpacking_neither_replaces_nor_rewrites_cached_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, sources = filled_cache(tmp_path / "here", {"a.txt": b"right"})
    packs.pack(tmp_path / "pack.tar.gz", cache, sources)
    target, _ = filled_cache(tmp_path / "target", {"a.txt": b"other"})
    with pytest.raises(
        UsageError,
        match=r"checksum mismatch: .* has \w{8}, the pack \w{8}; delete that folder, or use",
    ):
        packs.unpack(tmp_path / "pack.tar.gz", target)
    previous = target.get(sources[0])
    assert previous is not None
    assert previous.content == b"other"
    monkeypatch.setattr("gpt2eval.data.cache.write_atomic", None)
    assert [entry.provenance.name for entry in packs.unpack(tmp_path / "pack.tar.gz", cache)] == [
        "a.txt"
    ]


def test_packing_errors(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"^nothing to pack in .*; run 'gpt2eval data fetch' first$"
    ):
        manage.pack(tmp_path / "pack.tar.gz", (), tmp_path)
    with pytest.raises(
        UsageError,
        match=r"^not in the cache, or corrupt: ptb\.test\.txt; run 'gpt2eval data fetch' first$",
    ):
        manage.pack(tmp_path / "pack.tar.gz", ["ptb"], tmp_path)
    cache, sources = filled_cache(tmp_path / "cache", {"a.txt": b"a"})
    for place in (tmp_path / "none" / "pack.tar.gz", tmp_path / "cache", Path("/")):
        with pytest.raises(UsageError, match=r"cannot be written: "):
            packs.pack(place, cache, sources)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache"]
