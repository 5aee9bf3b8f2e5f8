"""Damaged checkpoints and tokenizers."""

from drill.model_files.kinds import PARTS

__all__ = ["PARTS"]
