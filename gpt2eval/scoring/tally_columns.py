"""Tallies as arrays, one per number, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from operator import attrgetter

import numpy as np

from gpt2eval.types import Tally, Units


def columns(tallies: Sequence[Tally]) -> dict[str, np.ndarray]:
    """Return an array per number of a tally; those of its units are named `units.<name>`."""
    return {name: np.array([*map(attrgetter(name), tallies)]) for name in _flat(Tally())}


def tallies(arrays: Mapping[str, np.ndarray]) -> list[Tally] | None:
    """Return the tallies of `columns`, or None if a number is missing."""
    if arrays.keys() != _flat(Tally()).keys():
        return None
    rows = zip(*(array.tolist() for array in arrays.values()), strict=True)
    return [_tally(dict(zip(arrays, row, strict=True))) for row in rows]


def _flat(tally: Tally) -> dict[str, float]:
    names = [field.name for field in fields(tally) if field.name != "units"]
    numbers = {name: getattr(tally, name) for name in names}
    units = {f"units.{field.name}": getattr(tally.units, field.name) for field in fields(Units)}
    return numbers | units


def _tally(flat: Mapping[str, float]) -> Tally:
    units = Units(**{field.name: int(flat[f"units.{field.name}"]) for field in fields(Units)})
    names = [field.name for field in fields(Tally) if field.name not in ("units", "nats")]
    counts = {name: int(flat[name]) for name in names}
    return Tally(nats=flat["nats"], units=units, **counts)
