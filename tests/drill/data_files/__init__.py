"""Mutated files other than models: what people write, published texts, results and journals."""

from drill.data_files import results, settings_files, signatures
from drill.part import Part

PARTS: tuple[Part, ...] = (*settings_files.PARTS, *signatures.PARTS, *results.PARTS)
