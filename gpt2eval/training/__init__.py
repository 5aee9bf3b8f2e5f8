"""Evaluation during training: watch a folder, or score a live module."""
