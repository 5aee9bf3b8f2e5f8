"""The Moses detokenizer and tokenizer (sacremoses) as the two directions of a scheme.

They are not exact inverses, so every line must be checked. This is the only module that imports
sacremoses.
"""

from sacremoses import MosesDetokenizer, MosesTokenizer


class Moses:
    """Moses for English without escaping: `do` joins tokens into prose, `undo` splits prose.

    Spaces at either end of a line stay in place.
    """

    def __init__(self) -> None:
        self._tokenizer = MosesTokenizer(lang="en")
        self._detokenizer = MosesDetokenizer(lang="en")

    def do(self, line: str) -> str:
        """Join the tokens of a line into prose."""
        left, core, right = _ends(line)
        prose = self._detokenizer.detokenize(core.split(" "), return_str=True, unescape=False)
        return left + str(prose) + right

    def undo(self, detokenized: str) -> str:
        """Split a line of prose into tokens, separated by single spaces."""
        left, core, right = _ends(detokenized)
        tokens = self._tokenizer.tokenize(core, return_str=True, escape=False)
        return left + str(tokens) + right


def _ends(line: str) -> tuple[str, str, str]:
    """Split a line into its leading spaces, the text between, and its trailing spaces."""
    core = line.strip(" ")
    start = line.find(core) if core else len(line)
    return line[:start], core, line[start + len(core) :]
