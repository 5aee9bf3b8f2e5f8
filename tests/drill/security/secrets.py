"""Secrets in the environment and in arguments: no command prints or writes them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drill.part import Findings
from drill.security.commands import gpt2eval

CANARY = "canary-7f3a9c-of-the-drill"
ENVIRONMENT = {
    "HF_TOKEN": f"{CANARY}-1",
    "OPENAI_API_KEY": f"{CANARY}-2",
    "AWS_SECRET_ACCESS_KEY": f"{CANARY}-3",
    "HTTPS_PROXY": f"http://me:{CANARY}-4@127.0.0.1:9",
    "GPT2EVAL_TRACEBACK": "1",
    "HF_HUB_OFFLINE": "1",
}
API = f"api:http://me:{CANARY}-5@127.0.0.1:9/v1?api_key={CANARY}-6#m"
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("run", "--model", "toy:unigram", "--tasks", "text8", "--data", "demo", "--limit", "1", "-v"),
    ("run", "--model", API, "--tasks", "text8", "--data", "demo", "--limit", "1", "--traceback"),
    ("ls",),
    ("show", "text8", "--data", "demo"),
    ("check", "text8", "--data", "demo"),
    ("data", "fetch", "ptb", "--mirror", f"http://me:{CANARY}-7@127.0.0.1:9", "--cache", "cache"),
    ("table", "out"),
    ("table", "out", "--format", "json"),
    ("report", "out", "--html", "page.html"),
    ("rerun", f"task:ptb|model:{API}"),
    ("run", "--model", f"no/such:{ENVIRONMENT['HF_TOKEN']}", "--tasks", "text8"),
    ("data", "ls", "--cache", "cache"),
)


def run_secrets(cases: int, seed: int, folder: Path) -> Findings:
    """Run commands in a folder of their own, and search all that they leave for the canaries."""
    failures: list[str] = []
    with _surroundings(folder):
        for number in range(cases):
            command = list(COMMANDS[number % len(COMMANDS)])
            if command[0] == "run":
                command += ["--out", "out"]
            ended = gpt2eval(*command)
            if CANARY in ended.out + ended.err:
                failures.append(f"case {number}: {command[0]} prints a secret")
    for path in folder.rglob("*"):
        if CANARY in str(path) or (path.is_file() and CANARY.encode() in path.read_bytes()):
            failures.append(f"{path.relative_to(folder)} holds a secret")
    return Findings(cases, failures)


@contextmanager
def _surroundings(folder: Path) -> Iterator[None]:
    """Work in a folder, with secrets in the environment."""
    place, before = Path.cwd(), dict(os.environ)
    os.chdir(folder)
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        os.chdir(place)
        os.environ.clear()
        os.environ.update(before)
