"""Evaluate checkpoints during training: watch a folder, or score a live module."""
