"""JSON that every parser reads: numbers in full precision, and never NaN or Infinity.

A number that JSON cannot write becomes null, and a key beside it states the reason:
`{"value": null, "value_reason": "infinite"}`.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from gpt2eval.config import json_reader
from gpt2eval.report.escape import json_text

REASON = "_reason"
REASONS = {math.inf: "infinite", -math.inf: "negative infinite"}
NOT_A_NUMBER = "not a number"
NUMBERS = {reason: number for number, reason in REASONS.items()} | {NOT_A_NUMBER: math.nan}


def dumps(value: object) -> str:
    """Return a value as strict JSON, indented by one space; unseen characters are escaped."""
    return json_text(json.dumps(finite(value), indent=1, ensure_ascii=False, allow_nan=False))


def loads(content: bytes) -> Any:
    """Return what `dumps` wrote. Raises ValueError or RecursionError for other content.

    >>> loads(b'{"value": null, "value_reason": "infinite"}')
    {'value': inf}
    """
    value = json_reader.loads(content)
    may_have_reasons = REASON.encode() in content or b"\\u" in content
    return restored(value) if may_have_reasons else value


def finite(value: Any) -> Any:
    """Return a value with null for numbers that are not finite, and the reasons beside them.

    >>> finite({"ci": [1.0, math.inf]})
    {'ci': [1.0, None], 'ci_reason': 'infinite'}
    """
    if isinstance(value, Mapping):
        result: dict[str, Any] = {}
        for key, entry in value.items():
            result[str(key)] = finite(entry)
            if reason := reason_of(entry):
                result[f"{key}{REASON}"] = reason
        return result
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if reason_of(value) else value


def reason_of(value: object) -> str:
    """Return why a number, or the first such number of a list, cannot be written; else ""."""
    if isinstance(value, list | tuple):
        return next((reason for entry in value if (reason := reason_of(entry))), "")
    if not isinstance(value, float) or math.isfinite(value):
        return ""
    return REASONS.get(value, NOT_A_NUMBER)


def restored(value: Any) -> Any:
    """Return a value that `finite` wrote as it was before: null beside its reason is a number.

    >>> restored({"value": None, "value_reason": "infinite"})
    {'value': inf}
    """
    if isinstance(value, list):
        return [restored(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    result: dict[str, Any] = {}
    for key, entry in value.items():
        name = key.removesuffix(REASON)
        if name != key and name in value:
            continue
        number = NUMBERS.get(str(value.get(f"{key}{REASON}")))
        result[key] = _filled(entry, number) if number is not None else restored(entry)
    return result


def _filled(value: Any, number: float) -> Any:
    if isinstance(value, list):
        return [_filled(entry, number) for entry in value]
    return number if value is None else value
