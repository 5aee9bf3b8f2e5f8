"""Whether a model is worse than a committed baseline."""
