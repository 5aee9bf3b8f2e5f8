"""Task files: what they may say, how they are read, and where they lie."""
