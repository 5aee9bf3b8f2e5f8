"""Read JSON in which every key of an object occurs once.

Python's reader takes the last of several equal keys, others take the first.
"""

import json
from typing import Any


class RepeatedKeyError(ValueError):
    """An object has a key twice."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key!r:.60} occurs twice; expected it once")


def loads(content: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        RepeatedKeyError: An object has a key twice.
        ValueError: The text is not JSON.
        RecursionError: It is nested too deeply.

    Examples:
        >>> loads('{"text": "one", "text": "two"}')
        Traceback (most recent call last):
        ...
        gpt2eval.config.json_reader.RepeatedKeyError: the key 'text' occurs twice; expected it once
    """
    if isinstance(content, bytes):
        content = content.decode(json.detect_encoding(content), "surrogatepass")
    return DECODER.decode(content)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise RepeatedKeyError(next(key for key in keys if keys.count(key) > 1))
    return found


DECODER = json.JSONDecoder(object_pairs_hook=_object)  # `json.loads` makes one for each text
