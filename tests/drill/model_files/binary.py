"""Mutations of binary model files, aimed at their headers, where a reader trusts most."""

import io
import json
import struct
import zipfile
from random import Random

from drill import mutations

# 64-bit numbers that a reader may trust: 0, small, and those that overflow sums and products.
COUNTS = (0, 1, 7, 255, 65536, 2**31 - 1, 2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1)


def of_safetensors(content: bytes, random: Random) -> bytes:
    """Damage the length, the JSON of the header, the numbers, or anything."""
    kind = random.random()
    size = int.from_bytes(content[:8], "little")
    header, numbers = content[8 : 8 + size], content[8 + size :]
    if kind < 0.1:
        return struct.pack("<Q", random.choice(COUNTS)) + content[8:]
    if kind < 0.3:
        return mutations.of_bytes(content, random)
    if kind < 0.4:
        return content[: 8 + size] + mutations.of_bytes(numbers, random)
    header = _relabelled(header, random) if kind < 0.6 else mutations.of_json(header, random)
    return struct.pack("<Q", len(header)) + header + numbers


def _relabelled(header: bytes, random: Random) -> bytes:
    """Exchange parts of two entries of a header: names, types, shapes or places."""
    entries = json.loads(header)
    names = [name for name in entries if name != "__metadata__"]
    first, second = random.sample(names, 2)
    key = random.choice(("name", "dtype", "shape", "data_offsets"))
    if key == "name":
        entries[first], entries[second] = entries[second], entries[first]
    elif key == "dtype":
        entries[first][key] = random.choice(("F64", "F16", "BF16", "I32", "U8", "BOOL", "F8_E4M3"))
    elif key == "shape":
        entries[first][key] = random.choice(
            (entries[second][key], entries[first][key][::-1], [*entries[first][key], 1], [])
        )
    else:
        entries[first][key] = entries[second][key]
    return json.dumps(entries).encode()


def of_gguf(content: bytes, random: Random) -> bytes:
    """Damage the first kilobytes, which hold the header, or anything."""
    kind = random.random()
    if kind < 0.3:
        return mutations.of_bytes(content, random)
    if kind < 0.6:
        place = random.randrange(4, len(content) // 2)
        return content[:place] + struct.pack("<Q", random.choice(COUNTS)) + content[place + 8 :]
    end = random.choice((24, 400, len(content) // 2))
    return mutations.of_bytes(content[:end], random) + content[end:]


def of_llmc(content: bytes, random: Random) -> bytes:
    """Damage one of the eight numbers of the header, its rest, or anything."""
    if random.random() < 0.6:
        place = 4 * random.randrange(8)
        number = random.choice((*COUNTS, 2, 3, 4, 5, 8, 16, 300, 320, 20240326)) & 0xFFFFFFFF
        content = content[:place] + struct.pack("<I", number) + content[place + 4 :]
        return content if random.random() < 0.7 else mutations.of_bytes(content, random)
    return mutations.of_bytes(content, random)


def of_archive(content: bytes, random: Random) -> bytes:
    """Damage the bytes of an archive, or those of a member, with its checksum made right again."""
    if random.random() < 0.4:
        return mutations.of_bytes(content, random)
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(written, "w") as new:
        names = old.namelist()
        pickle = next(name for name in names if name.endswith("data.pkl"))
        chosen = pickle if random.random() < 0.7 else random.choice(names)
        for name in names:
            member = old.read(name)
            new.writestr(name, mutations.of_bytes(member, random) if name == chosen else member)
    return written.getvalue()
