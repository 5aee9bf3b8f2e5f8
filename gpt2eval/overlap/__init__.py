"""How much of a test text occurs in training text."""
