"""`scheme:rest` to a backend; a backend is anything that keeps the `Model` protocol of `gpt2eval.types`."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpt2eval.errors import UsageError, unknown
from gpt2eval.types import Model

SCHEMES = {
    "hf": "gpt2eval.models.hf:load",
    "openai": "gpt2eval.models.openai:load",
    "nanogpt": "gpt2eval.models.nanogpt:load",
    "nanogpt-tanh": "gpt2eval.models.nanogpt:load_tanh",
    "llmc": "gpt2eval.models.llmc:load",
    "litgpt": "gpt2eval.models.litgpt:load",
    "gguf": "gpt2eval.models.gguf:load",
    "api": "gpt2eval.models.api:load",
    "toy": "gpt2eval.models.toy:load",
    "demo": "gpt2eval.models.hf:load_demo",
}


@dataclass(frozen=True, slots=True)
class Options:
    """How to load a model; a backend uses what applies to it."""

    dtype: str = "float32"
    device: str = "auto"
    revision: str | None = None
    attn: str | None = None
    trust_remote_code: bool = False
    device_map: str | None = None
    tp: int | None = None
    tokenizer: str | None = None
    peft: str | None = None
    quantization: str | None = None
    api_key_file: str | None = None

    def refuse(self, name: str, *options: str) -> None:
        """Raise UsageError where one of these is asked for, which a kind of model has no use for."""
        if asked := [option for option in options if getattr(self, option)]:
            raise UsageError(
                f"--{asked[0].replace('_', '-')}: no use for {name}; expected it with a model of transformers (hf:)"
            )


class Renamed:
    """A backend by another name in results; all else, what it can do besides included, is its own."""

    def __init__(self, model: Model, name: str) -> None:
        self._model, self._name = model, name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._model, attribute)

    def identity(self) -> Mapping[str, str]:
        return {**self._model.identity(), "name": self._name}


def renamed(model: Model, name: str) -> Model:
    """The same backend, called `name` in results."""
    backend: Any = Renamed(model, name)
    return backend


def schemes() -> Mapping[str, str]:
    """Scheme to `module:function`, the built-in ones and those of the entry-point group `gpt2eval.models`."""
    return {point.name: point.value for point in entry_points(group="gpt2eval.models")} | SCHEMES


def load(name: str, options: Options = Options()) -> Model:
    """The model of a name: `scheme:rest`, a folder or Hub id (scheme `hf`), `demo`, or `module:Factory`.

    A scheme's function is called with the rest and the options, a factory with nothing. Raises UsageError for a
    name that is none of these, and for a model that does not load.
    """
    scheme, colon, rest = name.partition(":")
    known = schemes()
    if scheme in known and (colon or scheme == "demo"):
        return _loaded(name, known[scheme], rest, options)
    if not colon or Path(name).exists():
        return _loaded(name, known["hf"], name, options)
    if not _is_module(scheme):
        raise unknown("model scheme", scheme, known)
    factory = _named(name)
    try:
        return factory()
    except TypeError as error:
        raise UsageError(
            f"model {name}: {error}; expected a factory that takes no arguments"
        ) from None


def _loaded(name: str, reference: str, rest: str, options: Options) -> Model:
    """What a scheme's function makes of the rest; whatever a damaged file makes a library raise is one line."""
    function = _named(reference)
    try:
        return function(rest, options)
    except UsageError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(
            f"model {name}: {reason:.200}; expected a checkpoint that can be read"
        ) from error


def _is_module(module: str) -> bool:
    """Whether there is a module of that name."""
    try:
        return find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):
        return False


def _named(reference: str) -> Any:
    module, _, name = reference.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"model {reference}: {error}; expected 'module:Factory'") from None
