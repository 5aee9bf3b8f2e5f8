"""All parts of the drill: the `PARTS` of each folder beside this module."""

from importlib import import_module
from pkgutil import iter_modules

import drill
from drill.part import Part

PARTS: tuple[Part, ...] = tuple(
    part
    for module in iter_modules(drill.__path__)
    if module.ispkg
    for part in import_module(f"drill.{module.name}").PARTS
)
