"""Read checkpoint files without running code in them or trusting the sizes they claim.

A pickle may name only tensors and plain values, an archive may hold no more bytes than its own
size, and every tensor must fit in its storage. Does not know architectures.
"""

import io
import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpt2eval.errors import UsageError, one_line
from gpt2eval.models.formats.files import BLOCK
from gpt2eval.models.formats.pickle_claims import check_claims
from gpt2eval.models.load_errors import expected_errors

MAX_PICKLE = 1 << 24  # bytes of a pickle that should hold a small dictionary
DAMAGED_PICKLE = (
    pickle.UnpicklingError,
    *(EOFError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError),
    *(AssertionError, RecursionError, struct.error),
)


class PlainUnpickler(pickle.Unpickler):
    """Unpickles dictionaries, lists, strings and numbers; refuses any class or function."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it would run {module}.{name}")


def load_plain_pickle(path: Path) -> Any:
    """Load plain values from a pickle.

    Raises:
        UsageError: If the file is too large, damaged, or needs code to run.
    """
    with (
        expected_errors(
            str(path),
            *(OSError, *DAMAGED_PICKLE),
            expectation="a pickle of plain dictionaries, strings and numbers",
        ),
        path.open("rb") as file,
    ):
        raw = file.read(min(path.stat().st_size, MAX_PICKLE) + 1)
        if len(raw) > MAX_PICKLE:
            raise pickle.UnpicklingError(f"larger than {MAX_PICKLE} bytes")
        check_claims(raw)
        return PlainUnpickler(io.BytesIO(raw)).load()


def load_torch_file(path: Path) -> Any:
    """Load tensors and plain values that `torch.save` wrote, mapped from disk.

    Raises:
        UsageError: If the file needs code to run, its archive members are compressed or larger
            than the archive, or a tensor claims more than its storage holds.
    """
    try:
        with expected_errors(
            str(path),
            *(OSError, RuntimeError, zipfile.BadZipFile, *DAMAGED_PICKLE[1:]),
            expectation="a file that torch.save wrote",
        ):
            is_archive = zipfile.is_zipfile(path)
            if is_archive:
                check_archive(path)
            content = torch.load(
                path, map_location="cpu", weights_only=True, mmap=is_archive or None
            )
    except pickle.UnpicklingError as error:
        raise UsageError(f"{path}: {_unpickling_problem(error)}") from error
    _check_storages(path, content)
    return content


def is_mapped(path: Path) -> bool:
    """Return whether a file is an archive, which is mapped from disk instead of read."""
    return path.suffix == ".safetensors" or zipfile.is_zipfile(path)


def check_archive(path: Path) -> None:
    """Check an archive's sizes, and read it once to check its checksums, which torch ignores.

    Raises:
        UsageError: If it unpacks to more bytes than it has, has two members of one name, or a
            member's bytes do not match its CRC-32.
    """
    with (
        expected_errors(
            str(path),
            *(OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, *DAMAGED_PICKLE),
            expectation="an undamaged file that torch.save wrote; copy or download it again",
        ),
        zipfile.ZipFile(path) as archive,
    ):
        members = archive.infolist()
        is_compressed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
        if is_compressed or sum(member.file_size for member in members) > path.stat().st_size:
            raise UsageError(
                f"{path}: the archive unpacks to more than its own size; expected a file that "
                "torch.save wrote"
            )
        if len({member.filename for member in members}) < len(members):
            raise UsageError(f"{path}: two members of one name; expected a file of torch.save")
        for member in members:
            with archive.open(member) as content:
                if member.filename.endswith("data.pkl"):
                    check_claims(content.read())
                while content.read(BLOCK):  # raises BadZipFile at the end
                    pass


def _unpickling_problem(error: pickle.UnpicklingError) -> str:
    """Return what a refused pickle needs, extracted from torch's long message."""
    match = re.search(r"GLOBAL (\S+)", str(error))
    problem = f"it would run {match[1]}" if match else one_line(error, 160)
    return (
        f"{problem}; expected only tensors and plain values: load the file where you trust it, "
        "and torch.save only those"
    )


def _check_storages(path: Path, content: Any) -> None:
    """Raise UsageError if any nested tensor has more elements than its storage."""
    visited = set[int]()
    pending = [content]
    while pending:
        value = pending.pop()
        if id(value) in visited:
            continue
        visited.add(id(value))
        if isinstance(value, Tensor):
            is_strided = value.layout is torch.strided
            size = value.numel() * value.element_size()
            if not is_strided or size > value.untyped_storage().nbytes():
                raise UsageError(
                    f"{path}: a tensor of shape {list(value.shape)} exceeds its storage; "
                    "expected plain tensors"
                )
        elif isinstance(value, Mapping):
            pending.extend(value.values())
        elif isinstance(value, list | tuple):
            pending.extend(value)
