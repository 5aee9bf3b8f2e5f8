"""Models compared on the same text, record by record."""
