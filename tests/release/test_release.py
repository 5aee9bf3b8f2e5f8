"""The files of a release agree on its version, its date and its dependencies."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpt2eval import __version__
from gpt2eval.cli.citation import RELEASED

ROOT = Path(__file__).parents[2]
EXTRAS_TESTED_LOWEST = ("large", "peft", "gguf", "tensorboard")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def project() -> dict[str, Any]:
    return tomllib.loads(read("pyproject.toml"))


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(name: str) -> dict[str, str]:
    lines = (line.partition("==") for line in read(name).splitlines() if "==" in line)
    return {canonical(package): version for package, _, version in lines}


def floors() -> dict[str, str]:
    extras = project()["project"]["optional-dependencies"]
    listed = [*project()["project"]["dependencies"]]
    for extra in EXTRAS_TESTED_LOWEST:
        listed += extras[extra]
    parts = (line.partition(">=") for line in listed)
    return {canonical(package): version for package, _, version in parts}


def test_version_and_date_are_the_same_everywhere() -> None:
    facts = yaml.safe_load(read("CITATION.cff"))
    assert facts["version"] == __version__
    assert str(facts["date-released"]) == RELEASED
    assert f"## {__version__} ({RELEASED})" in read("CHANGELOG.md").splitlines()


@pytest.mark.parametrize("package", sorted(floors().keys() - {"torch"}))
def test_the_lowest_constraints_are_the_floors(package: str) -> None:
    wanted = floors()[package].split(".")
    lowest = pins("constraints-lowest.txt")[package].split(".")
    assert lowest[: len(wanted)] == wanted, "pyproject.toml and constraints-lowest.txt differ"


def test_every_dependency_has_a_pin() -> None:
    for name in ("constraints.txt", "constraints-lowest.txt"):
        assert floors().keys() <= pins(name).keys(), name


def test_the_extra_all_has_every_extra_for_users() -> None:
    extras = project()["project"]["optional-dependencies"]
    (combined,) = extras["all"]
    named = combined.removeprefix("gpt2eval[").removesuffix("]").split(",")
    assert set(named) == extras.keys() - {"all", "dev", "docs"}


def test_the_image_is_built_from_files_that_exist() -> None:
    """The Dockerfile copies what .dockerignore lets through."""
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", read("Dockerfile"), re.MULTILINE)
    copied = {name for line in copies for name in line.split()}
    let_through = {line[1:] for line in read(".dockerignore").splitlines() if line[:1] == "!"}
    assert copied == let_through
    assert all((ROOT / name).exists() for name in copied)


def test_the_floors_with_a_reason_are_those_of_the_page() -> None:
    """The page of reasons states the floors of pyproject.toml."""
    page = read("docs/explanation/compatibility.md")
    rows = re.findall(r"^\| ([a-z_, ]+) \| ([0-9., ]+) \|", page, re.MULTILINE)
    stated = {
        canonical(name): version
        for names, versions in rows
        for name, version in zip(names.split(", "), versions.split(", "), strict=True)
    }
    assert len(stated) > 5
    assert stated.items() <= floors().items()
