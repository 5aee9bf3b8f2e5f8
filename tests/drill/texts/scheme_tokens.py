"""The tokens of a detokenizer file: what its rules and examples are about, and lines of them."""

from collections.abc import Iterator, Sequence
from random import Random
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

from gpt2eval.config.detokenizer_schema import DetokenizerFile

# What may stand anywhere: words, numbers, punctuation, other white space, and the engine's mark.
COMMON = (
    *("word", "Name", "boys", "s", "I", "5", "98", "1,000", "U.S.", "<unk>", "N", "é", "😀"),
    *(".", ",", "'", '"', "-", "--", "...", "(", ")", "\u200b", "\u0301", "\u202e", "\0"),
)
ODD_SPACES = ("\t", "\r", "\x85", "\u2028", "\u00a0", "\f")
LONGEST_RANGE = 4  # characters taken from a range such as a-z


def tokens_of(file: DetokenizerFile) -> list[str]:
    """Return the scheme's own tokens: of its rules, their replacements and its examples."""
    found: set[str] = set()
    for rule in (*file.do, *file.undo, *file.steps):
        pattern = rule.glue or rule.swap
        if pattern:
            found.update(literals(_parser.parse(pattern)))
    for example in file.examples:
        found.update(example.published.split())
        found.update(example.detokenized.split())
    return sorted(text.replace("\n", "") for text in found if text.strip())


def literals(items: Any) -> Iterator[str]:
    """Yield the literal texts, and some characters of the classes, of a parsed expression."""
    text = ""
    for operator, argument in items:
        if operator is _constants.LITERAL:
            text += chr(argument)
            continue
        yield from text.split(" ")
        text = ""
        if operator is _constants.RANGE:
            low, high = argument
            yield from map(chr, range(low, min(high, low + LONGEST_RANGE - 1) + 1))
        yield from _inside(argument)
    yield from text.split(" ")


def _inside(argument: Any) -> Iterator[str]:
    """Yield the literal texts of the expressions inside the argument of an operator."""
    is_class = isinstance(argument, list) and argument and isinstance(argument[0], tuple)
    if isinstance(argument, _parser.SubPattern) or is_class:
        yield from literals(argument)
    elif isinstance(argument, list | tuple):
        for part in argument:
            yield from _inside(part)


def lines_of(
    tokens: Sequence[str], longest: int, count: int, random: Random, *, padded: bool
) -> list[str]:
    """Return lines of up to `longest` tokens: mostly in published form, some joined or repeated.

    Args:
        tokens: The tokens.
        longest: The most tokens of a line.
        count: The number of lines.
        random: Decides everything.
        padded: The published lines begin and end with a space.
    """
    lines = []
    for _ in range(count):
        chosen = random.choices(tokens, k=int(random.random() * longest) + 1)
        kind = random.random()
        if kind < 0.75:
            line = " ".join(chosen)
        elif kind < 0.85:
            line = "".join(chosen)
        elif kind < 0.9:
            line = " ".join(chosen[:2]) * 3
        else:
            line = "".join(t + (" ", " ", "", "  ")[int(random.random() * 4)] for t in chosen)
        if (random.random() < 0.9) == padded:
            line = f" {line} "
        if random.random() < 0.02:
            place = int(random.random() * len(line))
            line = line[:place] + random.choice(ODD_SPACES) + line[place:]
        lines.append(line)
    return lines
