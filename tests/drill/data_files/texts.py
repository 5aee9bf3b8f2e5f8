"""Texts: the published forms of tasks, your own texts, tables and token files."""

import io
import json
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from data_samples import CBT, LAMBADA, parquet

from drill import mutations
from drill.attempts import Attempt
from drill.data_files.kinds import part, task
from gpt2eval.data.corpus import load_corpus
from gpt2eval.data.custom import load_text
from gpt2eval.data.documents import stream_documents, training_files
from gpt2eval.data.records import Corpus
from gpt2eval.data.token_shards import SHARDS, TokenShard, read_shard
from gpt2eval.text.passages import is_title

WORDS = b"the lamp stood there , and Mr. Kim did n't see `` a bed '' on the <unk> floor of N rooms"
PTB = b"".join(b" " + b" ".join(WORDS.split()[n : n + 9]) + b" \n" for n in range(9))
ARTICLE = b" \n = Homarus = \n \n It is <unk> in pots @-@ deep . \n \n = = Size = = \n \n Long . \n"
JSON_LINES = b"".join(
    json.dumps({"text": f"Document {n} has\nlines.", "meta": {"url": f"u{n}"}}).encode() + b"\n"
    for n in range(5)
)
LM1B = b"".join(b" ".join(WORDS.split()[n:]) + b"\n" for n in range(8))
PUBLISHED = {
    "ptb": PTB,
    "wikitext2": ARTICLE * 2,
    "wikitext103": ARTICLE * 3,
    "text8": WORDS.translate(None, b"`',.<>") * 4,
    "enwik8": b"<page>\n  <title>\xc3\x84</title>\n" + WORDS + b"\n</page>\n",
    "lm1b": LM1B,
    "lambada": LAMBADA.encode() * 3,
    "cbt_cn": CBT.encode() * 2,
    "webtext": JSON_LINES,
    "ptb/sedd": PTB,
    "wikitext2/lm_eval": ARTICLE * 2,
}
LARGEST_SHARE = 400  # tokens of a shard that are read


def _mutant(content: bytes, random: Random) -> bytes:
    return mutations.of_bytes(content, random, [*PUBLISHED.values()])


# -- published forms -------------------------------------------------------------------------------


def _reader(name: str) -> Callable[[Path], object]:
    return lambda path: load_corpus(task(name), path)


def _corpus_problem(name: str) -> Callable[[Path, Any], str | None]:
    """Return the judge that counts an accepted file in a way of its own."""

    def judge(path: Path, corpus: Corpus) -> str | None:
        content = path.read_bytes()
        if corpus.published:
            return "a mutant counts as published"
        if "(restored: " in corpus.origin:
            return None  # the result and a notice say so
        if corpus.sha256 != sha256(content).hexdigest():
            return "the checksum is not the file's"
        expected = COUNTS[task(name).format](content)
        found = (len(corpus.records), corpus.units.words)
        return None if found == expected else f"{found} records and words, expected {expected}"

    return judge


def _words(content: bytes) -> int:
    return len(content.decode("utf-8", "surrogateescape").split())


def _lines(content: bytes) -> list[bytes]:
    return content.removesuffix(b"\n").split(b"\n")


def _of_stream(content: bytes) -> tuple[int, int]:
    return 1, _words(content)


def _of_lines(content: bytes) -> tuple[int, int]:
    return len(_lines(content)), _words(content)


def _of_json_lines(content: bytes) -> tuple[int, int]:
    texts = [_json_or_text(line) for line in _lines(content)]
    return len(texts), sum(len(text.split()) for text in texts)


def _json_or_text(line: bytes) -> str:
    return json.loads(line)["text"] if line.lstrip().startswith(b"{") else line.decode()


def _of_cbt(content: bytes) -> tuple[int, int]:
    """Count the numbers of a question's lines as no words, and its answer in place of its blank."""
    lines = [line for line in content.decode().split("\n") if line]
    questions = [line for line in lines if line.startswith("21 ")]
    texts = [line.partition("\t")[0] if line in questions else line for line in lines]
    return len(questions), sum(len(text.partition(" ")[2].split()) for text in texts)


def _of_pages(content: bytes) -> tuple[int, int]:
    """Count the pieces between headings; a blank one before another piece is none."""
    pieces = [""]
    for line in content.decode().split("\n"):
        if is_title(line):
            pieces.append("")
        pieces[-1] += f"{line}\n"
    return len([piece for piece in pieces[:-1] if piece.strip()]) + 1, _words(content)


COUNTS: dict[str, Callable[[bytes], tuple[int, int]]] = {
    "stream": _of_stream,
    "lines": _of_lines,
    "rows": _of_lines,
    "pages": _of_pages,
    "documents": _of_json_lines,
    "lambada": _of_json_lines,
    "cbt": _of_cbt,
}


def _published(name: str) -> Attempt:
    return Attempt(
        f"{name.replace('/', '-')}.txt",
        lambda random: _mutant(PUBLISHED[name], random),
        _reader(name),
        _corpus_problem(name),
    )


# -- your own texts --------------------------------------------------------------------------------


def _text_problem(path: Path, read: Any) -> str | None:
    """Say which documents of an accepted JSON lines file Python's reader does not find."""
    texts = [json.loads(line)["text"] for line in _lines(path.read_bytes())]
    return None if [record.text for record in read.records] == texts else "other documents"


def _plain_problem(path: Path, read: Any) -> str | None:
    text = path.read_bytes().decode("utf-8")
    return None if [record.text for record in read.records] == [text] else "another text"


def _train(path: Path) -> list[str]:
    return ["".join(document) for file in training_files([path]) for document in
            stream_documents(file)]  # fmt: skip


def _train_problem(path: Path, read: Any) -> str | None:
    lines = [line for line in path.read_bytes().split(b"\n") if line.strip()]
    texts = [json.loads(line.decode("utf-8", "replace"))["text"] for line in lines]
    return None if read == texts else "other documents"


@cache
def _tables() -> tuple[bytes, ...]:
    import pyarrow as pa
    from pyarrow import parquet as pq

    rows = [{"text": f"Document {n} has words", "site": "ab"[n % 2]} for n in range(40)]
    files = [parquet(rows)]
    for compression, by_dictionary in (("zstd", True), ("none", False)):
        file = io.BytesIO()
        table = pa.Table.from_pylist(rows)
        pq.write_table(
            table,
            file,
            compression=compression,
            use_dictionary=by_dictionary,
            write_page_checksum=True,
        )
        files.append(file.getvalue())
    return tuple(files)


def _table_problem(path: Path, read: Any) -> str | None:
    """Say whether an accepted table has another number of rows than it declares."""
    from pyarrow.parquet import ParquetFile

    rows = ParquetFile(path).metadata.num_rows
    return None if len(read.records) == rows else f"{len(read.records)} records of {rows} rows"


# -- token files -----------------------------------------------------------------------------------


@cache
def _shards() -> tuple[bytes, ...]:
    shards = []
    for (magic, version), dtype in SHARDS.items():
        header = np.zeros(256, "<i4")
        header[:3] = [magic, version, 300]
        shards.append(header.tobytes() + np.arange(300).astype(dtype).tobytes())
    return tuple(shards)


def _shard_problem(path: Path, read: Any) -> str | None:
    assert isinstance(read, TokenShard)
    content = path.read_bytes()
    size = 2 if read.form.startswith("uint16") else 4
    body = content[1024:] if "shard" in read.form else content
    ids = np.frombuffer(body, f"<u{size}")
    if len(ids) != read.held or not np.array_equal(ids[:LARGEST_SHARE], read.ids):
        return "other tokens than the file's"
    return None


STREAMS = ("ptb", "wikitext2", "wikitext103", "text8", "enwik8")

PARTS = (
    part("text of one stream", [_published(name) for name in STREAMS]),
    *(
        part(f"{kind} file", [_published(name)])
        for kind, name in (
            ("lines", "lm1b"),
            ("rows", "ptb/sedd"),
            ("pages", "wikitext2/lm_eval"),
            ("lambada", "lambada"),
            ("cbt", "cbt_cn"),
            ("documents", "webtext"),
        )
    ),
    part(
        "own text",
        [
            Attempt(
                "mine.txt",
                lambda random: _mutant(LM1B, random),
                lambda path: load_text(path).read(),
                _plain_problem,
            )
        ],
    ),
    part(
        "jsonl",
        [
            Attempt(
                "mine.jsonl",
                lambda random: _mutant(JSON_LINES, random),
                lambda path: load_text(f"{path}:text").read(),
                _text_problem,
            ),
            Attempt(
                "train.jsonl",
                lambda random: _mutant(JSON_LINES, random),
                _train,
                _train_problem,
            ),
        ],
    ),
    part(
        "parquet",
        [
            Attempt(
                "mine.parquet",
                lambda random: mutations.of_bytes(random.choice(_tables()), random),
                lambda path: load_text(f"{path}:text").read(),
                _table_problem,
            ),
            Attempt(
                "grouped.parquet",
                lambda random: mutations.of_bytes(random.choice(_tables()), random),
                lambda path: load_text(f"{path}:text", group="site").read(),
                _table_problem,
            ),
        ],
    ),
    part(
        "token shard",
        [
            Attempt(
                name,
                lambda random: mutations.of_bytes(random.choice(_shards()), random),
                lambda path, kind=kind: read_shard(f"{kind}{path}", LARGEST_SHARE),
                _shard_problem,
            )
            for name, kind in (("shard.bin", ""), ("u16.bin", "uint16:"), ("u32.bin", "uint32:"))
        ],
    ),
)
