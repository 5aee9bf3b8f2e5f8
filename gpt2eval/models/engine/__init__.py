"""How a causal language model of transformers scores a batch of requests."""
