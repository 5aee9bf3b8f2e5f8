"""Short labels for models: the end of a path, and what distinguishes two runs of one model."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


def qualifiers(models: Iterable[ModelIdentity]) -> list[str]:
    """Return for each model the fields that distinguish it from others of its name.

    >>> from dataclasses import replace
    >>> gpt2 = ModelIdentity("gpt2", "607a30d", "1f2e3d4c", "float32", "sdpa", "cpu")
    >>> qualifiers([gpt2, replace(gpt2, dtype="bfloat16"), replace(gpt2, name="gpt2-medium")])
    ['float32', 'bfloat16', '']
    """
    models = list(models)
    facts: dict[str, dict[str, set[str]]] = {}
    for model in models:
        of_name = facts.setdefault(model.name, {key: set() for key in DISTINGUISHING})
        for key in DISTINGUISHING:
            of_name[key].add(getattr(model, key))
    differing = {
        name: [key for key, values in of_name.items() if len(values) > 1]
        for name, of_name in facts.items()
    }
    return [_qualifier(model, differing[model.name]) for model in models]


def _qualifier(model: ModelIdentity, differing: Sequence[str]) -> str:
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
    ends = Counter(end for components in {*parts.values()} for end in _ends(components))
    return {
        name: "/".join(next((end for end in _ends(components) if ends[end] == 1), components))
        for name, components in parts.items()
    }


def _ends(components: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the ends of a path, the shortest first."""
    for length in range(1, len(components) + 1):
        yield components[-length:]


def _parts(model: ModelIdentity) -> tuple[str, ...]:
    """Return the components of a model's path; a revision stays with the last one."""
    name, separator, revision = model.name.partition("@")
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    if not parts:
        return (model.label or model.name,)
    return (*parts[:-1], f"{parts[-1]}{separator}{revision}")
