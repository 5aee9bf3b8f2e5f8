"""Compressions and archives around a published text, and packs."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

from drill import mutations
from drill.attempts import Attempt
from drill.data_files.kinds import part, task
from drill.data_files.texts import PTB
from gpt2eval.config.source_schema import File, Source
from gpt2eval.data import packs
from gpt2eval.data.cache import Cache
from gpt2eval.data.corpus import load_corpus

NAME = "ptb.test.txt"
OTHER = b" another file \n" * 20
# Types of members: plain files most often, links, devices, folders, extensions, and an unknown one.
TYPES = (*[tarfile.REGTYPE] * 12, *(bytes([code]) for code in b"1234567LKxgSV"), b"\xff")


def _zipped(method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("data/README", OTHER)
        archive.writestr(f"data/{NAME}", PTB)
    return file.getvalue()


def _tarred(form: int, members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def _zstd(content: bytes) -> bytes:
    """Return one frame with a checksum, as the command `zstd` writes it."""
    import pyarrow

    return pyarrow.compress(content, "zstd", asbytes=True)


@cache
def _valid(kind: str) -> tuple[bytes, ...]:
    members = {"data/README": OTHER, f"data/{NAME}": PTB}
    plain = _tarred(tarfile.PAX_FORMAT, members)
    makers: Mapping[str, Callable[[], tuple[bytes, ...]]] = {
        "gz": lambda: (
            gzip.compress(PTB, mtime=0),
            gzip.compress(PTB[:99]) + gzip.compress(PTB[99:]),
        ),
        "bz2": lambda: (bz2.compress(PTB), bz2.compress(PTB[:99]) + bz2.compress(PTB[99:])),
        "xz": lambda: (lzma.compress(PTB), lzma.compress(PTB[:99]) + lzma.compress(PTB[99:])),
        "zst": lambda: (_zstd(PTB),),
        "zip": lambda: (_zipped(zipfile.ZIP_DEFLATED), _zipped(zipfile.ZIP_STORED)),
        "tar": lambda: (plain, _tarred(tarfile.GNU_FORMAT, members)),
        "tgz": lambda: (gzip.compress(plain), bz2.compress(plain), lzma.compress(plain)),
    }
    return makers[kind]()


def _mutant(kind: str, random: Random) -> bytes:
    content = random.choice(_valid(kind))
    if random.random() < 0.25:
        return STRUCTURAL[kind](random)
    return mutations.of_bytes(content, random, _valid(kind))


def _hostile_tar(random: Random) -> bytes:
    """Return a tar with links, devices, absolute or repeated names, or false sizes."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for _ in range(random.randint(1, 4)):
            member = tarfile.TarInfo(
                random.choice(
                    (f"data/{NAME}", NAME, f"/{NAME}", f"../{NAME}", "x", f"{NAME}/{NAME}")
                )
            )
            member.type = random.choice(TYPES)
            member.linkname = random.choice(("", NAME, "/etc/passwd", "/dev/zero", "../x"))
            content = random.choice((PTB, OTHER, b""))
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    content = file.getvalue()
    if random.random() < 0.5:
        return content
    return _with_size(content, random)


def _with_size(content: bytes, random: Random) -> bytes:
    """Return a tar whose first header states another size, with a right checksum."""
    size = random.choice((b"00000000001\0", b"77777777777\0", b"-0000000001\0", b"\xff" * 12,
                          b"\x80" + b"\0" * 10 + b"\x01", b"            "))  # fmt: skip
    head = content[:124] + size + content[136:148] + b" " * 8 + content[156:512]
    checksum = b"%06o\0 " % sum(head)
    return head[:148] + checksum + head[156:] + content[512:]


def _hostile_zip(random: Random) -> bytes:
    """Return a zip with repeated or foreign names, and sometimes another size in one place."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for _ in range(random.randint(1, 4)):
            name = random.choice((f"data/{NAME}", NAME, f"/{NAME}", f"../{NAME}", "x", "e\u0301"))
            info = zipfile.ZipInfo(name + random.choice(("", "", "", "/")))
            info.external_attr = random.choice((0, 0o120777 << 16, 0o100644 << 16))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, random.choice((PTB, OTHER, b"", bytes(100_000))))
    content = bytearray(file.getvalue())
    for mark, places in ((b"PK\1\2", (16, 20, 24, 28, 42)), (b"PK\3\4", (6, 8, 14, 18, 22))):
        at = content.find(mark)
        if at >= 0 and random.random() < 0.4:
            place = at + random.choice(places)
            content[place : place + 4] = struct.pack(
                "<I", random.choice((0, 1, 2**31, 2**32 - 1, 65536))
            )
    return bytes(content)


def _bomb(compress: Callable[[bytes], bytes]) -> Callable[[Random], bytes]:
    """Return what makes small files: of a hundred megabytes of zeros, or of several streams."""

    @cache
    def zeros() -> bytes:
        return compress(bytes(100_000_000))

    def make(random: Random) -> bytes:
        if random.random() < 0.01:
            return zeros()
        pieces = [compress(PTB[:150]), compress(b""), compress(OTHER), b"\0" * 64, b"garbage"]
        return b"".join(random.choices(pieces, k=random.randint(1, 5)))

    return make


STRUCTURAL: Mapping[str, Callable[[Random], bytes]] = {
    "gz": _bomb(gzip.compress),
    "bz2": _bomb(bz2.compress),
    "xz": _bomb(lambda content: lzma.compress(content, preset=0)),
    "zst": _bomb(_zstd),
    "zip": _hostile_zip,
    "tar": _hostile_tar,
    "tgz": lambda random: gzip.compress(_hostile_tar(random)),
}


def _read(path: Path) -> object:
    return load_corpus(task("ptb"), path)


def _problem(kind: str) -> Callable[[Path, Any], str | None]:
    """Return the judge that unpacks an accepted file with the standard library."""

    def judge(path: Path, corpus: Any) -> str | None:
        if "(restored: " in corpus.origin:
            return None
        found = {sha256(text).hexdigest() for text in _texts(kind, path.read_bytes())}
        return None if corpus.sha256 in found else "another text than the standard library reads"

    return judge


def _texts(kind: str, content: bytes) -> list[bytes]:
    """Return the texts that a reader of its own finds: of archives, of each member of the name."""
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    elif content[:3] == b"BZh":
        content = _streams(content, bz2.BZ2Decompressor)
    elif content[:4] == b"\xfd7zX":
        content = _streams(content, lzma.LZMADecompressor)
    elif kind == "zst":
        content = _zstd_frames(content)
    if content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            wanted = [info for info in archive.infolist() if info.filename.endswith(NAME)]
            return [text for info in wanted for text in _of_member(archive, info)]
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            files = [
                archive.extractfile(m) for m in archive if m.isfile() and m.name.endswith(NAME)
            ]
            return [file.read() for file in files if file]
    except tarfile.TarError:
        return [content]


def _of_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> list[bytes]:
    """Return a member's content; nothing for one that is damaged, which the product passed over."""
    try:
        return [archive.read(info)]
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError):
        return []


def _streams(
    content: bytes, new: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]
) -> bytes:
    """Return the content of all streams; unlike `bz2.decompress`, zeros may lie between them."""
    text = b""
    while content := content.lstrip(b"\0"):
        stream = new()
        text += stream.decompress(content)
        content = stream.unused_data
    return text


def _zstd_frames(content: bytes) -> bytes:
    import pyarrow

    with pyarrow.input_stream(io.BytesIO(content), compression="zstd") as stream:
        return stream.read()


# -- packs -----------------------------------------------------------------------------------------


@cache
def _pack() -> bytes:
    import tempfile

    sources = [Source(file=File(name=name)) for name in (NAME, "lambada.jsonl")]
    with tempfile.TemporaryDirectory() as folder:
        cache_ = Cache(Path(folder) / "cache")
        for source in sources:
            cache_.put(source, PTB, "https://example.org/data")
        path = Path(folder) / "all.tar.gz"
        packs.pack(path, cache_, sources)
        return path.read_bytes()


def _mutated_pack(random: Random) -> bytes:
    """Return a pack with changed bytes, outside or inside its compression."""
    if random.random() < 0.4:
        return mutations.of_bytes(_pack(), random)
    if random.random() < 0.3:
        return gzip.compress(_hostile_tar(random))
    return gzip.compress(mutations.of_bytes(gzip.decompress(_pack()), random), 1, mtime=0)


def _pack_problem(path: Path, read: Any) -> str | None:
    """Say whether an accepted pack has a file whose content is another one."""
    checksum = sha256(PTB).hexdigest()
    if any(entry.provenance.sha256 != checksum for entry in read):
        return "a file with another checksum"
    return None


PARTS = (
    *(
        part(
            f"{kind} archive" if kind in ("zip", "tar", "tgz") else f"{kind} compression",
            [
                Attempt(
                    f"{NAME}.{kind}",
                    lambda random, kind=kind: _mutant(kind, random),
                    _read,
                    _problem(kind),
                )
            ],
            quick=25,
        )
        for kind in STRUCTURAL
    ),
    part(
        "data pack",
        [
            Attempt(
                "all.tar.gz",
                _mutated_pack,
                lambda path: [file.entry for file in packs.read_pack(path)],
                _pack_problem,
            )
        ],
    ),
)
