"""The sets of documents on the Hub: each in the layout of its repository."""

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from data_samples import parquet
from doubles import Done, StandIn

from gpt2eval.config.loader import load_task
from gpt2eval.data.cache import Cache

pytest_plugins = ["data_fixtures"]

ARTICLES = ["the fermi surface @xmath0 .\nwe measure it .", "", "caf\u00e9"]
# The files of each set, by the names in its repository, with the columns that its rows have.
FILES: Mapping[str, tuple[str, str, list[str]]] = {
    "ag_news": ("fancyzhx/ag_news", "main", ["data/{split}-00000-of-00001.parquet"]),
    "pubmed": ("armanc/scientific_papers", "refs/convert/parquet", ["pubmed/{split}/0000.parquet"]),
    "arxiv": (
        "armanc/scientific_papers",
        "refs/convert/parquet",
        ["arxiv/partial-{split}/0000.parquet", "pubmed/{split}/0000.parquet"],
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_the_articles_of_one_split_are_the_documents(
    hub: StandIn, run: Callable[..., Done], tmp_path: Path, name: str
) -> None:
    source = load_task(name).source
    assert source.hub
    repository, branch, layouts = FILES[name]
    column = source.hub.column or ""
    files: dict[str, bytes] = {}
    for number, layout in enumerate(layouts):
        for split in ("train", "validation", "test"):
            texts = ARTICLES if (number, split) == (0, source.hub.split) else [f"{layout} {split}"]
            rows = [{column: text, "label": "other column"} for text in texts]
            files[layout.format(split=split)] = parquet(rows)
    hub.repository(repository).push(files, branch)
    done = run("data", "fetch", name)
    assert done.code == 0, done.err
    cached = Cache.at(tmp_path / "cache").get(source)
    assert cached
    documents = [json.loads(line)["text"] for line in cached.content.decode().splitlines()]
    assert documents == ARTICLES


def test_the_publishers_file_may_be_compressed(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any], tmp_path: Path
) -> None:
    lines = "".join(json.dumps({"text": text, "url": "u"}) + "\n" for text in ARTICLES)
    hub.files["part.json.gz"] = gzip.compress(lines.encode())
    archive = {"url": f"{hub.url}/files/part.json.gz"}
    source = {"archive": archive, "file": {"name": "part.json"}}
    include = define_task(source, format="documents", unit="token")
    done = run("data", "fetch", "mine", *include)
    assert done.code == 0, done.err
    (path,) = (tmp_path / "cache" / "files").rglob("part.json")
    assert path.read_text() == lines
    assert not list((tmp_path / "cache" / "archives").glob("part*"))


def test_a_corrupt_compression_is_discarded(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any], tmp_path: Path
) -> None:
    hub.files["part.json.gz"] = gzip.compress(b'{"text": "a"}\n' * 1000)[:-20]
    archive = {"url": f"{hub.url}/files/part.json.gz"}
    source = {"archive": archive, "file": {"name": "part.json"}}
    done = run("data", "fetch", "mine", *define_task(source, format="documents", unit="token"))
    assert done.code == 2
    assert "truncated or corrupt?" in done.err
    assert not list((tmp_path / "cache" / "archives").glob("part*"))
