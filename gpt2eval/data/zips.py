"""Read one member of a .zip within limits."""

import io
import stat
import struct
import zipfile
from pathlib import Path
from typing import IO

from gpt2eval.data.limits import Limit, read_all, too_large
from gpt2eval.data.selection import Selection
from gpt2eval.data.tars import MOST_MEMBERS
from gpt2eval.errors import UsageError

ZIP_MAGIC = (b"PK\3\4", b"PK\5\6", b"PK\7\x08")
LONGEST_MARK = 4  # bytes before the first member of an archive that was once in several parts
LARGEST_DIRECTORY = 128 * MOST_MEMBERS  # bytes of the list of members


def read_zip(raw: IO[bytes], path: Path, selection: Selection, limit: Limit) -> bytes:
    """Return the selected member of a .zip, whose checksum is verified.

    Nothing but the archive may lie in the file: `zipfile` reads only the last of several.

    Raises UsageError for an archive without the member or above the limit, and what `zipfile`
    raises for a corrupt one.
    """
    _check_directory(raw, path)
    with zipfile.ZipFile(raw) as archive:
        chosen: zipfile.ZipInfo | None = None
        entries = archive.infolist()
        if entries and min(entry.header_offset for entry in entries) > LONGEST_MARK:
            raise zipfile.BadZipFile("something other than a member precedes the first one")
        for entry in entries:
            is_link = stat.S_ISLNK(entry.external_attr >> 16)
            if not entry.is_dir() and not is_link and selection.prefers(entry.filename):
                chosen = entry
        selection.check()
        assert chosen, "checked above"
        if chosen.file_size > limit.content:
            raise too_large(f"{path}: {chosen.filename!r:.80}", limit.content)
        with archive.open(chosen) as file:
            return read_all(file, limit.content, path)


def _check_directory(raw: IO[bytes], path: Path) -> None:
    """Raise UsageError for a list of members too large to be read into memory.

    Raises BadZipFile if something other than zeros follows the archive.
    """
    size = raw.seek(0, io.SEEK_END)
    raw.seek(max(0, size - (1 << 16) - 22))  # a comment of at most 64 KiB follows the last record
    end = raw.read()
    raw.seek(0)
    position = end.rfind(b"PK\5\6")
    if position < 0 or len(end) < position + 22:
        return  # `zipfile` says so
    count, directory = struct.unpack("<HI", end[position + 10 : position + 16])
    (comment,) = struct.unpack("<H", end[position + 20 : position + 22])
    if end[position + 22 + comment :].strip(b"\0"):
        raise zipfile.BadZipFile("something other than the archive follows it")
    if count == 0xFFFF or directory == 0xFFFFFFFF:  # the figures are in a record of 64 bits
        far = end.rfind(b"PK\6\6", 0, position)
        if far >= 0:
            count, directory = struct.unpack("<QQ", end[far + 32 : far + 48])
    if count > MOST_MEMBERS or directory > LARGEST_DIRECTORY:
        raise UsageError(f"{path}: more than {MOST_MEMBERS:,} members; expected fewer")
