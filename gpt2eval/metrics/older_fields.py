"""Values that signatures of older versions spell in another way."""

import re

ENUM_MEMBER = re.compile(r"QuantizationMethod\.(\w+)")  # a member of transformers' enum
METHODS = {
    "BITS_AND_BYTES": "bitsandbytes",
    "COMPRESSED_TENSORS": "compressed-tensors",
    "FPQUANT": "fp_quant",
    "AUTOROUND": "auto-round",
    "FOUR_OVER_SIX": "fouroversix",
}


def quantization(value: str) -> str:
    """Return a quantization with its method's name in place of a member of transformers' enum.

    >>> quantization("QuantizationMethod.BITS_AND_BYTES"), quantization("gguf")
    ('bitsandbytes', 'gguf')
    """
    return ENUM_MEMBER.sub(lambda member: METHODS.get(member[1], member[1].lower()), value)
