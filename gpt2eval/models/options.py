"""How to load a model: the options that every backend may use."""

from dataclasses import dataclass
from typing import TypedDict

from gpt2eval.errors import UsageError


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to load a model. A backend uses the options that apply to it and rejects the others.

    Args:
        dtype: The precision of weights and arithmetic: float32, float16, bfloat16 or float64.
        device: `auto` (the GPU if one exists, else the CPU) or a PyTorch device.
        revision: A branch, tag or commit on the Hub.
        attn: The attention implementation: `packed`, or one of transformers'.
        trust_remote_code: Whether code that comes with the checkpoint may run.
        device_map: How transformers distributes layers over devices, such as `auto`.
        tp: The number of processes for tensor parallelism.
        tokenizer: `auto`, `file`, or a folder, file or Hub id to load the tokenizer from.
        peft: The folder or Hub id of an adapter to merge into the weights.
        quantization: A method that stores weights in fewer bits.
        api_key_file: A file with the key of a model server, on one line.
        api_timeout: Seconds within which a model server must begin an answer; 600 by default.
        api_max_answer: Bytes that an answer of a model server may have; by default a limit that
            grows with the prompt.

    Examples:
        >>> LoadOptions(dtype="bfloat16", device="cuda:1").dtype
        'bfloat16'
    """

    dtype: str = "float32"
    device: str = "auto"
    revision: str | None = None
    attn: str | None = None
    trust_remote_code: bool = False
    device_map: str | None = None
    tp: int | None = None
    tokenizer: str | None = None
    peft: str | None = None
    quantization: str | None = None
    api_key_file: str | None = None
    api_timeout: float | None = None
    api_max_answer: int | None = None

    def __post_init__(self) -> None:
        """Raise UsageError for a limit that is not positive."""
        for name in ("api_timeout", "api_max_answer"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(f"--{name.replace('_', '-')} {value}: expected a number above 0")

    def reject_unsupported(self, model_name: str, *unsupported: str) -> None:
        """Raise UsageError if an option that a model does not support is set."""
        option = next((option for option in unsupported if getattr(self, option)), None)
        if option is not None:
            raise UsageError(
                f"--{option.replace('_', '-')}: does not apply to {model_name}; "
                "expected a transformers model (hf:)"
            )


class LoadKeywords(TypedDict, total=False):
    """The fields of `LoadOptions` as keywords of a function."""

    dtype: str
    device: str
    revision: str | None
    attn: str | None
    trust_remote_code: bool
    device_map: str | None
    tp: int | None
    tokenizer: str | None
    peft: str | None
    quantization: str | None
    api_key_file: str | None
    api_timeout: float | None
    api_max_answer: int | None
