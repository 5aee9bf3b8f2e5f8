"""A model that is being trained, scored where it lies: its weights are shared, not copied, and nothing of it is changed.

What is scored is a twin: modules of its own, so that evaluation mode, hooks and the engine's changes stay there, around the
same tensors. It does not know training loops.
"""

import copy
from collections.abc import Callable
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from gpt2eval.errors import UsageError
from gpt2eval.models.engine.causal import CausalModel, assembled
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization import loading

CONTEXTS = ("max_position_embeddings", "n_positions", "block_size", "max_seq_len", "n_ctx")
WRAPPED = ("module", "_orig_mod")  # by DistributedDataParallel, by torch.compile
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class PlainConfig(PreTrainedConfig):
    """What can be told of a module that is not transformers'."""

    model_type = "module"


class Plain(nn.Module):
    """Any module that makes logits `[batch, length, vocabulary]` of ids `[batch, length]`, under transformers' names."""

    def __init__(
        self, module: nn.Module, context: int, logits: Callable[[nn.Module, Tensor], Any] | None
    ) -> None:
        super().__init__()
        self.module = module
        self._logits = logits or _logits
        first = next(module.parameters())
        self.device, self.dtype = first.device, first.dtype
        with torch.inference_mode():
            size = self(torch.zeros(1, 2, dtype=torch.long, device=self.device)).logits.shape[-1]
        self.config = PlainConfig(vocab_size=size, max_position_embeddings=context)  # type: ignore[call-arg]
        self.config._attn_implementation = "module"

    def forward(self, input_ids: Tensor, use_cache: bool = False) -> SimpleNamespace:
        logits = self._logits(self.module, input_ids)
        if not isinstance(logits, Tensor) or logits.shape[:-1] != input_ids.shape:
            said = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise UsageError(
                f"{type(self.module).__name__}: {said} for ids {list(input_ids.shape)}; expected logits at every place"
            )
        return SimpleNamespace(logits=logits.clone())  # for they are used up

    def get_output_embeddings(self) -> None:
        """None: its last layer is its own affair."""


def of_module(
    module: nn.Module,
    words: Any,
    *,
    name: str | None = None,
    context: int | None = None,
    step: int | None = None,
    logits: Callable[[nn.Module, Tensor], Any] | None = None,
) -> CausalModel:
    """A live module and its tokenizer as a backend, for as long as its weights stay as they are.

    `words` is a tokenizer of transformers or `tokenizers`, or the place of one. For a module that is not transformers',
    `logits(module, ids)` says how it is called (`module(ids)`, or what nanoGPT's takes, by default), and `context` how long
    ids may be, where its config does not. Raises UsageError for what is no causal language model, and for weights of which
    only a part lies here.
    """
    module = unwrapped(module)
    if any(type(p.detach()) is not Tensor for p in module.parameters()):
        raise UsageError(
            f"{type(module).__name__}: its weights are sharded; expected them whole, as after gathering"
        )
    model: Any = twin(module).eval()
    called = (
        name
        or getattr(getattr(module, "config", None), "_name_or_path", "")
        or type(module).__name__
    )
    if not isinstance(module, PreTrainedModel):
        model = Plain(model, _context(module, context), logits).eval()
    identity = {"name": called, "revision": _mark(module)}
    if step is not None:
        identity["step"] = str(step)
    return assembled(model, loading.of_object(words), identity, LoadOptions(), live=True)


def unwrapped(module: nn.Module) -> nn.Module:
    """The module itself, without what distributes or compiles it."""
    for name in WRAPPED:
        inner = getattr(module, name, None)
        if isinstance(inner, nn.Module) and type(module).__module__.startswith(
            ("torch.", "accelerate.", "deepspeed.")
        ):
            return unwrapped(inner)
    return module


def twin(module: nn.Module, made: dict[int, Any] | None = None) -> nn.Module:
    """Modules of their own around the same parameters and buffers; configs are copied, hooks and patched methods left out."""
    made = {} if made is None else made
    if id(module) in made:
        return made[id(module)]
    own = made[id(module)] = copy.copy(module)
    state = own.__dict__
    state |= {name: state[name].copy() for name in ("_parameters", "_buffers")}
    state |= {name: type(state[name])() for name in HOOKS}
    state["_modules"] = {
        name: child and twin(child, made) for name, child in module._modules.items()
    }
    state.pop("forward", None)
    if (config := state.get("config")) is not None:
        if id(config) not in made:
            made[id(config)] = copy.deepcopy(config)
        state["config"] = made[id(config)]
    return own


def _logits(module: nn.Module, ids: Tensor) -> Any:
    """What a module says of ids: a tensor, the first of several, or `.logits`; nanoGPT's says all of it only with targets."""
    made = _first(module(ids))
    return (
        _first(module(ids, ids))
        if isinstance(made, Tensor) and made.shape[1] == 1 != ids.shape[1]
        else made
    )


def _first(made: Any) -> Any:
    return getattr(made, "logits", made[0] if isinstance(made, tuple) else made)


def _context(module: nn.Module, context: int | None) -> int:
    config = getattr(module, "config", None)
    found = next(
        (value for key in CONTEXTS if isinstance(value := getattr(config, key, None), int)), None
    )
    if context or found:
        return context or found or 0
    raise UsageError(
        f"{type(module).__name__}: its config does not say how long its input may be; expected context="
    )


def _mark(module: nn.Module) -> str:
    """A short hash that changes with the weights: of the sum and norm of each."""
    sums = [
        (p.detach().sum(dtype=torch.float64), torch.linalg.vector_norm(p.detach().double()))
        for p in module.parameters()
    ]
    return sha256(torch.tensor(sums, dtype=torch.float64).numpy().tobytes()).hexdigest()[:8]
