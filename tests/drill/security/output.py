"""Hostile names and links: no table, page or terminal obeys a name, no write follows a link."""

import csv
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

from drill.part import Findings
from drill.security.commands import gpt2eval
from gpt2eval.files import host
from gpt2eval.report.escape import FORMULA

NAMES = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "=cmd|' /C calc'!A0",
    "@SUM(A1)",
    "a|b",
    "\\input{/etc/passwd}",
    "../../../canary",
    "/tmp/canary-of-the-drill",
    "a/../../b",
    "CON",
    "a" * 300,
    "\u202egnp.exe",
)
FORMATS = ("markdown", "csv", "latex", "json")
UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028]")


def run_output(cases: int, seed: int, folder: Path) -> Findings:
    """Name a model in a hostile way, or plant links, then look at every output."""
    failures: list[str] = []
    for number in range(cases):
        own = folder / str(number) / "own"
        own.mkdir(parents=True)
        name = NAMES[number // 2 % len(NAMES)]
        found = _linked(own) if number % 2 else _named(own, name)
        failures += [f"case {number}: {problem}" for problem in found]
    return Findings(cases, failures)


def _command(out: Path, *more: str) -> tuple[str | Path, ...]:
    data = ("--tasks", "text8", "--data", "demo", "--limit", "1")
    return ("run", "--model", "toy:uniform-bytes", *data, "--out", out, *more)


def _named(own: Path, name: str) -> Iterator[str]:
    out = own / "out"
    ended = gpt2eval(*_command(out, "--name", name))
    if ended.code not in (0, 2) or UNSEEN.search(ended.out + ended.err.replace("\n", "")):
        yield f"{name!r:.40}: run ended with {ended.code}: {ended.err!r:.200}"
    if {path.name for path in own.iterdir()} - {"out"} or {*own.parent.iterdir()} - {own}:
        yield f"{name!r:.40}: wrote outside --out"
    if ended.code == 2:
        return
    for form in FORMATS:
        table = gpt2eval("table", out, "--format", form)
        if table.code or UNSEEN.search(table.out):
            yield f"{name!r:.40}: table as {form}: {table.err!r:.200}"
        if form == "markdown" and re.search("<script|<img", table.out):
            yield f"{name!r:.40}: a tag in {form}"
        cells = [cell for row in csv.reader(io.StringIO(table.out)) for cell in row]
        if form == "csv" and any(cell.lstrip().startswith(FORMULA) for cell in cells):
            yield f"{name!r:.40}: a formula in {form}"
    page = own / "page.html"
    report = gpt2eval("report", out, "--html", page)
    if report.code or not page.exists():
        yield f"{name!r:.40}: report: {report.err!r:.200}"
    elif re.search("<script>alert|<img src=x", page.read_text("utf-8")):
        yield f"{name!r:.40}: a tag in the page"


def _linked(own: Path) -> Iterator[str]:
    """Put links in the places of results and of temporary files."""
    out, victim = own / "out", own / "victim"
    victim.write_text("mine")
    if gpt2eval(*_command(out)).code:
        yield "the first run failed"
    for path in [path for path in out.rglob("*") if path.is_file()]:
        path.unlink()
        path.symlink_to(victim)
        temporary = path.parent / f".{path.name}.{os.getpid()}@{host()}.tmp"
        temporary.symlink_to(own / "dangling")
    ended = gpt2eval(*_command(out))
    if ended.code not in (0, 2):
        yield f"exit {ended.code}: {ended.err!r:.200}"
    if victim.read_text() != "mine" or (own / "dangling").exists():
        yield "a write followed a link"
