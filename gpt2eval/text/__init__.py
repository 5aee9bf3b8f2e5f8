"""Records to passages, and published text to detokenized text and back."""
