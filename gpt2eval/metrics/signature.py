"""Write, parse and compare signatures: one line that states the protocol and model of a number.

A signature consists of `key:value` pairs joined by `|`; the pairs before `model:` are the protocol,
and the version is last. White space, quotes, `|` and `%` in a value are percent-encoded, but not
the `|` of a token such as `<|endoftext|>`.
"""

import re
from collections.abc import Mapping, Set
from functools import lru_cache
from typing import NamedTuple

from gpt2eval.errors import UsageError
from gpt2eval.metrics.older_fields import quantization
from gpt2eval.metrics.pasted import CLOSING_TAG, SEPARATOR, find, without_punctuation
from gpt2eval.metrics.short_form import expanded, shortened
from gpt2eval.types import ModelIdentity

MODEL = ("model", "peft", "code", "tok", "dtype", "quant", "attn", "gemm", "map", "batch", "v")
# Characters that would end a value or the line, hide a separator, or look like HTML.
RESERVED = re.compile(
    rf"[%\s'\"`]|{SEPARATOR.pattern}|<\Z|\\(?=\||\Z)|&(?=lt;|gt;|#124;)|<(?={CLOSING_TAG}\Z)"
)
BEAM = re.compile(r"\.w\d+\.d\d+\Z")  # a filter's width and depth in older signatures
ENCODED = re.compile("(?:%[0-9A-F]{2})+")
# Fields that only affect the last digits of a number.
DIGITS_ONLY = {"dtype", "quant", "attn", "gemm", "map", "batch"}
HALF = {"bfloat16", "float16"}
FREE = {*MODEL, "task"}  # fields that are not part of the protocol
# Values of `start` in older signatures, which state the task's rule instead of the token.
RULES = {"eot", "own", "eot+own"}


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

    >>> written({"task": "mine", "lead": "a|b", "start": "<|endoftext|>"})
    'task:mine|lead:a%7Cb|start:<|endoftext|>'
    """
    pairs = [f"{key}:{RESERVED.sub(_encoded, value)}" for key, value in fields.items()]
    line = "|".join(pairs)
    kept = without_punctuation(line)
    return kept + "".join(f"%{byte:02X}" for byte in line[len(kept) :].encode())


def short(line: str) -> str:
    """Return the short form of a signature.

    >>> short("task:ptb|data:dd65dff3|ask:everything|detok:ptb.1|ctx:512|model:m@1|attn:sdpa|v:1")
    't:ptb|d:dd65dff3|dt:ptb.1|c:512|m:m@1|v:1'
    """
    return written(shortened(read(line)))


def _encoded(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())


def read(line: str) -> dict[str, str]:
    """Parse a signature, or its short form, into its fields, in order; ignores text around it.

    The line may come from a Markdown table, in quotes or backticks, and may be wrapped after a `|`.
    Raises UsageError for text that is not a signature.
    """
    return dict(_fields(line))


@lru_cache(maxsize=1 << 15)  # a table of 1,000 models reads each of its 12,000 signatures thrice
def _fields(line: str) -> Mapping[str, str]:
    found = find(line)
    if not found:
        raise UsageError(
            f"{line:.60}: not a signature; expected task:...|data:...|..., as printed under a table"
        )
    fields: dict[str, str] = {}
    for pair in SEPARATOR.split(found):
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
    fields = expanded(fields)
    if "quant" in fields:
        fields["quant"] = quantization(fields["quant"])
    return fields


def protocol_of(line: str) -> str:
    """Return the part of a signature before the model."""
    return line.partition("|model:")[0]


def differences(first: Mapping[str, str], second: Mapping[str, str]) -> list[Difference]:
    """Return the fields in which two signatures differ, in signature order."""
    keys = dict.fromkeys([*first, *second])
    pairs = [Difference(key, first.get(key, ""), second.get(key, "")) for key in keys]
    return [pair for pair in pairs if pair.first != pair.second]


def protocol_differences(
    first: Mapping[str, str], second: Mapping[str, str], ignored: Set[str] = FREE
) -> list[Difference]:
    """Return the fields in which two protocols differ, except `ignored` ones.

    Tokenizers have different start tokens. With two tokenizers, any token corresponds to any other,
    and a token that a tokenizer adds by itself corresponds to `none` of one that adds none. With
    one tokenizer, the tokens must be the same.
    """
    alike = {
        *({"start"} if _same_start(first, second) else ()),
        *({"windows"} if _windows(first, second) == _windows(second, first) else ()),
    }
    pairs = differences(first, second)
    return [pair for pair in pairs if pair.field not in alike and pair.field not in ignored]


def _same_tokenizer(first: Mapping[str, str], second: Mapping[str, str]) -> bool:
    return "tok" in first and first["tok"] == second.get("tok")


def _windows(fields: Mapping[str, str], other: Mapping[str, str]) -> str:
    """Return the kind of windows, as far as it matters beside another signature.

    `-start` repeats what `start:none` says; `+start` is a rule about a tokenizer's own token.
    """
    kind = fields.get("windows", "regular").removesuffix("-start")
    return kind if _same_tokenizer(fields, other) else kind.removesuffix("+start")


def _same_start(first: Mapping[str, str], second: Mapping[str, str]) -> bool:
    """Whether two signatures put corresponding tokens, or none, before a text."""
    starts = {first.get("start", ""), second.get("start", "")}
    if len(starts) == 1 or "" in starts:
        return len(starts) == 1
    if rules := starts & RULES:
        # An older signature: "eot" was a token, "own" any token or none.
        return len(rules) == 1 and ("none" not in starts or "own" in rules)
    if _same_tokenizer(first, second):
        return False
    if "none" not in starts:
        return True
    without, with_token = (first, second) if first["start"] == "none" else (second, first)
    kind = with_token.get("windows", "")  # stated if the token is one that the tokenizer adds
    return bool(kind) and not without.get("windows", "").endswith("-start")


def names_older_search(fields: Mapping[str, str]) -> bool:
    """Return whether the stop-word filter is the beam search of older versions."""
    return BEAM.search(fields.get("filter", "")) is not None


def comparable(first: Mapping[str, str], second: Mapping[str, str]) -> tuple[bool, str]:
    """Return whether two numbers are comparable, and the reason.

    Numbers are comparable if their protocols and versions agree. Models may differ, and so may
    tokenizers, with their start tokens, unless the unit is the token. The task's name is ignored,
    because the other fields state its protocol.
    """
    differing = {pair.field: None for pair in differences(first, second)}
    protocol = [pair.field for pair in protocol_differences(first, second)]
    if protocol:
        older = [fields["filter"] for fields in (first, second) if names_older_search(fields)]
        note = f"; {older[0]} is the beam search of an older gpt2eval" if older else ""
        return False, f"the protocols differ in {', '.join(protocol)}{note}"
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
