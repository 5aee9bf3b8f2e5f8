"""Tokenizers: loading them, and tokens that tile the bytes of a text."""
