"""Checks of transformers models: before memory is allocated, and after weights are loaded."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

from gpt2eval.errors import UsageError
from gpt2eval.models.formats.files import weight_files
from gpt2eval.models.formats.naming import plain_name
from gpt2eval.models.load_errors import expected_errors
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization.loaded import LoadedTokenizer

LAYER = re.compile(r"\.\d+\.")


def check_config(name: str, config: Any, options: LoadOptions) -> None:
    """Raise UsageError for a model that is not a causal LM, or whose quantization does not fit.

    It must be the one that `--quantization` names, and known to transformers. Also raises it for
    the id of a special token that torch has no integer for.
    """
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        id_ = getattr(config, key, None)
        if isinstance(id_, int) and abs(id_) >= 1 << 63:
            raise UsageError(f"model {name}: {key} has more than 63 bits; expected a token's id")
    masked = [kind for kind in config.architectures or () if "MaskedLM" in kind]
    if getattr(config, "is_encoder_decoder", False) or masked:
        kind = masked[0] if masked else f"an encoder-decoder ({config.model_type})"
        raise UsageError(
            f"model {name}: {kind}; expected a causal language model, which predicts each token "
            "from the tokens before it"
        )
    stored = stored_quantization(config)
    if options.quantization in ("gptq", "awq") and stored != options.quantization:
        raise UsageError(
            f"--quantization {options.quantization}: {name} stores {stored or 'plain'} weights; "
            f"expected a checkpoint quantized by {options.quantization}"
        )
    if stored and stored not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        raise UsageError(
            f"model {name}: unknown quantization method {stored!r:.40}; "
            "expected a method that transformers supports"
        )


def check_size(name: str, config: Any, options: LoadOptions) -> None:
    """Raise UsageError if the config implies more parameters than the weights have bytes.

    This prevents a damaged config from allocating all memory. Skips checkpoints with their own code
    and quantized weights, whose size is not known.
    """
    has_code = options.trust_remote_code and getattr(config, "auto_map", None)
    if not Path(name).is_dir() or stored_quantization(config) or has_code:
        return
    subject = f"model {name}: config.json"
    parameters = _implied_parameters(subject, config)
    size = sum(path.stat().st_size for path in weight_files(Path(name)))
    if 0 < size < parameters:
        raise UsageError(
            f"{subject} implies {parameters} parameters; the weight files have {size} bytes; "
            "expected at least one per parameter"
        )


def check_gguf_size(name: str, config: Any, path: Path) -> None:
    """Raise UsageError if the metadata imply more parameters than a GGUF file has bits.

    Each size may be possible alone: a GPT-2 allocates a row of its width per position.
    """
    parameters = _implied_parameters(f"model {name}: its metadata", config)
    size = path.stat().st_size
    if parameters > 8 * size:  # no type of llama.cpp takes less than a bit
        raise UsageError(
            f"model {name}: its metadata imply {parameters:,} parameters; the file has {size:,} "
            "bytes; expected at least one bit per parameter"
        )


def _implied_parameters(subject: str, config: Any) -> int:
    """Count the parameters of the model that a config describes, without allocating them."""
    with (
        expected_errors(
            subject,
            Exception,  # building a model from wrong values may raise anything
            expectation="values that transformers accepts",
        ),
        torch.device("meta"),
    ):
        model = AutoModelForCausalLM.from_config(config)
    return sum(parameter.numel() for parameter in model.parameters())


def check_tokens(name: str, tokenizer: LoadedTokenizer, config: Any) -> None:
    """Raise UsageError for a start token without a row in the model's vocabulary."""
    size = config.get_text_config().vocab_size
    for role, token in (("start token", tokenizer.start), ("token before a text", tokenizer.added)):
        if token is not None and not 0 <= token < size:
            raise UsageError(
                f"model {name}: the tokenizer's {role} is {token}, but the model's vocabulary has "
                f"{size}; expected --tokenizer with the tokenizer that it was trained with"
            )


def check_loaded_weights(name: str, report: Mapping[str, Any], model: Any) -> None:
    """Raise UsageError if transformers initialized weights at random or ignored layers."""
    patterns = {LAYER.sub(".N.", key) for key in model.state_dict()}
    ignored_layers = sorted(
        key
        for key in report.get("unexpected_keys", ())
        if LAYER.search(key) and LAYER.sub(".N.", key) in patterns
    )
    if ignored_layers:
        raise UsageError(
            f"model {name}: its config has no layer for {ignored_layers[0]} "
            f"({len(ignored_layers)} weights ignored); expected all layers"
        )
    for problem in ("missing_keys", "mismatched_keys", "error_msgs"):
        if keys := sorted(map(str, report.get(problem, ()))):
            raise UsageError(
                f"model {name}: {problem.replace('_', ' ')}: {keys[0]} ({len(keys)} in all); "
                "expected all its weights"
            )


def stored_quantization(config: Any) -> str:
    """Return the method that quantized the stored weights, or ""."""
    quantization = getattr(config, "quantization_config", None) or {}
    if isinstance(quantization, dict):
        return plain_name(quantization.get("quant_method", ""))
    return plain_name(quantization.quant_method)
