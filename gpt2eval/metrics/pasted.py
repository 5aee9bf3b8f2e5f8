"""Find a signature in the text that it was pasted from: prose, a Markdown table, a wrapped line."""

import re

# "|", but not the one in a token such as <|endoftext|>.
SEPARATOR = re.compile(r"(?<!<)\|(?!>)")
KEY = re.compile(rf"{SEPARATOR.pattern}[a-z]+:")
# A signature, or its short form.
SIGNATURE = re.compile(r"(?<![A-Za-z0-9.%/-])(?:task:|t:[^\s'\"`]+?\|d:)[^\s'\"`]+")
WRAPPED = re.compile(r"\|[^\S\n]*\n\s*(?=[a-z]+:)")  # a line break after a separator
# How Markdown and HTML sources write a separator and the brackets of a token such as <bos>.
ESCAPES = {"\\|": "|", "&#124;": "|", "&lt;": "<", "&gt;": ">"}
CLOSING_TAG = "/(?:code|pre|p|td)>"
CLOSING_TAGS = re.compile(f"(?:<{CLOSING_TAG})+\\Z")
# What may follow a signature; brackets only if they are unpaired.
AFTER = "|,.;*\u201d\u2019"
BRACKETS = {")": "(", "]": "[", "}": "{", ">": "<"}


def find(text: str) -> str:
    """Return the first signature in a text, or "".

    >>> find("| PTB | `task:ptb|ctx:512|v:0.1.0` |")
    'task:ptb|ctx:512|v:0.1.0'
    """
    for escape, character in ESCAPES.items():
        text = text.replace(escape, character)
    match = SIGNATURE.search(WRAPPED.sub("|", text))
    return without_punctuation(CLOSING_TAGS.sub("", match[0])) if match else ""


def without_punctuation(line: str) -> str:
    """Return a signature without what follows it in a text: marks, and unpaired brackets.

    >>> without_punctuation("task:ptb|start:<bos>|v:0.1.0|)."), without_punctuation("start:<bos>")
    ('task:ptb|start:<bos>|v:0.1.0', 'start:<bos>')
    """
    last_field = line[max((match.start() for match in KEY.finditer(line)), default=0) :]
    unpaired = {
        closing: last_field.count(closing) - last_field.count(opening)
        for closing, opening in BRACKETS.items()
    }
    end = len(line)
    while end and (line[end - 1] in AFTER or unpaired.get(line[end - 1], 0) > 0):
        end -= 1
        if line[end] in unpaired:
            unpaired[line[end]] -= 1
    return line[:end]
