"""Settings and load options as keywords of a function, beside the objects that hold them."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from gpt2eval.errors import UsageError, unknown
from gpt2eval.models.options import LoadKeywords, LoadOptions
from gpt2eval.settings import Settings, SettingsKeywords
from gpt2eval.types import Model

Holder = TypeVar("Holder", Settings, LoadOptions)


class Keywords(SettingsKeywords, LoadKeywords, total=False):
    """The fields of `Settings` and of `LoadOptions`."""


def merged(
    settings: Settings, options: LoadOptions, keywords: Mapping[str, Any], model: str | Model
) -> tuple[Settings, LoadOptions]:
    """Return the settings and load options with the values of keywords.

    Raises:
        UsageError: A keyword is unknown, its object has another value already, or it says how to
            load a model that is loaded.

    >>> merged(Settings(stride=32), LoadOptions(), {"dtype": "bfloat16"}, "gpt2")[1].dtype
    'bfloat16'
    """
    known = [field.name for kind in (Settings, LoadOptions) for field in fields(kind)]
    for name in keywords:
        if name not in known:
            raise unknown("keyword", name, known)
    loading = [field.name for field in fields(LoadOptions) if field.name in keywords]
    if loading and not isinstance(model, str):
        raise UsageError(
            f"{loading[0]}={keywords[loading[0]]!r}: applies to a model that is loaded by name; "
            "expected a name, or no such keyword"
        )
    return _merged(settings, "settings", keywords), _merged(options, "options", keywords)


def _merged(holder: Holder, argument: str, keywords: Mapping[str, Any]) -> Holder:
    default = type(holder)()
    changes = {
        field.name: keywords[field.name] for field in fields(holder) if field.name in keywords
    }
    for name, value in changes.items():
        held = getattr(holder, name)
        if held not in (getattr(default, name), value):
            raise UsageError(
                f"{name}={value!r}: {argument}= has {name}={held!r}; expected one of the two"
            )
    return replace(holder, **changes)
