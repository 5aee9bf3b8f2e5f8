"""Load a backend by its model name: `scheme:rest`, a folder, a Hub id, or `module:Factory`.

A backend is any object that implements the `Model` protocol of `gpt2eval.types`.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from gpt2eval.errors import UsageError, unknown
from gpt2eval.http import hide_environment
from gpt2eval.models.backend import check_backend
from gpt2eval.models.identified import identity_of
from gpt2eval.models.load_errors import is_panic, load_failure
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.references import import_reference, importable, module_exists
from gpt2eval.models.server.address import shown_name
from gpt2eval.notices import announce
from gpt2eval.types import (
    Model,
)

SCHEMES = {
    "hf": "gpt2eval.models.formats.hf:load",
    "openai": "gpt2eval.models.formats.openai:load",
    "nanogpt": "gpt2eval.models.formats.nanogpt:load",
    "nanogpt-tanh": "gpt2eval.models.formats.nanogpt:load_tanh",
    "llmc": "gpt2eval.models.formats.llmc:load",
    "litgpt": "gpt2eval.models.formats.litgpt:load",
    "gguf": "gpt2eval.models.formats.gguf:load",
    "api": "gpt2eval.models.server.api:load",
    "toy": "gpt2eval.models.toy:load",
    "shape": "gpt2eval.models.shape:load",
    "demo": "gpt2eval.models.formats.hf:load_demo",
}
LOCAL_PREFIXES = ("/", "./", "../", "~")  # a name that begins so is a path, never a Hub id


def schemes() -> Mapping[str, str]:
    """Return every scheme and its `module:function`.

    These are the built-in schemes and the entry points in the group `gpt2eval.models`; a built-in
    scheme takes precedence.
    """
    return _plugins() | SCHEMES


@cache  # looking through what is installed takes 10 ms
def _plugins() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group="gpt2eval.models")}


def split_name(name: str) -> tuple[str, str]:
    """Return the scheme of a model's name, and the rest; the scheme is "" for `module:Factory`.

    >>> split_name("gguf:a.gguf"), split_name("gpt2"), split_name("module:Factory")
    (('gguf', 'a.gguf'), ('hf', 'gpt2'), ('', 'module:Factory'))
    """
    scheme, colon, rest = name.partition(":")
    if scheme in schemes() and (colon or scheme == "demo"):
        return scheme, rest
    if not colon or Path(name).exists():
        return "hf", name
    return "", name


def check_name(name: str) -> None:
    """Raise UsageError for a name that cannot refer to a model; nothing is loaded or downloaded.

    A Hub id passes, because only the Hub knows its models.
    """
    scheme, colon, _ = name.partition(":")
    folder = name.rpartition("@")[0] or name  # without a revision
    known = schemes()
    if Path(name).exists() or (scheme in known and colon):
        return
    if colon:
        if not module_exists(scheme):
            raise unknown("model scheme", scheme, known)
    elif name.startswith(LOCAL_PREFIXES) and not Path(folder).is_dir():
        raise UsageError(
            f"model {name}: no such folder; expected a folder with a causal language model, "
            "or a Hub id"
        )


def load_model(name: str, options: LoadOptions = LoadOptions()) -> Model:
    """Load the model that a name refers to.

    Args:
        name: `scheme:rest`, a folder or Hub id (the scheme `hf`), `demo`, or `module:Factory`.
            A scheme's function takes the rest and the options; a factory takes no arguments.
        options: How to load the model.

    Returns:
        The backend, ready to score.

    Raises:
        UsageError: If the name refers to no model, or the model does not load.
        LoadError: If loading raises an exception that no backend expects; it is the `__cause__`.

    >>> load_model("toy:uniform-bytes").identity().name
    'toy:uniform-bytes'
    """
    hide_environment()
    check_name(name)
    scheme, rest = split_name(name)
    if scheme:
        function = import_reference(schemes()[scheme])
        return _load(name, options, lambda: function(rest, options))
    with importable(Path.cwd()):
        factory = import_reference(name)
    _check_factory(name, factory)
    return _load(name, options, factory)


def checked(model: Model, name: str = "") -> Model:
    """Return a backend whose values are checked, see `backend.check_backend`.

    Raises:
        UsageError: If a member is missing or wrong, or the identity is not one.
    """
    backend = check_backend(model, name)
    if backend is not model:
        identity_of(backend)
    return backend


def _load(name: str, options: LoadOptions, load: Callable[[], Model]) -> Model:
    """Call `load`; report any exception but UsageError as one line that keeps its cause."""
    shown = shown_name(name)
    announce(f"loading model {shown}")
    try:
        return checked(load(), shown)
    except UsageError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception | SystemExit) and not is_panic(error):
            raise
        raise load_failure(shown, options.dtype, error) from error


def _check_factory(name: str, factory: Any) -> None:
    """Raise UsageError for an object that cannot be called without arguments."""
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise UsageError(
            f"model {name}: {error}; expected a factory that takes no arguments"
        ) from None
    except ValueError:
        return  # a callable without an inspectable signature
