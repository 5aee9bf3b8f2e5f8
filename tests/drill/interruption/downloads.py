"""Kills of `gpt2eval data fetch` from a slow server that drops connections."""

import io
import time
import zipfile
from hashlib import sha256
from pathlib import Path
from random import Random

import yaml
from doubles import Fault, Handler, StandIn

from drill.interruption.judged import OUT, Scenario, drill
from drill.part import Findings

MEMBER = "book/book.txt"
LINES = 3000
BYTES = 300_000  # about as many in the file
PIECE = 32_768  # bytes that the server sends at once
TASK = {
    "title": "Mine",
    "citation": "me",
    "licence": "CC0",
    "version": 1,
    "format": "stream",
    "ask": "everything",
    "unit": "byte",
    "metrics": ["bpb"],
}


def fetch(cases: int, seed: int, folder: Path) -> Findings:
    """Kill and resume downloads of an archive, and of a file without a published hash."""
    random = Random(seed)
    text = "".join(f"Line {n} says {random.randbytes(40).hex()}.\n" for n in range(LINES))
    server = StandIn()
    server.files["book.zip"] = zipped(text)
    server.files["plain.txt"] = text.encode()
    published = {"name": "book.txt", "sha256": sha256(text.encode()).hexdigest()}
    url = f"{server.url}/files"
    archive = {"url": f"{url}/book.zip", "member": MEMBER}
    archive["sha256"] = sha256(server.files["book.zip"]).hexdigest()
    define(folder, "archived", {"archive": archive, "file": published})
    define(folder, "plain", {"archive": {"url": f"{url}/plain.txt"}, "file": {"name": "plain.txt"}})

    def be_slow() -> None:
        server.faults.clear()
        server.fail("/files/", cut_slowly(BYTES // 2))
        server.fail("/files/", cut_slowly(BYTES))

    arguments = ("data", "fetch", "--include", "../own", "--cache", OUT)
    scenarios = {
        name: Scenario((*arguments, name), wait_briefly, be_slow) for name in ("archived", "plain")
    }
    try:
        return drill(scenarios, cases, seed, folder)
    finally:
        server.close()


def zipped(text: str) -> bytes:
    """Return an archive with the book, which no compression makes smaller."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(MEMBER), text)
    return file.getvalue()


def define(folder: Path, name: str, source: dict[str, object]) -> None:
    """Define a task with a source."""
    path = folder / "own/tasks" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(TASK | {"source": source}))


def cut_slowly(after: int) -> Fault:
    """Send a number of the requested bytes in pieces, and hang up."""

    def fault(handler: Handler, content: bytes, head: bool) -> bool:
        start = handler.range_start()
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(content) - start))
        handler.end_headers()
        for place in range(start, min(start + after, len(content)), PIECE):
            handler.wfile.write(content[place : min(place + PIECE, start + after)])
            handler.wfile.flush()
            time.sleep(0.001)
        handler.close_connection = True
        handler.connection.close()
        return True

    return fault


def wait_briefly() -> None:
    """Shorten the waits between attempts, and allow downloads."""
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = False
    sleep = time.sleep
    time.sleep = lambda seconds, /: sleep(min(float(seconds), 0.01))
