"""Load the model that a signature names, and check that it has not changed.

A signature names a local model by its file or folder without the path, and by a hash. Does not
know protocols.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gpt2eval.errors import UsageError
from gpt2eval.metrics import signature
from gpt2eval.models import identified, registry
from gpt2eval.models.options import LoadOptions
from gpt2eval.types import Model

# Fields that must match when the signature chooses the model.
MODEL_FIELDS = ("model", "peft", "code", "tok", "quant")
# Schemes of models that are files or folders.
LOCAL_SCHEMES = ("openai", "nanogpt", "nanogpt-tanh", "llmc", "litgpt", "gguf", "toy:unigram")


def load_signature_model(name: str, fields: Mapping[str, str], options: LoadOptions) -> Model:
    """Load the model that a signature names. Raises UsageError if the model has changed."""
    if not name:
        raise UsageError("the signature names no model; expected --model")
    from gpt2eval.models.formats.devices import QUANTIZATION_PACKAGES

    _check_exists(name, fields, options)
    adapter = fields.get("peft", "").rpartition("@")[0] or fields.get("peft")
    # Other methods are a property of the checkpoint, not an option.
    quantization = fields.get("quant") if fields.get("quant") in QUANTIZATION_PACKAGES else None
    options = replace(
        options,
        peft=options.peft or adapter,
        quantization=options.quantization or quantization,
    )
    try:
        model = registry.load_model(name, options)
    except UsageError as error:
        if ":" in name or "/" in name or Path(name).exists():
            raise
        raise UsageError(
            f"signature: {name} is not a local folder and did not load from the Hub ({error}); "
            "if the signature names a local model, give --model PATH"
        ) from error
    _check_model(model, fields)
    return model


def _check_exists(name: str, fields: Mapping[str, str], options: LoadOptions) -> None:
    """Raise UsageError if a signature names a local model or adapter that does not exist.

    A signature has only the name of a local file or folder, not its path.
    """
    scheme = next((scheme for scheme in LOCAL_SCHEMES if name.startswith(f"{scheme}:")), None)
    if scheme and not Path(name.removeprefix(f"{scheme}:")).exists():
        raise UsageError(f"the signature names a local model ({name}); give --model PATH")
    adapter, has_hash, _ = fields.get("peft", "").rpartition("@")
    if has_hash and not options.peft and not Path(adapter).exists():
        raise UsageError(
            f"the signature names a local adapter ({adapter}); give --peft PATH to gpt2eval run, "
            "with the protocol of the signature"
        )


def check_local_weights(model: Model, fields: Mapping[str, str]) -> None:
    """Raise UsageError if a local model has the signature's name but different weights."""
    identity = identified.identity_of(model)
    name, _, revision = fields.get("model", "").rpartition("@")
    if identity.label and identity.label == name and identity.revision != revision:
        raise UsageError(
            f"signature: model: {name} has the hash {revision} in the signature, "
            f"{identity.revision} here; expected the same weights"
        )


def _check_model(model: Model, fields: Mapping[str, str]) -> None:
    """Raise UsageError, naming the fields, if a model is not the one in a signature."""
    actual = signature.model_fields(identified.identity_of(model))
    differences = [
        f"{key}: the signature has {fields[key]}, this model {actual.get(key, '(none)')}"
        for key in MODEL_FIELDS
        if key in fields and fields[key] != actual.get(key)
    ]
    if differences:
        raise UsageError(
            f"signature: a different model: {'; '.join(differences)}; "
            "expected the same model, or --model"
        )
