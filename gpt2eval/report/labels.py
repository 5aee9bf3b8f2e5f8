"""Short labels for models: the end of a path, and what distinguishes two runs of one model."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gpt2eval.metrics.signature import read
from gpt2eval.report.escape import visible
from gpt2eval.types import ModelIdentity

DISTINGUISHING = ("revision", "dtype", "attn", "quant", "peft")  # in a label's order


class RowName(NamedTuple):
    """The name of a row: a model, what distinguishes its runs, and a number if it has several."""

    model: str
    qualifier: str = ""
    number: int = 1

    def text(self, names: Mapping[str, str] | None = None) -> str:
        """Return the label; `names` maps models to the names to show."""
        name = (names or {}).get(self.model, self.model)
        separator = "" if self.qualifier.startswith("@") else " "
        qualified = f"{name}{separator}{self.qualifier}".rstrip()
        return qualified if self.number == 1 else f"{qualified} ({self.number})"


def qualifier(model: ModelIdentity, models: Iterable[ModelIdentity]) -> str:
    """Return the fields that distinguish models of one name, such as `@step1000 bfloat16`.

    >>> from dataclasses import replace
    >>> gpt2 = ModelIdentity("gpt2", "607a30d", "1f2e3d4c", "float32", "sdpa", "cpu")
    >>> qualifier(gpt2, [gpt2, replace(gpt2, dtype="bfloat16")])
    'float32'
    """
    namesakes = [other for other in models if other.name == model.name]
    differing = [
        key for key in DISTINGUISHING if len({getattr(other, key) for other in namesakes}) > 1
    ]
    facts = [getattr(model, key) or f"no {key}" for key in differing]
    return f"@{' '.join(facts)}" if "revision" in differing else " ".join(facts)


def differing_fields(signature: str, signatures: Iterable[str]) -> str:
    """Return the fields of a signature, or of its protocol, that differ between signatures.

    >>> differing_fields("task:ptb|ctx:512", ["task:ptb|ctx:512", "task:ptb|ctx:1024"])
    'ctx:512'
    """
    fields = read(signature)
    others = [read(other) for other in signatures]
    keys = dict.fromkeys(key for other in others for key in other)
    return " ".join(
        visible(f"{key}:{fields.get(key, '-')}")
        for key in keys
        if len({other.get(key) for other in others}) > 1
    )


def short_names(models: Sequence[ModelIdentity]) -> dict[str, str]:
    """Return for each model's name the shortest unique end of its path.

    >>> from dataclasses import replace
    >>> model = ModelIdentity("runs/a/last", "1", "2", "float32", "sdpa", "cpu")
    >>> short_names([model])
    {'runs/a/last': 'last'}
    >>> short_names([model, replace(model, name="runs/b/last")])
    {'runs/a/last': 'a/last', 'runs/b/last': 'b/last'}
    """
    parts = {model.name: _parts(model) for model in models}
    return {name: _shortest(components, parts.values()) for name, components in parts.items()}


def _parts(model: ModelIdentity) -> tuple[str, ...]:
    """Return the components of a model's path; a revision stays with the last one."""
    name, separator, revision = model.name.partition("@")
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    if not parts:
        return (model.label or model.name,)
    return (*parts[:-1], f"{parts[-1]}{separator}{revision}")


def _shortest(own: tuple[str, ...], names: Iterable[tuple[str, ...]]) -> str:
    others = [other for other in names if other != own]
    for length in range(1, len(own)):
        if all(other[-length:] != own[-length:] for other in others):
            return "/".join(own[-length:])
    return "/".join(own)
