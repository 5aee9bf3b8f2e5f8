"""Read the training step from a model's name, and sort names by the numbers in them."""

import math
import re
from collections.abc import Hashable, Sequence
from typing import TypeVar

from gpt2eval.settings import whole_number
from gpt2eval.types import ModelIdentity

Item = TypeVar("Item", bound=Hashable)

# A number is a step after one of these words: `checkpoint-500`, `@step2000`, `iter_0001000`.
# It is none where more follows: `step1.5b`, `step2x`.
STEP = re.compile(
    r"(?<![A-Za-z])(?:global[-_]?)?(?:checkpoint|ckpt|steps?|iter(?:ation)?)[-_ =]?(\d+)"
    r"(?![A-Za-z_\d]|\.\d)"
    r"|(?<![A-Za-z])model[-_](\d+)(?=\.bin)",  # llm.c
    re.IGNORECASE,
)
EPOCH = re.compile(r"(?<![A-Za-z])epochs?[-_ =]?(\d+(?:\.\d+)?)(?![A-Za-z_\d.])", re.IGNORECASE)
MOST_READ = 4000  # digits that Python converts


def step_of(model: ModelIdentity) -> int | None:
    """Return the training step that a model's identity or its name states, or None.

    >>> from gpt2eval.types import ModelIdentity
    >>> def named(name):
    ...     return ModelIdentity(name, "1", "2", "float32", "packed", "cpu")
    >>> step_of(named("runs/a/checkpoint-500")), step_of(named("EleutherAI/pythia-70m@step1000"))
    (500, 1000)
    >>> step_of(named("gpt2-large"))
    """
    step = whole_number(model.step)
    return _last(model.name) if step is None else step


def _last(name: str) -> int | None:
    """Return the last step in a name; a number of over 18 digits is a date or a hash."""
    numbers = [match[1] or match[2] for match in STEP.finditer(name)]
    return whole_number(numbers[-1]) if numbers else None


def natural(text: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts text with its numbers by value.

    >>> sorted(["m-10", "m-5", "m-15"], key=natural)
    ['m-5', 'm-10', 'm-15']
    """
    parts = re.split(r"([0-9]+)", text)
    return [
        (1, int(part[:MOST_READ]), part) if index % 2 else (0, 0, part)
        for index, part in enumerate(parts)
    ]


def in_order(items: Sequence[tuple[Item, ModelIdentity]]) -> list[Item]:
    """Return items with the checkpoints of a run together, at the place of the first, by step.

    All other items keep their places. A model without a step comes after its checkpoints.
    """
    first: dict[str, int] = {}
    keys: dict[Item, tuple[int, float, float, int]] = {}
    for index, (item, model) in enumerate(items):
        place = first.setdefault(run_of(model), index)
        step = step_of(model)
        epoch = EPOCH.search(model.name)
        keys[item] = (
            place,
            math.inf if step is None else step,
            float(epoch[1]) if epoch else math.inf,
            index,
        )
    return sorted(keys, key=keys.__getitem__)


def run_of(model: ModelIdentity) -> str:
    """Return a model's name without its step, its epoch, and the revision that follows a step.

    >>> from gpt2eval.types import ModelIdentity
    >>> run_of(ModelIdentity("runs/a/checkpoint-500", "1", "2", "float32", "packed", "cpu"))
    'runs/a/*'
    """
    path, _, revision = model.name.partition("@")
    run = EPOCH.sub("*", STEP.sub("*", path))
    if run != path or model.step:
        return run
    if match := STEP.search(revision) or EPOCH.search(revision):
        return f"{path}@{revision[: match.start()]}".rstrip("@")
    return model.name
