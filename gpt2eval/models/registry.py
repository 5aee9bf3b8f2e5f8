"""`scheme:rest` to a backend; a backend is anything that keeps the `Model` protocol of `gpt2eval.types`."""

from collections.abc import Mapping
from dataclasses import fields, replace
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpt2eval.errors import UsageError, unknown
from gpt2eval.models.options import LoadOptions
from gpt2eval.types import AddsToken, EncodesSpecials, FindsBestWords, Model, ModelIdentity

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
    "demo": "gpt2eval.models.formats.hf:load_demo",
}


REQUIRED = ("name", "revision", "tokenizer", "dtype", "attn", "device")


class Identified:
    """A backend with a fixed identity. Has the optional capabilities of the backend, and no others."""

    def __init__(self, model: Model, identity: ModelIdentity) -> None:
        self._identity = identity
        self.context = model.context
        self.start = model.start
        self.encode = model.encode
        self.score = model.score
        if isinstance(model, AddsToken):
            self.added = model.added
        if isinstance(model, EncodesSpecials):
            self.encode_specials = model.encode_specials
        if isinstance(model, FindsBestWords):
            self.best_words = model.best_words

    def identity(self) -> ModelIdentity:
        return self._identity


def identity_of(model: Model) -> ModelIdentity:
    """Return a backend's identity; converts a mapping and ignores keys that `ModelIdentity` does not have.

    Raises UsageError for a mapping that lacks a required key.
    """
    identity: Any = model.identity()
    if isinstance(identity, ModelIdentity):
        return identity
    if lacking := [key for key in REQUIRED if key not in identity]:
        raise UsageError(
            f"model {identity.get('name', type(model).__name__)}: its identity() lacks "
            f"{', '.join(lacking)}; expected {', '.join(REQUIRED)}"
        )
    known = {field.name for field in fields(ModelIdentity)}
    return ModelIdentity(**{key: str(value) for key, value in identity.items() if key in known})


def renamed(model: Model, name: str) -> Model:
    """Return the same backend under another name in results."""
    return Identified(model, replace(identity_of(model), name=name, label=""))


def schemes() -> Mapping[str, str]:
    """Scheme to `module:function`, the built-in ones and those of the entry-point group `gpt2eval.models`."""
    return {point.name: point.value for point in entry_points(group="gpt2eval.models")} | SCHEMES


def load_model(name: str, options: LoadOptions = LoadOptions()) -> Model:
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


def _loaded(name: str, reference: str, rest: str, options: LoadOptions) -> Model:
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
