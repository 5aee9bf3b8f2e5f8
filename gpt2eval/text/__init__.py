"""From records to passages, and from published text to detokenized text and back."""
