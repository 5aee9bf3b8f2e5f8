"""Score a model in place while it is being trained: its weights are shared and unchanged.

The backend wraps a shadow: new module objects around the same tensors, so that evaluation mode,
hooks and the engine's changes do not reach the model. Does not know training loops.
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from gpt2eval.errors import UsageError
from gpt2eval.models.engine.causal import CausalModel, assemble
from gpt2eval.models.engine.shadow import shadow_copy
from gpt2eval.models.formats.checks import check_tokens
from gpt2eval.models.formats.naming import local_label, step_suffix
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization import loading

LogitsFunction = Callable[[nn.Module, Tensor], Any]

# Where configurations of common code bases keep the longest input.
CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "block_size", "max_seq_len", "n_ctx")
# Where DistributedDataParallel and torch.compile keep the wrapped module.
WRAPPED_MODULE_KEYS = ("module", "_orig_mod")


class ForeignConfig(PreTrainedConfig):
    """The configuration of a module that does not come from transformers."""

    model_type = "module"


class ForeignModule(nn.Module):
    """Give any module that maps ids to logits the interface of a transformers model.

    Ids have the shape `[batch, length]`, logits `[batch, length, vocabulary]`.
    """

    def __init__(self, module: nn.Module, context: int, logits: LogitsFunction | None) -> None:
        super().__init__()
        self.module = module
        self._logits = logits or _call_module
        first_parameter = next(module.parameters())
        self.device = first_parameter.device
        self.dtype = first_parameter.dtype
        with torch.inference_mode():
            probe = torch.zeros(1, 2, dtype=torch.long, device=self.device)
            vocabulary_size = self(probe).logits.shape[-1]
        self.config = ForeignConfig(
            vocab_size=vocabulary_size,  # type: ignore[call-arg]
            max_position_embeddings=context,  # type: ignore[call-arg]
        )
        self.config._attn_implementation = "module"

    def forward(self, input_ids: Tensor, use_cache: bool = False) -> SimpleNamespace:
        logits = self._logits(self.module, input_ids)
        if not isinstance(logits, Tensor) or logits.shape[:-1] != input_ids.shape:
            shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise UsageError(
                f"{type(self.module).__name__}: returned {shape} for ids {list(input_ids.shape)}; "
                "expected logits at every position"
            )
        return SimpleNamespace(logits=logits.clone())  # the engine overwrites its logits

    def get_output_embeddings(self) -> None:
        """Return None: the output layer of a foreign module is unknown."""


def backend_of_module(
    module: nn.Module,
    tokenizer: Any,
    *,
    name: str | None = None,
    context: int | None = None,
    step: int | None = None,
    logits: LogitsFunction | None = None,
) -> CausalModel:
    """Return a backend for a live module; it is valid until the weights change.

    Args:
        module: the model; wrappers of DistributedDataParallel and torch.compile are removed.
        tokenizer: a tokenizer of transformers or `tokenizers`, or a folder or Hub id with one.
        name: the model name in results; by default the one in its configuration, or its class.
        context: the longest input in tokens, if the module's configuration does not contain it.
        step: the training step, for the results.
        logits: `logits(module, ids)` for a module that does not come from transformers. By
            default the module is called as `module(ids)`, or as nanoGPT expects.

    Raises:
        UsageError: if the module is not a causal language model, or if its weights are sharded.
    """
    module = unwrap(module)
    if any(type(p.detach()) is not Tensor for p in module.parameters()):
        raise UsageError(
            f"{type(module).__name__}: its weights are sharded; expected complete weights, as "
            "after gathering"
        )
    model: Any = shadow_copy(module).eval()
    model_name = name or default_name(module)
    if not isinstance(module, PreTrainedModel):
        model = ForeignModule(model, _context_length(module, context), logits).eval()
    identity = {
        "name": model_name,
        "label": _label(model_name),
        "revision": _weights_fingerprint(module),
    }
    if step is not None:
        identity["step"] = str(step)
    words = loading.from_object(tokenizer)
    check_tokens(model_name, words, model.config)
    return assemble(model, words, identity, LoadOptions(), live=True)


def default_name(module: nn.Module) -> str:
    """Return the model name in a module's configuration, or else its class."""
    config = getattr(module, "config", None)
    return getattr(config, "_name_or_path", "") or type(module).__name__


def _label(name: str) -> str:
    """Return the name of a local folder in signatures, without its path; "" for another name."""
    step = step_suffix(name)
    folder = Path(name.removesuffix(step))
    return local_label(folder) + step if folder.exists() else ""


def unwrap(module: nn.Module) -> nn.Module:
    """Return the module inside wrappers for distribution and compilation."""
    is_wrapper = type(module).__module__.startswith(("torch.", "accelerate.", "deepspeed."))
    for key in WRAPPED_MODULE_KEYS:
        inner = getattr(module, key, None)
        if is_wrapper and isinstance(inner, nn.Module):
            return unwrap(inner)
    return module


def _call_module(module: nn.Module, ids: Tensor) -> Any:
    """Call a module in the common ways: it returns a tensor, a tuple with it, or `.logits`."""
    logits = _extract_logits(module(ids))
    # Without targets nanoGPT returns only the last position's logits.
    if isinstance(logits, Tensor) and logits.shape[1] == 1 and ids.shape[1] != 1:
        return _extract_logits(module(ids, ids))
    return logits


def _extract_logits(output: Any) -> Any:
    first = output[0] if isinstance(output, tuple) else output
    return getattr(output, "logits", first)


def _context_length(module: nn.Module, context: int | None) -> int:
    config = getattr(module, "config", None)
    values = (getattr(config, key, None) for key in CONTEXT_KEYS)
    configured = next((value for value in values if isinstance(value, int)), None)
    if context or configured:
        return context or configured or 0
    raise UsageError(
        f"{type(module).__name__}: its configuration has no maximum input length; expected context="
    )


def _weights_fingerprint(module: nn.Module) -> str:
    """Hash the sum and the norm of every parameter: cheap, and it changes with the weights."""
    sums_and_norms = [
        (p.detach().sum(dtype=torch.float64), torch.linalg.vector_norm(p.detach().double()))
        for p in module.parameters()
    ]
    values = torch.tensor(sums_and_norms, dtype=torch.float64)
    return sha256(values.numpy().tobytes()).hexdigest()[:8]
