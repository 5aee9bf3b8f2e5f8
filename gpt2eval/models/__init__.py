"""Backends: anything that keeps the `Model` protocol of `gpt2eval.types`."""
