"""Mutated files other than models: what people write, published texts, results and journals."""

from drill.data_files import (
    containers,
    journals,
    memory,
    results,
    settings_files,
    signatures,
    texts,
)
from drill.part import Part

PARTS: tuple[Part, ...] = (
    *settings_files.PARTS,
    *signatures.PARTS,
    *texts.PARTS,
    *containers.PARTS,
    *results.PARTS,
    *journals.PARTS,
    *memory.PARTS,
)
