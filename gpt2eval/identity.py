"""The identity of a model: the facts that decide its numbers. Does not know how they are found."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """The facts about a model that decide its numbers. An empty string means "does not apply".

    Attributes:
        name: The model as it was requested.
        revision: Commit on the Hub, or the first digits of `weights`.
        tokenizer: Fingerprint of the tokenizer.
        dtype: Data type of the weights.
        attn: Attention implementation.
        device: Type of the device.
        weights: Hash of the weights.
        label: Replaces `name` in signatures, so that no signature contains a local path.
        shape: Architecture with its sizes.
        step: Training step.
        peft: Adapter.
        code: Origin of the code that came with the model.
        quant: Quantization.
        gemm: Library that multiplies matrices.
        map: How the model is spread over devices.
        batch: Tokens in a forward pass.
    """

    name: str
    revision: str
    tokenizer: str
    dtype: str
    attn: str
    device: str
    weights: str = ""
    label: str = ""
    shape: str = ""
    step: str = ""
    peft: str = ""
    code: str = ""
    quant: str = ""
    gemm: str = ""
    map: str = ""
    batch: str = ""

    def stated(self) -> dict[str, str]:
        """Return the fields that are not empty."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name))}
