"""Small published files, and sources of them on the stand-in servers."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import pyarrow
import pyarrow.parquet
from doubles import Done, StandIn

WIKITEXT = " \n = Homarus <unk> = \n \n It is caught in lobster pots . \n"
PTB = " no it was n't black monday \n but while the <unk> fell N points \n"
LAMBADA = (
    '{"text": "\\u201cWait,\\u201d he said.\\n\\nShe did not wait"}\n'
    '{"text": "A lamp, a bed and a chair"}\n'
)
QUESTION = (
    "21 He said `` the XXXXX is gone '' .\tdog\t\tcat|cow|dog|ear|fig|gem|hat|ink|jar|key\n\n"
)
CBT = "".join(f"{n} It  was day {n} .\n" for n in range(1, 21)) + QUESTION
BOOK = "".join(
    f"Line {n} has the hash {sha256(str(n).encode()).hexdigest()}.\n" for n in range(2000)
)

WIKITEXT_CARD = """---
configs:
- config_name: wikitext-103-v1
  data_files:
  - {split: test, path: wikitext-103-v1/test-*}
  - {split: train, path: wikitext-103-v1/train-*}
- config_name: wikitext-2-v1
  data_files:
  - {split: test, path: wikitext-2-v1/test-*}
  - {split: train, path: wikitext-2-v1/train-*}
dataset_info:
- config_name: wikitext-2-v1
  features: [{name: text, dtype: string}]
  splits:
  - {name: test, num_bytes: 1270947, num_examples: 4358}
  - {name: train, num_bytes: 10918118, num_examples: 36718}
---
"""


def parquet(rows: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file.getvalue()


def wikitext_rows(text: str) -> list[dict[str, Any]]:
    return [{"text": "" if line == " \n" else line} for line in text.splitlines(keepends=True)]


def cbt_rows(content: str) -> list[dict[str, Any]]:
    """Return the rows that the Hub's script made from the published file."""
    rows = []
    for block in content.split("\n\n")[:-1]:
        *sentences, question = (line.partition(" ")[2] for line in block.split("\n"))
        query, answer, _, options = question.split("\t")
        rows.append(
            {
                "sentences": sentences,
                "question": query,
                "answer": answer,
                "options": options.split("|"),
            }
        )
    return rows


CBT_CARD = "---\nconfigs:\n" + "".join(
    f"- config_name: {config}\n  data_files:\n"
    + "".join(
        f"  - {{split: {split}, path: {config}/{split}-*}}\n"
        for split in ("train", "validation", "test")
    )
    for config in ("CN", "NE")
)
CBT_CARD += "---\n"
LAMBADA_CARD = """---
configs:
- config_name: default
  data_files: [{split: test, path: data/lambada_test_en.jsonl}]
---
"""


def hashed(content: str) -> dict[str, Any]:
    return {"name": "book.txt", "sha256": sha256(content.encode()).hexdigest()}


def on_hub(hub: StandIn, content: str = BOOK, **keys: Any) -> dict[str, Any]:
    """Push a data set `me/book` with a text, and return a source of it."""
    rows = [{"text": line} for line in content.splitlines(keepends=True)]
    hub.repository("me/book").push({"data/test-00000-of-00001.parquet": parquet(rows)})
    return {
        "hub": {"id": "me/book", "split": "test", "column": "text"} | keys,
        "file": hashed(content),
    }


def change_on_hub(hub: StandIn, text: str = "changed since\n") -> None:
    """Replace the text of the data set `me/book`."""
    rows = [{"text": text}]
    hub.repository("me/book").push({"data/test-00000-of-00001.parquet": parquet(rows)})


def on_hub_and_at_publisher(hub: StandIn) -> dict[str, Any]:
    """Push the book to the Hub and the publisher's server, and return a source of both."""
    published = at_publisher(hub, "book.zip", zipped("book/book.txt", BOOK))
    return on_hub(hub) | {"archive": published["archive"]}


def zipped(member: str, content: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("book/readme", "not this one\n")
        archive.writestr(member, content)
    return file.getvalue()


def tarred(members: Mapping[str, str | bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members.items():
            content = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def at_publisher(hub: StandIn, name: str, content: bytes, **keys: Any) -> dict[str, Any]:
    """Put an archive on the publisher's server, and return a source of it."""
    hub.files[name] = content
    archive = {
        "url": f"{hub.url}/files/{name}",
        "sha256": sha256(content).hexdigest(),
        "member": "book/book.txt",
    } | keys
    return {
        "archive": {key: value for key, value in archive.items() if value is not None},
        "file": hashed(BOOK),
    }


def refused(done: Done, *messages: str) -> str:
    """Check that a command failed with one line that contains the messages; return the line."""
    assert done.code == 2, done
    lines = [line for line in done.err.splitlines() if line.startswith("gpt2eval: ")]
    assert len(lines) == 1, done.err
    assert "Traceback" not in done.err
    for part in messages:
        assert part in lines[0]
    return lines[0]


REMEDY = ("--data mine=PATH/TO/book.txt", "gpt2eval data unpack FILE")
