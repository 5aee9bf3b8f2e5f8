"""The short form of a signature: the same protocol and model in fewer characters.

Keys are abbreviated, and what follows from the rest is left out: `ask` if it is `everything`, a
`stride` that equals the context, a `dtype` of float32. The fields that only affect the last digits
(`attn`, `gemm`, `map`, `batch`) are left out for good. The short form reads back to everything
else, so signatures of different protocols have different short forms.
"""

from collections.abc import Mapping

SHORT = {
    "task": "t",
    "data": "d",
    "ask": "a",
    "records": "r",
    "detok": "dt",
    "unit": "u",
    "lead": "le",
    "join": "j",
    "pack": "pk",
    "drop": "dr",
    "draw": "dw",
    "norm": "n",
    "filter": "f",
    "ends": "e",
    "ctx": "c",
    "stride": "s",
    "windows": "w",
    "tail": "tl",
    "mean": "mn",
    "start": "st",
    "specials": "sp",
    "tokens": "tk",
    "limit": "l",
    "model": "m",
    "peft": "p",
    "code": "co",
    "tok": "to",
    "dtype": "ty",
    "quant": "q",
    "v": "v",
}
LONG = {short: key for key, short in SHORT.items()}
LEFT_OUT = {"attn", "gemm", "map", "batch"}
USUAL = {"ask": "everything", "dtype": "float32"}


def shortened(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of a signature's short form.

    >>> shortened({"task": "ptb", "data": "dd65dff3", "ask": "everything", "ctx": "1024",
    ...            "stride": "1024", "model": "gpt2@607a30d7", "attn": "packed", "v": "0.1.0"})
    {'t': 'ptb', 'd': 'dd65dff3', 'c': '1024', 'm': 'gpt2@607a30d7', 'v': '0.1.0'}
    """
    short: dict[str, str] = {}
    for key, value in fields.items():
        is_usual = USUAL.get(key) == value and "model" in fields
        is_disjoint = key == "stride" and _stands_for_stride(fields) and value == fields.get("ctx")
        if key not in LEFT_OUT and not is_usual and not is_disjoint:
            short[SHORT.get(key, key)] = value
    return short


def expanded(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of a signature from those of its short form; others stay as they are.

    >>> expanded({"t": "ptb", "d": "dd65dff3", "c": "1024", "m": "gpt2@607a30d7", "v": "0.1.0"})
    {'task': 'ptb', 'data': 'dd65dff3', 'ask': 'everything', 'ctx': '1024', 'stride': '1024', \
'model': 'gpt2@607a30d7', 'dtype': 'float32', 'v': '0.1.0'}
    """
    if "t" not in fields or "task" in fields:
        return dict(fields)
    named = {LONG.get(key, key): value for key, value in fields.items()}
    if "model" in named:
        named = {**USUAL, **named}
    if "stride" not in named and "ctx" in named and _stands_for_stride(named):
        named["stride"] = named["ctx"]
    order = [*SHORT]
    return {key: named[key] for key in sorted(named, key=lambda key: _place(key, order))}


def _stands_for_stride(fields: Mapping[str, str]) -> bool:
    """Return whether an absent stride stands for the context: only running text has a stride."""
    return fields.get("ask", USUAL["ask"]) == USUAL["ask"] and "model" in fields


def _place(key: str, order: list[str]) -> int:
    return order.index(key) if key in order else order.index("v") - 1
