"""Files that people write: tasks, suites, detokenizers, stop words and options."""

from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import yaml

from drill import mutations
from drill.attempts import Attempt
from drill.data_files.kinds import FEWER, part
from gpt2eval.cli.config_file import read_options
from gpt2eval.config.catalog import shipped
from gpt2eval.config.loader import load_filter, load_suite, load_task
from gpt2eval.text.detokenizer import Detokenizer
from gpt2eval.text.loader import load_detokenizer

TASK = b"""\
title: A task
citation: Somebody 2019, table 3
licence: CC BY 4.0
version: 1
source:
  file: {name: mine.txt, bytes: 1270947, sha256: %s}
  archive: {url: "https://example.org/mine.zip", member: mine/mine.txt, sha256: %s}
format: lines
ends: line
ask: everything
join: none
detokenizer: ptb+question
unit: word+eol
metrics: [ppl, nats_per_token]
stride: 32
expect: {records: 3761, words: 82430}
published:
  - {source: Somebody 2019, metric: ppl, rows: {small: 65.85, large: 47.33}}
variants:
  s512: {title: Other strides, stride: 512}
  raw: {detokenizer: null, note: "as published"}
""" % (b"ab" * 32, b"cd" * 32)
DETOKENIZER = rb"""
title: A scheme
version: 1
note: Quotes and contractions are apart.
options: {question: also join question marks}
do:
  - {glue: '\w( )n''t\b'}
  - {swap: '`` ', by: '"'}
  - {glue: '( )[.,;]', option: question}
undo:
  - {swap: '(?<=\w)n''t\b', by: " n't"}
  - {swap: '"(?=\w)', by: '`` '}
  - {swap: '(?<=\w)(?=[.,;])', by: ' ', option: question}
examples:
  - {published: "he does n't .", detokenized: "he doesn't .", options: []}
"""
STEPS = rb"""
title: One way
version: 2
invertible: false
steps:
  - {swap: ' ([.,!?])', by: '\1'}
  - {swap: '\s+', by: ' '}
"""
LINE = " He said `` it does n't work . 'I see , '' she said ."
OPTIONS = b"""\
tasks: [wikitext2, ptb/s32]
data: {ptb: ptb.test.txt}
out: results
stride: 32
context: 1024
batch-size: 8
limit: 100
device: cpu
strict-data: true
"""


def mutated_yaml(content: bytes, random: Random) -> bytes:
    """Return a YAML file with changed values, or with changed bytes."""
    if random.random() < 0.5:
        return mutations.of_bytes(content, random, (TASK, DETOKENIZER, OPTIONS))
    value = mutations.of_value(yaml.load(content, yaml.CSafeLoader), random)
    try:
        text = yaml.dump(value, Dumper=yaml.CSafeDumper, allow_unicode=random.random() < 0.5)
    except (yaml.YAMLError, RecursionError, UnicodeError):
        return b"[" * 300 + b"]" * 300
    return text.encode("utf-8", "surrogatepass")


def _read_task(path: Path) -> object:
    task = load_task("mine", [path.parents[1]])
    for variant in task.variants[:2]:
        load_task(f"mine/{variant}", [path.parents[1]])
    return task


def _task_problem(path: Path, read: Any) -> str | None:
    """Say what an accepted task states that its file does not."""
    stated = yaml.load(path.read_bytes(), yaml.BaseLoader)
    for name in ("title", "format", "unit", "ask"):
        if name in stated and getattr(read, name) != stated[name]:
            return f"{name} is {getattr(read, name)!r}, the file states {stated[name]!r}"
    return None


def read_detokenizer(path: Path) -> object:
    """Load a detokenizer and apply it to a line."""
    detokenizer = load_detokenizer(path.stem, [path.parents[1]])
    return detokenizer, detokenizer.do(LINE)


def _detokenizer_problem(path: Path, read: Any) -> str | None:
    detokenizer, line = read
    if not isinstance(detokenizer, Detokenizer) or not detokenizer.invertible:
        return None
    if detokenizer.undo(line.text) != LINE:
        return f"the line is not restored from {line.text!r}"
    return None


def read_filter(path: Path) -> object:
    task = load_task("lambada").model_copy(update={"filter": path.stem})
    return load_filter(task, [path.parents[2]])


def _words_problem(path: Path, read: Any) -> str | None:
    lines = path.read_bytes().decode().split("\n")
    words = {line.strip().lower() for line in lines if not line.startswith("#")} - {""}
    return None if read.banned == words else "other stop words than the file's"


def _read_options(path: Path) -> object:
    return read_options(path, _parameters())


@cache
def _parameters() -> Any:
    """Return the parameters of `gpt2eval run`."""
    import typer.main

    from gpt2eval.cli.main import app

    group: Any = typer.main.get_command(app)
    return group.commands["run"].params


def _suite() -> bytes:
    return (shipped() / "tasks/suites/nanogpt.yaml").read_bytes()


def _stop_words() -> bytes:
    path = next((shipped() / "tasks/stopwords").glob("*.txt"))
    return path.read_bytes()[:2000]


PARTS = (
    part(
        "task file",
        [
            Attempt(
                "tasks/mine.yaml",
                lambda random: mutated_yaml(TASK, random),
                _read_task,
                _task_problem,
                ("mine.yaml",),
            )
        ],
    ),
    part(
        "suite file",
        [
            Attempt(
                "tasks/suites/mine.yaml",
                lambda random: mutated_yaml(_suite(), random),
                lambda path: load_suite("mine", [path.parents[2]]),
                mentions=("mine.yaml",),
            )
        ],
        full=FEWER,
    ),
    part(
        "detokenizer file",
        [
            Attempt(
                f"detokenizers/{name}.yaml",
                lambda random, content=content: mutated_yaml(content, random),
                read_detokenizer,
                _detokenizer_problem,
                mentions=(f"{name}.yaml",),
            )
            for name, content in (("rules", DETOKENIZER), ("steps", STEPS))
        ],
    ),
    part(
        "stop words",
        [
            Attempt(
                "tasks/stopwords/mine.txt",
                lambda random: mutations.of_bytes(_stop_words(), random),
                read_filter,
                _words_problem,
                ("mine.txt",),
            )
        ],
        full=FEWER,
    ),
    part(
        "options file",
        [Attempt("run.yaml", lambda random: mutated_yaml(OPTIONS, random), _read_options)],
        full=FEWER,
    ),
)
