"""Detokenizer files: a name to a ready `Detokenizer`."""

import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from gpt2eval.config import catalog
from gpt2eval.config.loader import _read, _validate
from gpt2eval.config.schema import DetokenizerFile, Rule
from gpt2eval.errors import UsageError, unknown
from gpt2eval.text.detokenizer import Detokenizer, OneWaySteps
from gpt2eval.text.schemes import RuleScheme, Swap, WholeLine


def load_detokenizer(name: str, include: Sequence[Path] = ()) -> Detokenizer | OneWaySteps:
    """The detokenizer of a name, `scheme` or `scheme+option+option`; its `name` ends in the file's version."""
    base, *options = name.split("+")
    path = catalog.find("detokenizers", base, include)
    content = load_detokenizer_file(path)
    for option in options:
        if option not in content.options:
            raise unknown(f"option of detokenizer {base}", option, content.options or ["(none)"])
    if content.steps:
        return OneWaySteps(f"{name}.{content.version}", _rules(content.steps, options, path))
    if content.python:
        scheme = WholeLine(_import(content.python, path)())
    else:
        scheme = RuleScheme(_rules(content.do, options, path), _rules(content.undo, options, path))
    return Detokenizer(f"{name}.{content.version}", scheme, invertible=content.invertible)


def load_detokenizer_file(path: Path) -> DetokenizerFile:
    """A detokenizer file as written, with its examples."""
    return _validate(DetokenizerFile, _read(path), path)


def _rules(rules: Sequence[Rule], options: Sequence[str], path: Path) -> tuple[Swap, ...]:
    chosen = [rule for rule in rules if rule.option is None or rule.option in options]
    try:
        return tuple(Swap(re.compile(rule.glue or rule.swap or ""), rule.by) for rule in chosen)
    except re.error as error:
        raise UsageError(f"{path}: not a regular expression: {error.pattern!r}: {error}") from None


def _import(reference: str, path: Path) -> Any:
    module, _, name = reference.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{path}: python: {reference}: {error}; expected 'module:Class'") from None
