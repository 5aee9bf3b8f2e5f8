"""How to load a model: the options that every backend may use."""

from dataclasses import dataclass

from gpt2eval.errors import UsageError


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to load a model; a backend uses what applies to it."""

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

    def refuse(self, name: str, *options: str) -> None:
        """Raise UsageError where one of these is asked for, which a kind of model has no use for."""
        if asked := [option for option in options if getattr(self, option)]:
            raise UsageError(
                f"--{asked[0].replace('_', '-')}: no use for {name}; expected it with a model of transformers (hf:)"
            )
