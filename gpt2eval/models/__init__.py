"""Backends: every kind of model behind the `Model` protocol of `gpt2eval.types`."""
