"""Import the Python class that a detokenizer file names, and check what it returns.

Importing a module runs its code. Only modules on the import path are found: installed packages
and, with `--trust-include`, the folders of `--include`.
"""

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from gpt2eval.errors import UsageError, one_line

REFERENCE = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*)")
EXPECTED = "a class with methods do(line) and undo(detokenized) that return text"


class CheckedClass:
    """An object of a class that a file names; its errors become one line that names the file."""

    def __init__(self, reference: str, path: Path) -> None:
        self._place = f"{path}: python: {reference}"
        self._scheme = _instance(reference, self._place)

    def do(self, line: str) -> str:
        """Return the detokenized line."""
        return self._call("do", line)

    def undo(self, detokenized: str) -> str:
        """Return the published line."""
        return self._call("undo", detokenized)

    def _call(self, method: str, line: str) -> str:
        try:
            text = getattr(self._scheme, method)(line)
        except (Exception, SystemExit) as error:
            raise UsageError(
                f"{self._place}: {method} raises {type(error).__name__}: {one_line(error, 120)} "
                f"for {line!r:.60}; expected {EXPECTED}"
            ) from error
        if not isinstance(text, str):
            raise UsageError(
                f"{self._place}: {method} returns {type(text).__name__} for {line!r:.60}; "
                f"expected {EXPECTED}"
            )
        return text


def _instance(reference: str, place: str) -> Any:
    """Return an object of the class `module:Class`. Raises UsageError if there is none."""
    match = REFERENCE.fullmatch(reference)
    if not match:
        raise UsageError(f"{place}: not of the form 'module:Class'; expected {EXPECTED}")
    module, name = match.groups()
    try:
        found = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{place}: {one_line(error)}; expected an installed module, or one in a folder of "
            "--include together with --trust-include, which lets such a folder run code"
        ) from None
    except (Exception, SystemExit) as error:
        raise UsageError(f"{place}: {one_line(error)}; expected a module that imports") from error
    if not inspect.isclass(found) or not all(
        callable(getattr(found, method, None)) for method in ("do", "undo")
    ):
        raise UsageError(f"{place}: {found!r:.60} has no do and undo; expected {EXPECTED}")
    try:
        return found()
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"{place}: {type(error).__name__}: {one_line(error, 120)}; expected a class that "
            "takes no arguments"
        ) from error
