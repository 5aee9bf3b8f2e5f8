"""How many weights a model has, for an axis of sizes.

A result does not hold the count. It follows from the shape of a GPT-2, or a reader states it, or
the publisher does in the model's name.
"""

import re
from collections.abc import Mapping, Sequence

from gpt2eval.errors import UsageError
from gpt2eval.identity import Sizes
from gpt2eval.types import ModelIdentity

GPT2 = re.compile(r"gpt2-(\d+)x(\d+)-(\d+)")
GPT2_CONTEXT = 1024
UNITS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
# `135M` in `SmolLM2-135M-Instruct`; not the experts of `8x7B`, and no number inside a word.
IN_NAME = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([KMBTkmbt])(?![A-Za-z0-9])")


def parse_size(text: str) -> float:
    """Return a count of weights that is written as `135M`, `1.5B` or `124439808`.

    >>> parse_size("135M"), parse_size("124439808")
    (135000000.0, 124439808.0)

    Raises:
        UsageError: It is not a positive count.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMBT]?)", text.strip().upper())
    count = float(match[1]) * UNITS.get(match[2], 1) if match else 0
    if count <= 0:
        raise UsageError(f"size {text!r:.40}: expected a count of weights such as 135M or 1.5B")
    return count


def parse_sizes(texts: Sequence[str]) -> dict[str, float]:
    """Return the sizes that `MODEL=SIZE` arguments state.

    >>> parse_sizes(["runs/mine=135M"])
    {'runs/mine': 135000000.0}

    Raises:
        UsageError: An argument has another form.
    """
    sizes: dict[str, float] = {}
    for text in texts:
        name, equals, size = text.rpartition("=")
        if not equals or not name:
            raise UsageError(f"--size {text}: expected MODEL=SIZE, such as gpt2=124M")
        sizes[name] = parse_size(size)
    return sizes


def gpt2_weights(shape: str) -> int | None:
    """Return the weights of a GPT-2 with a shape, or None for another architecture.

    >>> gpt2_weights("gpt2-12x768-50257")
    124439808
    """
    match = GPT2.fullmatch(shape)
    if not match:
        return None
    layers, width, vocabulary = map(int, match.groups())
    return Sizes.of_gpt2(layers, width, vocabulary, GPT2_CONTEXT).weights


def size_in_name(name: str) -> re.Match[str] | None:
    """Return the last size in a model's name, or None."""
    return next(reversed([*IN_NAME.finditer(name)]), None)


def weights_of(model: ModelIdentity, stated: Mapping[str, float]) -> float | None:
    """Return a model's number of weights, or None if nothing tells it.

    Args:
        model: The model.
        stated: Sizes by the names of models; they come before all else.

    >>> weights_of(ModelIdentity("org/pythia-70m", "", "", "", "", ""), {})
    70000000.0
    """
    if model.name in stated:
        return stated[model.name]
    if exact := gpt2_weights(model.shape):
        return float(exact)
    named = size_in_name(model.name) or size_in_name(model.label)
    return parse_size(named[0]) if named else None


def family_of(model: ModelIdentity) -> str:
    """Return the name that models of several sizes share, with `*` for the size; else the name.

    >>> family_of(ModelIdentity("org/pythia-70m", "", "", "", "", ""))
    'org/pythia-*'
    """
    found = size_in_name(model.name)
    return model.name[: found.start()] + "*" + model.name[found.end() :] if found else model.name
