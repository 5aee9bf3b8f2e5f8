"""The identity of a backend, and the same backend with another one."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from gpt2eval.errors import UsageError, clean, quoted
from gpt2eval.models.backend import CheckedBackend
from gpt2eval.models.formats.naming import plain_name, step_suffix
from gpt2eval.types import (
    Model,
    ModelIdentity,
)

# The members by which the optional protocols of `types.py` and `identity.py` recognize a backend.
OPTIONAL = (
    *("added", "end", "token_name", "spelling", "encode_specials", "encode_batch"),
    *(
        "encode_pieces",
        "launch",
        "score_words",
        "score_terminated",
        "score_starts",
        "sizes",
        "fits",
    ),
)
REQUIRED = ("name", "revision", "tokenizer", "dtype", "attn", "device")


class Identified:
    """A backend with a fixed identity and the same optional capabilities as the original."""

    def __init__(self, model: Model, identity: ModelIdentity) -> None:
        self._identity = identity
        self.is_own = is_own(model)
        self.context = model.context
        self.start = model.start
        self.encode = model.encode
        self.score = model.score
        for name in OPTIONAL:
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))

    def identity(self) -> ModelIdentity:
        return self._identity


def is_own(model: Model) -> bool:
    """Return whether a backend is one of this package."""
    return model.is_own if isinstance(model, Identified) else not isinstance(model, CheckedBackend)


def identity_of(model: Model) -> ModelIdentity:
    """Return a backend's identity, converted if it is a mapping; unknown keys are ignored.

    Raises:
        UsageError: If a required key is missing from the mapping.
    """
    identity: Any = model.identity()
    if isinstance(identity, ModelIdentity):
        return identity
    if not isinstance(identity, Mapping):
        raise UsageError(
            f"model {type(model).__name__}: its identity() returned {type(identity).__name__}; "
            f"expected a ModelIdentity, or a mapping with {', '.join(REQUIRED)}"
        )
    if missing := [key for key in REQUIRED if key not in identity]:
        raise UsageError(
            f"model {identity.get('name', type(model).__name__)}: its identity() lacks "
            f"{', '.join(missing)}; expected {', '.join(REQUIRED)}"
        )
    known = {field.name for field in fields(ModelIdentity)}
    stated = {key: plain_name(value) for key, value in identity.items() if key in known}
    return ModelIdentity(**stated)


def renamed(model: Model, name: str) -> Model:
    """Return the same backend under another name in results.

    Signatures keep its label, which holds no path, with the step that the name adds.
    """
    identity = identity_of(model)
    label = identity.label and identity.label + step_suffix(name)
    return Identified(model, replace(identity, name=name, label=label))


def check_chosen(name: str) -> None:
    """Raise UsageError for a chosen name that is empty, or has characters that do not print."""
    if not isinstance(name, str) or name != clean(name).strip() or not name:
        raise UsageError(
            f"--name {quoted(name)}: expected a text on one line, without outer blanks"
        )


def filed_as(model: Model, name: str) -> Model:
    """Return the same backend under a name of the user's choice in folders and tables.

    Signatures keep the name by which it was loaded, so that they can be run again.

    Raises:
        UsageError: The name cannot be one, see `check_chosen`.
    """
    check_chosen(name)
    identity = identity_of(model)
    return Identified(model, replace(identity, name=name, label=identity.label or identity.name))
