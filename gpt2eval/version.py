"""The version of gpt2eval, which every signature ends with."""

__version__ = "0.2.0"
