"""The signature: one line that says exactly which protocol and which model made a number, and
reading it back.

`key:value` pairs joined by `|`, the version last; those before `model:` are the protocol. White
space, quotes, `|` and
`%` inside a value are percent-encoded, so that every line reads back as what it was made from.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from gpt2eval.errors import UsageError
from gpt2eval.types import ModelIdentity

MODEL = ("model", "peft", "code", "tok", "dtype", "quant", "attn", "gemm", "map", "batch", "v")
TELLING = re.compile(r"[%|\s'\"]")  # what would end a value, or the line
ENCODED = re.compile("(?:%[0-9A-F]{2})+")
DIGITS_ONLY = {
    "dtype",
    "quant",
    "attn",
    "gemm",
    "map",
    "batch",
}  # another of these moves a number in its last digits
HALF = {"bfloat16", "float16"}
FREE = {*MODEL, "task"}  # two numbers are of one protocol whatever these say


class Difference(NamedTuple):
    """A field in which two signatures differ; "" where one has none."""

    field: str
    first: str
    second: str


def signature(
    task: str, protocol: Mapping[str, str], unit: str, model: ModelIdentity, version: str
) -> str:
    """Return the signature of a metric; fields have a fixed order, and those before `model:`
    are the protocol.

    `unit` is the denominator with its count; it stands after `detok`.

    >>> model = ModelIdentity("gpt2", "607a30d", "1f2e3d4c", "float32", "packed", "cpu")
    >>> signature("ptb", {"data": "dd65dff3", "detok": "ptb.1"}, "word+eol@82430", model, "0.1.0")
    'task:ptb|data:dd65dff3|detok:ptb.1|unit:word+eol@82430|model:gpt2@607a30d|tok:1f2e3d4c|dtype:float32|attn:packed|v:0.1.0'
    """
    fields = {"task": task}
    for key, value in protocol.items():
        fields[key] = value
        if key == "detok":
            fields["unit"] = unit
    computed = model_fields(model) | {"v": version}
    return written(fields | {key: computed[key] for key in MODEL if key in computed})


def model_fields(model: ModelIdentity) -> dict[str, str]:
    """Return the fields of a signature that name the model; a local model appears by its label,
    not its path.
    """
    named = f"{model.label or model.name}@{model.revision}"
    return model.stated() | {"model": named, "tok": model.tokenizer}


def written(fields: Mapping[str, str]) -> str:
    """Fields as a signature.

    >>> written({"task": "mine", "lead": "a|b"})
    'task:mine|lead:a%7Cb'
    """
    return "|".join(f"{key}:{TELLING.sub(_encoded, value)}" for key, value in fields.items())


def _encoded(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())


def read(line: str) -> dict[str, str]:
    """The fields of a signature, in order; what stands before `task:` (a printed value, a row's
    name) is passed over.

    Raises UsageError for text that is no signature.
    """
    found = re.search(r"(?:^|[\s'\"])(task:[^\s'\"]*)", line)
    if not found:
        raise UsageError(
            f"{line:.60}: not a signature; expected task:...|data:...|..., as printed under a table"
        )
    fields: dict[str, str] = {}
    for pair in found[1].split("|"):
        key, colon, value = pair.partition(":")
        if not colon or not re.fullmatch(r"[a-z]+", key) or key in fields:
            raise UsageError(f"signature: field {pair!r:.60}: expected key:value, each key once")
        try:
            fields[key] = ENCODED.sub(
                lambda match: bytes.fromhex(match[0].replace("%", "")).decode(), value
            )
        except UnicodeDecodeError:
            raise UsageError(
                f"signature: field {pair!r:.60}: what is percent-encoded in it is no text"
            ) from None
    return fields


def protocol_of(line: str) -> str:
    """The part of a signature that two comparable numbers share."""
    return line.partition("|model:")[0]


def differences(first: Mapping[str, str], second: Mapping[str, str]) -> list[Difference]:
    """The fields in which two signatures differ, in their order."""
    keys = dict.fromkeys([*first, *second])
    pairs = [Difference(key, first.get(key, ""), second.get(key, "")) for key in keys]
    return [pair for pair in pairs if pair.first != pair.second]


def comparable(first: Mapping[str, str], second: Mapping[str, str]) -> tuple[bool, str]:
    """Whether two numbers may be set side by side, and why.

    They may, where the protocols agree in everything; models may differ, and tokenizers too,
    unless what is divided
    by is their tokens. The name of the task decides nothing: what it stands for is in the other
    fields.
    """
    apart = differences(first, second)
    protocol = [pair.field for pair in apart if pair.field not in FREE]
    if protocol:
        return False, f"the protocols differ in {', '.join(protocol)}"
    of = {pair.field for pair in apart}
    if "tok" in of and first.get("unit", "").startswith("token@"):
        return False, "they are per token, of different tokenizers"
    if "v" in of:
        return False, "they are of different versions of gpt2eval"
    if ({first.get("dtype"), second.get("dtype")} & HALF and "dtype" in of) or "quant" in of:
        return (
            True,
            "one protocol; half precision and quantization move a number"
            " by some tenths of a percent",
        )
    if digits := sorted(of & DIGITS_ONLY):
        return True, f"one protocol; {', '.join(digits)} may move the last digits"
    return True, "one protocol" + (
        "" if "model" in first and "model" in second else ", as far as given"
    )
