"""Recognise files that are not the text they are taken for: other formats, and prepared forms.

Knows what such files look like. Does not open them.
"""

import json
import re
from collections.abc import Mapping

from gpt2eval.config.schema import Task
from gpt2eval.config.source_schema import Source
from gpt2eval.errors import UsageError

HEAD = 4096  # bytes that identify a format
SAMPLE = 1 << 16  # bytes that identify a prepared form
SHORTEST = 16  # bytes of a container
ENOUGH = 50  # words of a sample
# The first bytes of formats that are never a published text.
FORMATS: Mapping[str, bytes] = {
    "a .7z archive": rb"7z\xbc\xaf\x27\x1c",
    "a .rar archive": rb"Rar!\x1a\x07",
    "an .lz4 file": rb"\x04\x22\x4d\x18|\x02\x21\x4c\x18",
    "an .lzma file": rb"\x5d\x00\x00.{2}",
    "a .Z file": rb"\x1f[\x9d\xa0]",
    "an .lz file": rb"LZIP\x01",
    "an .lzo file": rb"\x89LZO\x00\r\n\x1a\n",
    "a snappy file": rb"\xff\x06\x00\x00sNaPpY",
    "zlib data": rb"\x78(?:\x01|\x9c|\xda(?![\x80-\xbf]))",
    "a .cab archive": rb"MSCF\x00",
    "a uuencoded file": rb"begin(?:-base64)? [0-7]{3,4} \S",
    "an archive of ar": rb"!<arch>\n",
    "an archive of cpio": rb"0707(?:0[12][0-9A-F]{8}|07[0-7]{12})",
    "a parquet table": rb"PAR1",
    "an arrow or feather table": rb"ARROW1\x00|FEA1\x00|\xff\xff\xff\xff.{2}\x00\x00",
    "an ORC table": rb"ORC[\x00-\x08]",
    "an Avro table": rb"Obj\x01",
    "a .npy array": rb"\x93NUMPY",
    "an HDF5 file": rb"\x89HDF\r\n\x1a\n",
    "a pickle": rb"\x80[\x02-\x05][\x00-\x1f}\])(cXCK\x80-\x9f]"
    rb"|c[a-z_.]{1,40}\n\w{1,40}\np\d\n|(?:\(lp|\(dp|V.{0,4000}\np)\d+\n",
    "a .safetensors file": rb".{3}\x00{5}\{\"",
    "a .gguf file": rb"GGUF[\x01-\x08]\x00",
    "an SQLite database": rb"SQLite format 3\x00",
    "an LMDB or Berkeley database": (
        rb".{12}(?:\x61\x15\x06\x00|\x00\x06\x15\x61)|.{16}\xde\xc0\xef\xbe"
    ),
    "a PDF": rb"\s{0,8}%PDF-",
    "an RTF document": rb"\{\\rtf",
    "an Office document": rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    "a PNG image": rb"\x89PNG\r\n\x1a\n",
    "a JPEG image": rb"\xff\xd8\xff",
    "a GIF image": rb"GIF8[79]a",
    "a TIFF image": rb"II\*\x00|MM\x00\*",
    "a WebP, WAV or AVI file": rb"RIFF.{4}(?:WEBP|WAVE|AVI )",
    "a program": rb"\x7fELF|MZ.{2}\x00|\xcf\xfa\xed\xfe|\xfe\xed\xfa[\xce\xcf]",
    "a token file of llm.c": rb".[\xd8\xd9]\x34\x01[\x01-\x0f]\x00\x00\x00",
    "a Git LFS pointer instead of the file (git lfs pull fetches it)": (
        rb"version https?://git-lfs\.github\.com/spec/"
    ),
    "a git-annex pointer instead of the file": rb"(?:\.\./)*(?:\.git)?/annex/objects/",
}
# The lines of files that write bytes as characters. No text has such a long word in every line.
ENCODINGS: Mapping[str, bytes] = {
    "bytes as hexadecimal numbers": rb"[0-9a-fA-F]{32,}|(?:(?:0x|\\x)[0-9a-fA-F]{2}[ ,]*)+",
    "a hexadecimal dump": rb"[0-9a-fA-F]{7,8}(?:: |  )[ 0-9a-fA-F]{16,}.*",
    "base64": rb"[A-Za-z0-9+/]{48,}={0,2}|[A-Za-z0-9_-]{48,}={0,2}",
}
# The first bytes of compressions and archives, where too few remain to recognise them.
BEGINNING = rb"PK|BZ|\x1f|\xfd|\x28\xb5"
# Web pages that a failed download leaves behind.
PAGE = rb"\s{0,64}<(?:!doctype\s+html|html|head|body)[\s>]"
FAULT = rb"\s{0,8}<\?xml[^>]{0,200}\?>\s*<(?:Error|error|AccessDenied|!doctype\s+html|html)[\s>]"


def format_of(content: bytes) -> str:
    """Return what a file is by its first bytes, such as `a PDF`; "" if it may be text."""
    head = content[:HEAD]
    return next((name for name, magic in FORMATS.items() if re.match(magic, head, re.DOTALL)), "")


def check_is_text(content: bytes, origin: str, expected: str = "text") -> None:
    """Raise UsageError for content in another format, which it names."""
    if found := format_of(content):
        raise UsageError(f"{origin}: {found}; expected {expected}")


def check_is_published_form(task: Task, content: bytes, origin: str) -> None:
    """Raise UsageError for content that is not the text of a published file, or a prepared form.

    The content of the published file itself is never to be given to this function.
    """
    name = task.source.file.name
    check_is_text(content, origin, f"the text of {name}")
    found = _page(content) or _json(task, content) or _csv(task, content) or _numbers(content)
    if found:
        raise UsageError(f"{origin}: {found}; expected the text of {name}")
    if len(content) < SHORTEST and re.match(BEGINNING, content):
        raise UsageError(f"{origin}: the beginning of an archive; truncated?")
    if task.encoding == "bytes" and (found := _binary(content)):
        raise UsageError(f"{origin}: {found}; expected the text of {name}")
    if found := prepared_form(content):
        raise UsageError(
            f"{origin}: {found}; expected the file as published: {_place(task.source)}"
        )


def _place(source: Source) -> str:
    """Return where a published file is."""
    if source.archive:
        member = f" in {source.archive.url}" if source.archive.member else f", {source.archive.url}"
        return f"{source.file.name}{member}"
    return f"{source.file.name}, hub:{source.hub.id}" if source.hub else source.file.name


def _page(content: bytes) -> str:
    head = content[:HEAD]
    if re.match(PAGE, head, re.IGNORECASE) or re.match(FAULT, head):
        return "a web page, perhaps the error of a download"
    return ""


def _json(task: Task, content: bytes) -> str:
    """Return what JSON content is, if a task's file is plain text or has an object per line."""
    head = content[:HEAD].lstrip()
    first = head.partition(b"\n")[0]
    hub = task.source.hub
    has_json_rows = task.format == "rows" and hub is not None and hub.restore == "jsonl"
    if task.format == "documents" or has_json_rows:  # their parsers name the line
        return ""
    if task.format == "lambada":
        return "a JSON array" if re.match(rb"\[\s*(?:[\[{\"]|$)", first) else ""
    if re.match(rb"\{\s*\"[^\"\n]{1,80}\"\s*:", first) or re.match(rb"\[\s*[\[{]", head):
        return "JSON"
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return "a list in JSON" if re.match(rb"\[\s*\d+\s*,\s*\d+\s*,", first) else ""
    return "JSON" if isinstance(value, dict | list) and value else ""


def _csv(task: Task, content: bytes) -> str:
    """Return what content is whose first line names the columns of the task's rows."""
    hub = task.source.hub
    columns = {hub.column if hub and hub.column else "text", "text", "sentence"}
    first, _, rest = content[:HEAD].partition(b"\n")
    fields = [field.strip(b'"\r').decode(errors="replace") for field in re.split(rb"[,\t]", first)]
    fields = [field.strip(" ") for field in fields]
    if not columns & set(fields) or not all(re.fullmatch(r"\w{0,30}", name) for name in fields):
        return ""
    return "a CSV or TSV table" if len(fields) > 1 or rest.lstrip().startswith(b'"') else ""


def _numbers(content: bytes) -> str:
    """Return what content is that consists of numbers of 16 or 32 bits; "" for other content."""
    sample = content[HEAD : HEAD + SAMPLE] or content  # some formats begin with a header
    size = len(sample) // 4
    if size < ENOUGH or b"\0" not in sample:
        return ""
    zeros = [sample[place::4].count(0) / size for place in range(4)]
    if zeros[3] == 1 and zeros[2] > 0.9 > zeros[0]:
        return "numbers of 32 bits, such as token ids"
    low, high = (zeros[0] + zeros[2]) / 2, (zeros[1] + zeros[3]) / 2
    if max(low, high) > 0.9:
        return "UTF-16 text"
    if high > 0.02 and high > 3 * low:
        return "numbers of 16 bits, such as token ids"
    return ""


def _binary(content: bytes) -> str:
    """Return what bytes are that no text has: NUL, many control characters, little UTF-8."""
    sample = content[:SAMPLE] + content[len(content) // 2 :][:SAMPLE] + content[-SAMPLE:]
    control = len(re.findall(rb"[\x00-\x08\x0e-\x1f\x7f]", sample))
    foreign = len(re.findall("[\udc80-\udcff]", sample.decode("utf-8", "surrogateescape")))
    if b"\0" in sample or control > len(sample) / 100 or foreign > 8 + len(sample) / 10:
        return "binary, such as token ids or a damaged archive"
    return ""


def prepared_form(content: bytes) -> str:
    """Return what a file is that a preprocessing script wrote from a text; "" for a text.

    >>> prepared_form(b"60 109 101 100 105 97 " * 10)
    'bytes as numbers, the form that scripts such as prep_enwik8.py write'
    >>> prepared_form(b"a n a r c h i s m _ " * 10)
    'single characters separated by blanks, the form that scripts such as prep_text8.py write'
    """
    sample = content[:SAMPLE]
    words = sample.replace(b",", b" ").split()[:-1]  # the last one may be cut
    if (joints := sample.count(b"_")) > ENOUGH and joints > 10 * len(words):
        return "words joined by _ instead of blanks"
    if found := _encoding(sample):
        return found
    if len(words) < ENOUGH:
        return ""
    numbers = [word for word in words if word.isdigit()]
    if len(numbers) > 0.95 * len(words):
        if all(int(number[:9]) < 256 for number in numbers):
            return "bytes as numbers, the form that scripts such as prep_enwik8.py write"
        return "token ids as numbers"
    if _share(words, rb"[0-9a-fA-F]{2}") > 0.95 and _share(words, rb"[a-z]{2}") < 0.5:
        return "bytes as hexadecimal numbers"
    single = sum(len(word.decode(errors="replace")) == 1 for word in words)
    if single > 0.9 * len(words):
        return (
            "single characters separated by blanks, the form that scripts such as prep_text8.py "
            "write"
        )
    if _share(words, rb".+@@") > 0.02:
        return "subwords that end in @@, as byte-pair encoding writes them"
    for mark in ("▁", "Ġ"):
        if sum(word.startswith(mark.encode()) for word in words) > 0.2 * len(words):
            return f"the tokens of a tokenizer, with {mark} for a blank"
    if _share(words, rb"##\S+") > 0.02:
        return "subwords that begin with ##, as WordPiece writes them"
    return ""


def _encoding(sample: bytes) -> str:
    """Return how a sample writes bytes as characters, without the words of a text; "" for none."""
    lines = [line.strip() for line in sample.splitlines()]
    for name, pattern in ENCODINGS.items():
        # The last line may be cut, and a single line may be the whole sample.
        if len(sample) >= 4 * ENOUGH and all(re.fullmatch(pattern, x) for x in lines[:-1] or lines):
            return name
    return ""


def _share(words: list[bytes], pattern: bytes) -> float:
    return sum(re.fullmatch(pattern, word) is not None for word in words) / len(words)
