"""The Moses detokenizer and tokenizer as a pair of directions, for texts that were tokenized with it.

They are not exactly each other's inverse; whoever uses this checks every line. This module does not know about
tasks, and nothing else imports sacremoses.
"""

from sacremoses import MosesDetokenizer, MosesTokenizer


class Moses:
    """English Moses without escaping: `do` joins tokens into prose, `undo` splits prose into tokens.

    Blanks at either end of a line stay where they are.
    """

    def __init__(self) -> None:
        self._tokenizer = MosesTokenizer(lang="en")
        self._detokenizer = MosesDetokenizer(lang="en")

    def do(self, line: str) -> str:
        """The prose of a line of tokens."""
        left, tokens, right = _ends(line)
        return (
            left
            + str(self._detokenizer.detokenize(tokens.split(" "), return_str=True, unescape=False))
            + right
        )

    def undo(self, fair: str) -> str:
        """The tokens of a line of prose, a blank between every two."""
        left, prose, right = _ends(fair)
        return left + str(self._tokenizer.tokenize(prose, return_str=True, escape=False)) + right


def _ends(line: str) -> tuple[str, str, str]:
    """A line in three: its leading blanks, what stands between, its trailing blanks."""
    core = line.strip(" ")
    start = line.find(core) if core else len(line)
    return line[:start], core, line[start + len(core) :]
