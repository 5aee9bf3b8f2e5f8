"""Stand-ins for the Hub and publishers' servers, with faults, and a command line that uses them."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import PIPE, Popen
from threading import Thread
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

# Returns whether it responded, or None if it does not apply to this request.
Fault = Callable[["Handler", bytes, bool], bool | None]


@dataclass
class Repository:
    """A data set: the files of each commit, and the commit of each branch."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def push(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Commit complete contents, and move a branch to the commit."""
        commit = sha1(repr((sorted(files.items()), branch, len(self.commits))).encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.branches[branch] = commit
        return commit

    def add(self, files: Mapping[str, bytes]) -> str:
        """Commit the contents of the branch `main` with some files added or replaced."""
        current = self.commits.get(self.branches.get("main", ""), {})
        return self.push(current | dict(files))


class StandIn:
    """Repositories by id, and plain files below `/files/`.

    A fault applies to the next request whose path contains its text.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.files: dict[str, bytes] = {}
        self.faults: list[tuple[str, Fault]] = []
        self.requests: list[tuple[str, str, str]] = []  # method, path, Range
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Bound", (Handler,), {"stand": self})
        )
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def repository(self, name: str) -> Repository:
        return self.repositories.setdefault(name, Repository())

    def fail(self, path_part: str, fault: Fault, times: int = 1) -> None:
        self.faults += [(path_part, fault)] * times

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Handler(BaseHTTPRequestHandler):
    """The Hub's endpoints (information, trees, files with ranges), and plain files."""

    protocol_version = "HTTP/1.1"
    stand: StandIn

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(head=True)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer()

    def _answer(self, *, head: bool = False) -> None:
        path = unquote(urlsplit(self.path).path)
        self.stand.requests.append((self.command, path, self.headers.get("Range", "")))
        with suppress(BrokenPipeError, ConnectionResetError):
            if path.startswith("/files/"):
                content = self.stand.files.get(path.removeprefix("/files/"))
                return (
                    self._file(path, content, {}, head)
                    if content is not None
                    else self.respond(404)
                )
            return self._hub(path.strip("/").split("/"), path, head)

    def _hub(self, parts: list[str], path: str, head: bool) -> None:
        api = parts[:2] == ["api", "datasets"]
        parts = parts[2:] if api else parts[1:]
        name = "/".join(parts[:2])
        verb_and_path = parts[2:] or ["revision", "main"]
        repository = self.stand.repositories.get(name)
        if verb_and_path[0] != "resolve" and self._fault(path, b"", head):
            return None
        if repository is None:
            return self.respond(
                404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
            )
        verb, *branch_and_path = verb_and_path
        branch = next(
            (
                b
                for b in sorted(repository.branches, key=len, reverse=True)
                if branch_and_path[: b.count("/") + 1] == b.split("/")
            ),
            "",
        )
        first = branch_and_path[0] if branch_and_path else ""
        commit = repository.branches.get(branch, first)
        if commit not in repository.commits:
            return self.respond(
                404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"}
            )
        files = repository.commits[commit]
        file_path = "/".join(branch_and_path[branch.count("/") + 1 :])
        if verb == "resolve":
            if file_path not in files:
                missing = {
                    "X-Error-Code": "EntryNotFound",
                    "X-Error-Message": "Entry not found",
                    "X-Repo-Commit": commit,
                }
                return self.respond(404, missing)
            content = files[file_path]
            headers = {"X-Repo-Commit": commit, "ETag": f'"{sha256(content).hexdigest()}"'}
            return self._file(path, content, headers, head)
        if verb == "revision":
            listed = [{"rfilename": file} for file in files]
            return self.respond_json(
                {
                    "id": name,
                    "sha": commit,
                    "siblings": listed,
                    "private": False,
                    "gated": False,
                    "tags": [],
                }
            )
        if verb in ("tree", "paths-info"):
            below = {
                file: content
                for file, content in files.items()
                if f"{file}/".startswith(f"{file_path}/" if file_path else "")
            }
            if verb == "tree" and not below:
                return self.respond(
                    404, {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
                )
            folders = {
                folder
                for file in below
                for folder in map(str, Path(file).parents)
                if folder not in (".", file_path)
            }
            entries = [
                {"type": "directory", "oid": sha1(f.encode()).hexdigest(), "size": 0, "path": f}
                for f in sorted(folders)
            ]
            entries += [
                {"type": "file", "oid": sha1(c).hexdigest(), "size": len(c), "path": f}
                for f, c in below.items()
            ]
            return self.respond_json(entries)
        return self.respond(404)

    def _fault(self, path: str, content: bytes, head: bool) -> bool:
        for path_part, fault in list(self.stand.faults):
            if path_part in path:
                self.stand.faults.remove((path_part, fault))
                if (responded := fault(self, content, head)) is not None:
                    return responded
                self.stand.faults.insert(0, (path_part, fault))
        return False

    def _file(self, path: str, content: bytes, headers: Mapping[str, str], head: bool) -> None:
        if self._fault(path, content, head):
            return None
        start = self.range_start()
        if start >= len(content) > 0:
            return self.respond(416)
        end = min(self.range_end() + 1, len(content))
        is_part = start > 0 or end < len(content)
        self.send_response(206 if is_part else 200)
        for key, value in {
            **headers,
            "Content-Length": str(end - start),
            "Accept-Ranges": "bytes",
        }.items():
            self.send_header(key, value)
        if is_part:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        self.end_headers()
        if not head:
            self.wfile.write(content[start:end])
        return None

    def range_start(self) -> int:
        """Return the first requested byte."""
        byte_range = self.headers.get("Range", "bytes=0-")
        return int(byte_range.removeprefix("bytes=").partition("-")[0])

    def range_end(self) -> int:
        """Return the last requested byte, by default that of any file."""
        last = self.headers.get("Range", "").partition("-")[2]
        return int(last) if last else sys.maxsize - 1

    def respond(
        self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> None:
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def respond_json(self, content: object) -> None:
        self.respond(200, {"Content-Type": "application/json"}, json.dumps(content).encode())


def status(code: int, headers: Mapping[str, str] | None = None) -> Fault:
    """Respond with a status."""

    def fault(handler: Handler, content: bytes, head: bool) -> bool:
        handler.respond(code, headers)
        return True

    return fault


def cut(after: int, *, ranges: bool = True) -> Fault:
    """Send some bytes of the requested content, and hang up; `ranges`: honour a range request."""

    def fault(handler: Handler, content: bytes, head: bool) -> bool | None:
        if head or not content:
            return None
        start = handler.range_start() if ranges else 0
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(content) - start))
        handler.end_headers()
        handler.wfile.write(content[start : start + after])
        handler.wfile.flush()
        handler.connection.close()
        handler.close_connection = True
        return True

    return fault


def slow(seconds: float) -> Fault:
    """Wait for a while, then respond as usual."""

    def fault(handler: Handler, content: bytes, head: bool) -> bool:
        time.sleep(seconds)
        return False

    return fault


class Done(NamedTuple):
    """The exit status and output of a command."""

    code: int
    out: str
    err: str


DRIVER = """
import json, os, sys, io, time
import datasets, huggingface_hub, pyarrow.parquet
import datasets.packaged_modules.parquet.parquet
from gpt2eval import pipeline
from gpt2eval.cli import main as cli
from gpt2eval.data import manage
from contextlib import redirect_stdout, redirect_stderr
huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 1 << 12
sleep = time.sleep
time.sleep = lambda seconds: sleep(min(seconds, 0.02))  # shortens the waits between retries
for line in sys.stdin:
    argv, offline = json.loads(line)
    read, write = os.pipe()
    if not (child := os.fork()):
        huggingface_hub.constants.HF_HUB_OFFLINE = offline
        out, err, code = io.StringIO(), io.StringIO(), 0
        sys.argv = ["gpt2eval", *argv]
        with redirect_stdout(out), redirect_stderr(err):
            try:
                cli.main()
            except SystemExit as end:
                code = end.code or 0
            except BaseException:
                import traceback
                code = 1
                traceback.print_exc()
        with os.fdopen(write, "w") as pipe:
            json.dump([code, out.getvalue(), err.getvalue()], pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        print(pipe.read(), flush=True)
    os.waitpid(child, 0)
"""


class CommandLine:
    """`gpt2eval` with HF_ENDPOINT set: a process with all imports done, forked per command."""

    def __init__(self, endpoint: str, home: Path) -> None:
        environment = os.environ | {
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(home / "hf"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "HF_HUB_DOWNLOAD_TIMEOUT": "1",
            "HF_HUB_ETAG_TIMEOUT": "1",
            "OMP_NUM_THREADS": "1",
        }
        self._process = Popen(
            [sys.executable, "-c", DRIVER], stdin=PIPE, stdout=PIPE, env=environment, text=True
        )

    def __call__(self, *arguments: object, offline: bool = False) -> Done:
        assert self._process.stdin
        assert self._process.stdout
        print(
            json.dumps([list(map(str, arguments)), offline]), file=self._process.stdin, flush=True
        )
        return Done(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
