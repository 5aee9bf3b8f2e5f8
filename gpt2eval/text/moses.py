"""The Moses detokenizer and tokenizer (sacremoses) as the two directions of a scheme.

They are not exact inverses, so every line must be checked. This is the only module that imports
sacremoses.
"""

import re
from typing import Any

from sacremoses import MosesDetokenizer, MosesTokenizer


class Moses:
    """Moses for English without escaping: `do` joins tokens into prose, `undo` splits prose.

    Spaces at either end of a line stay in place.
    """

    def __init__(self) -> None:
        self._tokenizer = QuickTokenizer()
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


class QuickTokenizer(MosesTokenizer):
    """The library's tokenizer for English, without work that changes nothing.

    The library builds a set of all letters for every token with a full stop inside, and reads every
    token and every line for rules that few of them meet. The decisions stay the library's.
    """

    LOWER = frozenset(MosesTokenizer.IsLower)
    ALPHA = frozenset(MosesTokenizer.IsAlpha)

    def __init__(self) -> None:
        super().__init__(lang="en")
        self.NONBREAKING_PREFIXES = frozenset(self.NONBREAKING_PREFIXES)
        self.ENGLISH_SPECIFIC_APOSTROPHE = [
            (_Guarded("'", pattern), put) for pattern, put in self.ENGLISH_SPECIFIC_APOSTROPHE
        ]
        for name in ("COMMA_SEPARATE_1", "COMMA_SEPARATE_2", "COMMA_SEPARATE_3"):
            pattern, put = getattr(self, name)
            setattr(self, name, (_Guarded(",", pattern), put))

    def islower(self, text: str) -> bool:
        """Return whether all characters are lower-case letters."""
        return self.LOWER.issuperset(text)

    def isanyalpha(self, text: str) -> bool:
        """Return whether any character is a letter."""
        return not self.ALPHA.isdisjoint(text)

    def handles_nonbreaking_prefixes(self, text: str) -> str:
        """Split the full stop off every token that is no abbreviation.

        The decision depends on the token and the next one, so the library sees these only.
        """
        tokens = text.split()
        for number, token in enumerate(tokens):
            if token.endswith("."):
                pair = " ".join(tokens[number : number + 2])
                is_split = not f"{super().handles_nonbreaking_prefixes(pair)} ".startswith(
                    f"{token} "
                )
                tokens[number] = f"{token[:-1]} ." if is_split else token
        return " ".join(tokens)


class _Guarded:
    """A substitution that is skipped where the text lacks a character that it needs."""

    def __init__(self, character: str, pattern: re.Pattern[str]) -> None:
        self._character = character
        self._pattern = pattern

    def sub(self, put: str, text: str) -> Any:
        """Return the text with every match replaced."""
        return self._pattern.sub(put, text) if self._character in text else text


def _ends(line: str) -> tuple[str, str, str]:
    """Split a line into its leading spaces, the text between, and its trailing spaces."""
    core = line.strip(" ")
    start = line.find(core) if core else len(line)
    return line[:start], core, line[start + len(core) :]
