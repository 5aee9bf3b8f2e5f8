"""Hostile files: each is made here, and would make a folder or write a file if it had its way."""

import gzip
import io
import json
import os
import pickle
import shutil
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import torch

from drill import attempts
from drill.attempts import Attempt
from drill.part import Findings
from drill.security.commands import accepted
from gpt2eval.config.catalog import DEMO

WORDS = DEMO / "model"
BIG = (2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.canary),)


class Hostile(NamedTuple):
    """A kind of hostile file.

    Attributes:
        file: Its name.
        make: Returns its content, given a path where a canary must not appear.
        read: Gives it to a command.
        may_pass: The command may read what is harmless in it.
    """

    file: str
    make: Callable[[Path, Random], bytes]
    read: Callable[[Path], object]
    may_pass: bool = False


# -- how a command reads a file --------------------------------------------------------------------


def as_text(path: Path) -> object:
    return accepted("check", "ptb", "--data", f"ptb={path}")


def as_rows(path: Path) -> object:
    return accepted("run", "--model", "toy:unigram", "--text", path, "--out", path.parent / "out")


def as_pack(path: Path) -> object:
    return accepted("data", "unpack", path, "--cache", path.parent / "cache")


def as_task(path: Path) -> object:
    return accepted("show", "mine", "--include", path.parents[1])


def as_model(model: str | Path, folder: Path) -> object:
    options = ("--tasks", "text8", "--data", "demo", "--limit", "1", "--out", folder / "out")
    return accepted("run", "--model", str(model), "--tokenizer", WORDS, *options)


def as_nanogpt(path: Path) -> object:
    return as_model(f"nanogpt:{path}", path.parent)


def as_gguf(path: Path) -> object:
    return as_model(f"gguf:{path}", path.parent)


def in_folder(path: Path) -> object:
    """Read a model folder in which one file is hostile, beside Python that must not run."""
    folder = path.parent
    for file in WORDS.iterdir():
        if file.name != path.name and file.suffix != ".safetensors":
            shutil.copy(file, folder)
    canary = folder.parent / "canary"
    (folder / "remote.py").write_text(f"import os\nos.mkdir({str(canary)!r})\n")
    if path.name == "config.json":
        shutil.copy(WORDS / "model.safetensors", folder)
    return as_model(folder, folder.parent)


# -- pickles ---------------------------------------------------------------------------------------


def bomb_pickle(canary: Path, random: Random) -> bytes:
    return pickle.dumps({"model": Bomb(canary)}, random.randrange(6))


def torch_file(canary: Path, random: Random) -> bytes:
    buffer = io.BytesIO()
    content = {"model": {"x": torch.zeros(2)}, "config": Bomb(canary)}
    torch.save(content, buffer, _use_new_zipfile_serialization=random.random() < 0.5)
    return buffer.getvalue()


def object_array(canary: Path, random: Random) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Bomb(canary)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


# -- headers ---------------------------------------------------------------------------------------


def safetensors(canary: Path, random: Random) -> bytes:
    kind = random.randrange(4)
    if kind == 0:
        return struct.pack("<Q", random.choice(BIG)) + b"{}"
    first = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    second = {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}
    if kind == 1:
        second["data_offsets"] = [8, random.choice(BIG)]
    if kind == 2:
        second = {"dtype": "F32", "shape": [random.choice(BIG), 2], "data_offsets": [8, 16]}
    header = json.dumps({"a": first, "b": second}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(16)


def gguf(canary: Path, random: Random) -> bytes:
    head = b"GGUF" + struct.pack("<I", 3)
    huge = random.choice(BIG[2:])
    return head + random.choice(
        (
            struct.pack("<QQ", huge, 0),
            struct.pack("<QQ", 0, huge),
            struct.pack("<QQQ", 0, 1, huge) + bytes(32),
            struct.pack("<QQQ1sIQ", 0, 1, 1, b"a", 8, huge) + bytes(32),
            struct.pack("<QQQ1sIIQ", 0, 1, 1, b"a", 9, 9, huge) + bytes(32),
        )
    )


def auto_map(canary: Path, random: Random) -> bytes:
    config = json.loads((WORDS / "config.json").read_text())
    config["model_type"] = "unheard-of"
    config["auto_map"] = {"AutoConfig": "remote.Config", "AutoModelForCausalLM": "remote.Model"}
    return json.dumps(config).encode()


# -- containers ------------------------------------------------------------------------------------


def _outside(canary: Path, random: Random) -> str:
    name = "ptb.test.txt"
    return random.choice((str(canary), f"../../{canary.name}", f"a/../../{name}", f"/{name}"))


def zip_outside(canary: Path, random: Random) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(_outside(canary, random), "some words \n")
        archive.writestr("\x1b[2J\u202e", "more\n")
    return buffer.getvalue()


def zip_link(canary: Path, random: Random) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("ptb.test.txt")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return buffer.getvalue()


def zip_bomb(canary: Path, random: Random) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ptb.test.txt", bytes(80_000_000))
    return buffer.getvalue()


def zip_encrypted(canary: Path, random: Random) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("ptb.test.txt", "some words \n")
    content = bytearray(buffer.getvalue())
    for magic, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(magic) + place] |= 1
    return bytes(content)


def zip_overlap(canary: Path, random: Random) -> bytes:
    """Two members of one name whose directory entries lead to the same bytes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("ptb.test.txt", "some words \n")
        archive.filelist.append(archive.filelist[0])
    return buffer.getvalue()


def tar(canary: Path, random: Random) -> bytes:
    buffer = io.BytesIO()
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.REGTYPE)
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("ptb.test.txt")
        member.type = random.choice(kinds)
        member.linkname = random.choice(("/etc/passwd", "../../../etc/passwd", str(canary)))
        if member.type == tarfile.REGTYPE:
            member.name = _outside(canary, random)
        archive.addfile(member, io.BytesIO())
    return buffer.getvalue()


def pack(canary: Path, random: Random) -> bytes:
    buffer = io.BytesIO()
    key = random.choice(("..", "../../x", "/etc", "a/b", ".hidden", "a\x00b", "\x1b[2J", "k"))
    name = random.choice(("../canary", str(canary), "ok.txt", "a\nb", "." * 9))
    known = {"name": name, "sha256": "0" * 64, "bytes": 1, "origin": "x", "revision": ""}
    manifest = json.dumps({"format": 1, "files": [{"key": key, "known": known}]}).encode()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in (("manifest.json", manifest), (f"files/{key}/{name}", b"x")):
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0)


# -- YAML ------------------------------------------------------------------------------------------


def yaml_task(canary: Path, random: Random) -> bytes:
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    merges = [f"b{i}: &b{i} {{<<: [{', '.join([f'*b{i - 1}'] * 9)}]}}" for i in range(1, 12)]
    text = random.choice(
        (
            f"title: !!python/object/apply:os.mkdir [{json.dumps(str(canary))}]\n",
            f"!!python/object/new:os.mkdir [{json.dumps(str(canary))}]\n",
            "\n".join(["a0: &a0 [x]", *levels]),
            "\n".join(["b0: &b0 {x: y}", *merges]),
            "title: &t [*t]\n",
            "[" * 5000,
            f"title: T\ndetokenizer: {json.dumps('../../' + str(canary))}\n",
        )
    )
    return text.encode()


KINDS = (
    Hostile("ckpt.pt", torch_file, as_nanogpt),
    Hostile("raw.pt", bomb_pickle, as_nanogpt),
    Hostile("model/pytorch_model.bin", torch_file, in_folder),
    Hostile("model/model.safetensors", safetensors, in_folder),
    Hostile("model/config.json", auto_map, in_folder),
    Hostile("model.gguf", gguf, as_gguf),
    Hostile("text.pkl", bomb_pickle, as_text),
    Hostile("text.npy", object_array, as_text),
    Hostile("rows.npy", object_array, as_rows),
    Hostile("slip.zip", zip_outside, as_text, may_pass=True),
    Hostile("link.zip", zip_link, as_text),
    Hostile("bomb.zip", zip_bomb, as_text),
    Hostile("encrypted.zip", zip_encrypted, as_text),
    Hostile("overlap.zip", zip_overlap, as_text, may_pass=True),
    Hostile("text.tar", tar, as_text, may_pass=True),
    Hostile("data.pack", pack, as_pack),
    Hostile("tasks/mine.yaml", yaml_task, as_task),
)


def run_hostile(cases: int, seed: int, folder: Path) -> Findings:
    """Read hostile files of every kind in turn; each kind has a process and a folder of its own."""
    as_model(WORDS, folder)  # imports the libraries, which would count as time of the first case
    failures: list[str] = []
    ran = 0
    for place, kind in enumerate(KINDS):
        count = len(range(place, cases, len(KINDS)))
        if not count:
            continue
        own = folder / kind.file.replace("/", "-")
        own.mkdir()
        canary = own / "canary"
        attempt = Attempt(
            kind.file,
            lambda random, kind=kind, canary=canary: kind.make(canary, random),
            kind.read,
            lambda path, read, kind=kind: None if kind.may_pass else "accepted",
            # Weights that do not fit are a fault of either file.
            mentions=(Path(kind.file).name, "config.json"),
        )
        found = attempts.run(attempt, count, seed, own)
        ran += found.cases
        failures += [f"{kind.file}: {failure}" for failure in found.failures]
        failures += [f"{kind.file}: wrote {path}" for path in _stray(own, folder)]
    return Findings(ran, failures, {"kinds": str(len(KINDS))})


def _stray(own: Path, folder: Path) -> list[Path]:
    """Return what a hostile file wrote."""
    places = [own / "canary", folder / "canary", folder.parent / "canary", Path("/ptb.test.txt")]
    return [place for place in places if place.exists()]
