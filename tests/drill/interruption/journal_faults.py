"""One flipped bit in what a run keeps: a chunk's file, a result, every file of the folder."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from random import Random

from drill.interruption.commands import Ended, forked
from drill.interruption.flips import chosen_bits, flip, flipped, notices
from drill.interruption.judged import OUT, Scenario, contents, difference
from drill.interruption.runs import RUN, TOY, small_chunks
from drill.interruption.small_models import save_small_model, weights
from drill.part import Findings
from gpt2eval.errors import UsageError
from gpt2eval.report.result_file import read_result
from gpt2eval.scoring import journal

ONE_RECORD = ("run", "--model", "toy:unigram", "--tasks", "lambada", "--data", "demo")


def chunk_bits(cases: int, seed: int, folder: Path) -> Findings:
    """Flip each bit of a chunk's file, and read it as a resumed run does."""
    ended = forked((*ONE_RECORD, "--limit", "1", "--out", OUT), folder)
    if ended.code:
        return Findings(cases, [f"undisturbed: {ended.err!r}"])
    (header,) = (folder / OUT).rglob("journal.json")
    opened = journal.of_folder(header.parent)
    if opened is None:
        return Findings(cases, [f"{header}: unreadable"])
    path = opened.path(0)
    content = path.read_bytes()
    failures = []
    bits = chosen_bits(content, cases, Random(seed))
    for bit in bits:
        path.write_bytes(flipped(content, bit))
        with notices() as lines:
            found = opened.read(0)
        if found is not None:
            failures.append(f"bit {bit} of {path}: accepted")
        elif len(lines) != 1 or path.name not in lines[0]:
            failures.append(f"bit {bit} of {path}: notices {lines}")
        elif path.exists():
            failures.append(f"bit {bit} of {path}: the file stays")
    return Findings(max(cases, len(bits)), failures, {"bits": f"{len(bits):,}"})


def result_bits(cases: int, seed: int, folder: Path) -> Findings:
    """Flip bits of a result.json, and read it as a table does: refused, or nothing has changed."""
    ended = forked((*ONE_RECORD, "--limit", "1", "--out", OUT), folder)
    if ended.code:
        return Findings(cases, [f"undisturbed: {ended.err!r}"])
    (path,) = (folder / OUT).rglob("result.json")
    content = path.read_bytes()
    expected = read_result(path)
    failures = []
    harmless = 0
    bits = chosen_bits(content, cases, Random(seed))
    for bit in bits:
        path.write_bytes(flipped(content, bit))
        try:
            found = read_result(path)
        except UsageError as error:
            if len(str(error).splitlines()) != 1 or str(path) not in str(error):
                failures.append(f"bit {bit} of {path}: {error}")
            continue
        harmless += 1
        if found != expected:
            failures.append(f"bit {bit} of {path}: accepted")
    return Findings(max(cases, len(bits)), failures, {"without effect": f"{harmless:,}"})


def output_folder(cases: int, seed: int, folder: Path) -> Findings:
    """Flip a bit of one file of a finished run, and run the same command again."""
    save_small_model(folder / "model", weights())
    small = Scenario((*RUN, "--model", "../model"), small_chunks)
    scenarios = {"toy": TOY, "toy again": TOY, "small": small}
    random = Random(seed)
    failures = []
    for name, scenario in [*scenarios.items()][:cases]:
        ended = forked(scenario.arguments, folder / name, None, scenario.prepare)
        if ended.code:
            return Findings(cases, [f"{name}: undisturbed: {ended.err[-600:]!r}"])
    for number in range(cases):
        name = [*scenarios][number % len(scenarios)]
        place = folder / str(number)
        shutil.copytree(folder / name, place)
        expected = contents(place / OUT)
        path = place / OUT / [*expected][number // len(scenarios) % len(expected)]
        changed = flip(path, random)
        again = forked(scenarios[name].arguments, place, None, scenarios[name].prepare)
        if problem := _unrepaired(again, path, place, expected):
            failures.append(f"case {number}, {name}, {changed}: {problem} {path}")
        else:
            shutil.rmtree(place)
    return Findings(cases, failures)


def _unrepaired(ended: Ended, path: Path, place: Path, expected: Mapping[str, bytes]) -> str | None:
    """Return what a damaged file led to, other than the undisturbed result; None if nothing."""
    lines = [line for line in ended.err.splitlines() if line.startswith("gpt2eval: ")]
    if ended.code or "Traceback" in ended.err:
        return f"exit code {ended.code}: {ended.err[-600:]!r}"
    is_noticed = "journal" in path.parts and path.suffix == ".safetensors"
    if is_noticed and [line for line in lines if path.name in line] != lines[:1]:
        return f"expected one notice: {lines}"
    if len(lines) > 1:
        return f"more than one notice: {lines}"
    return difference(contents(place / OUT), expected)
