"""Where a tokenizer's files lie beside a checkpoint. Loads nothing."""

from pathlib import Path

# GPT-2's vocabulary and merges, as OpenAI and as transformers name them.
VOCABULARY_AND_MERGES = (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt"))


def vocabulary_and_merges(folder: Path) -> tuple[Path, Path] | None:
    """Return GPT-2's two files in a folder, or None."""
    for vocabulary, merges in VOCABULARY_AND_MERGES:
        if (folder / vocabulary).is_file() and (folder / merges).is_file():
            return folder / vocabulary, folder / merges
    return None
