"""Tokenizers: loading them, and encoding texts into tokens that tile the texts' bytes."""
