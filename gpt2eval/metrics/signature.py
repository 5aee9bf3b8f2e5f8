"""Write, parse and compare signatures: one line that states the protocol and model of a number.

A signature consists of `key:value` pairs joined by `|`; the pairs before `model:` are the protocol,
and the version is last. White space, quotes, `|` and `%` in a value are percent-encoded.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from gpt2eval.errors import UsageError
from gpt2eval.types import ModelIdentity

MODEL = ("model", "peft", "code", "tok", "dtype", "quant", "attn", "gemm", "map", "batch", "v")
RESERVED = re.compile(r"[%|\s'\"]")  # characters that would end a value or the line
ENCODED = re.compile("(?:%[0-9A-F]{2})+")
# Fields that only affect the last digits of a number.
DIGITS_ONLY = {"dtype", "quant", "attn", "gemm", "map", "batch"}
HALF = {"bfloat16", "float16"}
FREE = {*MODEL, "task"}  # fields that are not part of the protocol


class Difference(NamedTuple):
    """A field in which two signatures differ; "" stands for a missing value."""

    field: str
    first: str
    second: str


def signature(
    task: str, protocol: Mapping[str, str], unit: str, model: ModelIdentity, version: str
) -> str:
    """Return the signature of a metric, with its fields in a fixed order.

    `unit` is the denominator with its count; it follows `detok`.

    >>> model = ModelIdentity("gpt2", "607a30d", "1f2e3d4c", "float32", "packed", "cpu")
    >>> protocol = {"data": "dd65dff3", "detok": "ptb.1"}
    >>> line = signature("ptb", protocol, "word+eol@82430", model, "0.1.0")
    >>> line.partition("|model:")[0]
    'task:ptb|data:dd65dff3|detok:ptb.1|unit:word+eol@82430'
    >>> line.partition("|model:")[2]
    'gpt2@607a30d|tok:1f2e3d4c|dtype:float32|attn:packed|v:0.1.0'
    """
    fields = {"task": task}
    for key, value in protocol.items():
        fields[key] = value
        if key == "detok":
            fields["unit"] = unit
    computed = model_fields(model) | {"v": version}
    return written(fields | {key: computed[key] for key in MODEL if key in computed})


def model_fields(model: ModelIdentity) -> dict[str, str]:
    """Return the fields that identify the model; a local model appears by label, not by path."""
    named = f"{model.label or model.name}@{model.revision}"
    return model.stated() | {"model": named, "tok": model.tokenizer}


def written(fields: Mapping[str, str]) -> str:
    """Format fields as a signature.

    >>> written({"task": "mine", "lead": "a|b"})
    'task:mine|lead:a%7Cb'
    """
    return "|".join(f"{key}:{RESERVED.sub(_encoded, value)}" for key, value in fields.items())


def _encoded(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())


def read(line: str) -> dict[str, str]:
    """Parse a signature into its fields, in order; ignores text before `task:`.

    Raises UsageError for text that is not a signature.
    """
    match = re.search(r"(?:^|[\s'\"])(task:[^\s'\"]*)", line)
    if not match:
        raise UsageError(
            f"{line:.60}: not a signature; expected task:...|data:...|..., as printed under a table"
        )
    fields: dict[str, str] = {}
    for pair in match[1].split("|"):
        key, colon, value = pair.partition(":")
        if not colon or not re.fullmatch(r"[a-z]+", key) or key in fields:
            raise UsageError(f"signature: field {pair!r:.60}: expected key:value, each key once")
        try:
            fields[key] = ENCODED.sub(
                lambda escape: bytes.fromhex(escape[0].replace("%", "")).decode(), value
            )
        except UnicodeDecodeError:
            raise UsageError(
                f"signature: field {pair!r:.60}: its percent-encoded bytes are not UTF-8"
            ) from None
    return fields


def protocol_of(line: str) -> str:
    """Return the part of a signature before the model."""
    return line.partition("|model:")[0]


def differences(first: Mapping[str, str], second: Mapping[str, str]) -> list[Difference]:
    """Return the fields in which two signatures differ, in signature order."""
    keys = dict.fromkeys([*first, *second])
    pairs = [Difference(key, first.get(key, ""), second.get(key, "")) for key in keys]
    return [pair for pair in pairs if pair.first != pair.second]


def comparable(first: Mapping[str, str], second: Mapping[str, str]) -> tuple[bool, str]:
    """Return whether two numbers are comparable, and the reason.

    Numbers are comparable if their protocols and versions agree. Models may differ, and so may
    tokenizers unless the unit is the token. The task's name is ignored, because the other fields
    state its protocol.
    """
    differing = {pair.field: None for pair in differences(first, second)}
    protocol = [field for field in differing if field not in FREE]
    if protocol:
        return False, f"the protocols differ in {', '.join(protocol)}"
    if "tok" in differing and first.get("unit", "").startswith("token@"):
        return False, "both are per token, with different tokenizers"
    if "v" in differing:
        return False, "they come from different versions of gpt2eval"
    is_half = bool({first.get("dtype"), second.get("dtype")} & HALF)
    if "quant" in differing or ("dtype" in differing and is_half):
        return (
            True,
            "one protocol; half precision and quantization move a number"
            " by some tenths of a percent",
        )
    if digits := sorted(DIGITS_ONLY & differing.keys()):
        return True, f"one protocol; {', '.join(digits)} may move the last digits"
    return True, "one protocol" + (
        "" if "model" in first and "model" in second else ", as far as the signatures state it"
    )
