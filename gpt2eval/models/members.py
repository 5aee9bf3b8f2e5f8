"""The members that a backend from outside the package must have."""

import inspect
from collections.abc import Callable
from typing import Any

from gpt2eval.errors import LoadError, UsageError, one_line

EXPECTED = "expected context, start, encode(text), score(batch) and identity()"


def member(subject: str, model: Any, name: str) -> Any:
    """Return a member of a backend. Raises UsageError if it is absent, or if reading it fails."""
    try:
        return getattr(model, name)
    except AttributeError:
        raise UsageError(f"{subject}: {type(model).__name__} has no {name}; {EXPECTED}") from None
    except Exception as error:
        raise LoadError(
            f"{subject}: its {name} raised {type(error).__name__}: {one_line(error, 200)}; "
            "--traceback shows where"
        ) from error


def check_method(
    subject: str, kind: str, name: str, method: Callable[..., Any], count: int
) -> None:
    """Raise UsageError for something that cannot be called with `count` arguments."""
    if not callable(method):
        raise UsageError(f"{subject}: {kind}.{name} is not a method; {EXPECTED}")
    try:
        inspect.signature(method).bind(*[None] * count)
    except TypeError as error:
        raise UsageError(
            f"{subject}: {kind}.{name}(): {error}; expected {count} argument{'s' * (count != 1)}"
        ) from None
    except ValueError:
        return  # without an inspectable signature
