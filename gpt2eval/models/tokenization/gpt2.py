"""The tokenizer of GPT-2's weights in formats that contain none, such as nanoGPT's and llm.c's."""

from pathlib import Path

from gpt2eval.errors import UsageError, one_line
from gpt2eval.http import hub_access
from gpt2eval.models.load_errors import expected_errors
from gpt2eval.models.tokenization import loading
from gpt2eval.models.tokenization.loaded import LoadedTokenizer
from gpt2eval.models.tokenization.places import vocabulary_and_merges


def gpt2_tokenizer_for(weights: Path, choice: str | None) -> LoadedTokenizer:
    """Return the tokenizer for a GPT-2-like weights file that contains none.

    It is the requested one, else the one in the same folder, else the Hub's `gpt2`. Raises
    UsageError if none can be loaded.
    """
    if tokenizer := loading.requested_tokenizer(choice):
        return tokenizer
    if files := vocabulary_and_merges(weights.parent):
        return loading.from_vocabulary_and_merges(*files)
    own = weights.parent / "tokenizer.json"
    if own.is_file():
        with expected_errors(str(own), Exception, expectation="a tokenizer.json"):
            return loading.from_place(str(own))
    try:
        with hub_access("gpt2", "gpt2"):
            return loading.from_place("gpt2")
    except (OSError, ValueError, UsageError) as error:
        raise UsageError(
            f"{weights}: no tokenizer in its folder, and the Hub's gpt2 cannot be loaded "
            f"({one_line(error, 120)}); expected --tokenizer FOLDER, "
            "or encoder.json and vocab.bpe beside the weights"
        ) from None
