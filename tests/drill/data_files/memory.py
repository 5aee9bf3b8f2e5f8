"""What is remembered of a model: its facts, and the tokenizer beside them."""

import json
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from drill import mutations
from drill.attempts import Attempt
from drill.data_files.journals import notices
from drill.data_files.kinds import part
from gpt2eval.errors import UsageError
from gpt2eval.identity import ModelIdentity, Sizes
from gpt2eval.models.memory.facts import Facts, read_facts, write_facts

SOURCES = {"others": "ab" * 32, "weights": "cd" * 32}
FACTS = Facts(
    identity=ModelIdentity("nanogpt:run", "1f2e3d4c", "12345678", "float32", "packed", "cpu"),
    context=256,
    sizes=Sizes(2, 32, 65, 24576, 30000),
    start=0,
    added=None,
    end=0,
    specials=(0,),
    fingerprint="12345678",
    capabilities=("greedy",),
    encoder="Characters",
    text=json.dumps({chr(97 + number): number for number in range(26)}),
)


@cache
def _written() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        write_facts(Path(folder) / "model.json", FACTS, SOURCES)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def _tokenizer() -> str:
    return next(name for name in _written() if name.startswith("tokenizer-"))


def _mutant(name: str, random: Random) -> bytes:
    """Return a mutant of a file, or a changed file whose checksum is right again."""
    content = _written()[name]
    if name != "model.json":
        return mutations.of_bytes(content, random, [*_written().values()])
    return mutations.of_json(content, random)


def _read(path: Path) -> object:
    """Read the facts; a file that is ignored with a notice is as good as refused."""
    for name, content in _written().items():
        if name != path.name:
            (path.parent / name).write_bytes(content)
    with notices() as lines:
        found = read_facts(path.parent / "model.json", SOURCES.items)
    if found is None:
        raise UsageError("; ".join(lines))
    return found[0]


def _problem(path: Path, read: Any) -> str | None:
    return None if read == FACTS else "other facts than those that were written"


PARTS = (
    part(
        "memory of a model",
        lambda: [
            Attempt(
                name,
                lambda random, name=name: _mutant(name, random),
                _read,
                _problem,
                ("model.json",),
            )
            for name in ("model.json", _tokenizer())
        ],
    ),
)
