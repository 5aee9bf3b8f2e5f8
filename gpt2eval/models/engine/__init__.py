"""How a causal language model of transformers computes a batch of requests."""
