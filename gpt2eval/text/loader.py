"""Load a `Detokenizer` from its file by name."""

import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from gpt2eval.config import catalog
from gpt2eval.config.detokenizer_schema import DetokenizerFile, Rule
from gpt2eval.config.loader import read_yaml, validate
from gpt2eval.errors import UsageError, unknown
from gpt2eval.text.detokenizer import Detokenizer, OneWaySteps
from gpt2eval.text.schemes import RuleScheme, Swap, WholeLine


def load_detokenizer(name: str, include: Sequence[Path] = ()) -> Detokenizer | OneWaySteps:
    """Load a detokenizer by name.

    Args:
        name: `scheme` or `scheme+option+option`, such as `ptb+question`.
        include: Catalog folders to search first.

    Returns:
        The detokenizer; its `name` is the given one with the version of the file, `ptb.1`.

    Raises:
        UsageError: The name or an option is unknown, or the file is invalid.
    """
    base, *options = name.split("+")
    path = catalog.find("detokenizers", base, include)
    content = load_detokenizer_file(path)
    for option in options:
        if option not in content.options:
            raise unknown(f"option of detokenizer {base}", option, content.options or ["(none)"])
    versioned = f"{name}.{content.version}"
    if content.steps:
        return OneWaySteps(versioned, _rules(content.steps, options, path))
    if content.python:
        scheme = WholeLine(_import(content.python, path)())
    else:
        scheme = RuleScheme(_rules(content.do, options, path), _rules(content.undo, options, path))
    return Detokenizer(
        versioned, scheme, invertible=content.invertible, carries=content.carry_quotes
    )


def load_detokenizer_file(path: Path) -> DetokenizerFile:
    """Read and validate a detokenizer file, including its examples."""
    return validate(DetokenizerFile, read_yaml(path), path)


def _rules(rules: Sequence[Rule], options: Sequence[str], path: Path) -> tuple[Swap, ...]:
    """Compile the rules that always apply and those of the chosen options."""
    chosen = [rule for rule in rules if rule.option is None or rule.option in options]
    try:
        swaps = tuple(Swap(re.compile(rule.glue or rule.swap or ""), rule.by) for rule in chosen)
        for swap in swaps:
            swap.find.sub(swap.put or "", "")  # reads the references of the replacement text
        return swaps
    except re.error as error:
        raise UsageError(
            f"{path}: invalid regular expression: {error.pattern!r}: {error}"
        ) from None


def _import(reference: str, path: Path) -> Any:
    module, _, name = reference.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{path}: python: {reference}: {error}; expected 'module:Class'") from None
