"""Task, suite and detokenizer files: where they are, how to read them, and what they may hold."""
