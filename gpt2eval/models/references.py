"""Import what a model's name refers to as `module:Factory`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpt2eval.errors import LoadError, UsageError, one_line


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Make the modules in a folder importable, after installed ones, while the context is open.

    The folder is on the import path no longer than that: packages look for optional modules, and
    would run one of that name from the current folder, which may be a downloaded checkpoint.
    """
    entry = str(folder)
    if entry in sys.path:
        yield
        return
    sys.path.append(entry)
    try:
        yield
    finally:
        sys.path.remove(entry)


def module_exists(module: str) -> bool:
    """Return whether a module can be found, also in the current folder; it is not imported."""
    try:
        with importable(Path.cwd()):
            return find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):
        return False
    except Exception:  # raised by a parent package; importing the module will say more
        return True


def import_reference(reference: str) -> Any:
    """Import the object that `module:name` refers to."""
    module, _, name = reference.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"model {reference}: {error}; expected 'module:Factory'") from error
    except (Exception, SystemExit) as error:
        raise LoadError(
            f"model {reference}: importing {module} raised {type(error).__name__}: "
            f"{one_line(error, 200)}; --traceback shows where"
        ) from error
