"""Weights of another framework's checkpoint, under the names that transformers gives them, as a causal model.

A format's own file (`nanogpt.py`, `llmc.py`, ...) reads and renames; this one checks every name and shape against the
architecture before memory is taken, and loads.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import GPT2Config, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from gpt2eval.errors import UsageError
from gpt2eval.models.engine.causal import CausalModel, assembled, dtype_of
from gpt2eval.models.formats.devices import device_of
from gpt2eval.models.formats.quiet import quiet
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization.loading import LoadedTokenizer


class Weights(NamedTuple):
    """A tensor per name of transformers' model: its shape, and how to read it."""

    shape: tuple[int, ...]
    read: Callable[[], Tensor]


class ConvertedCheckpoint(NamedTuple):
    """What the files of a checkpoint say: the architecture, its weights, the training step they are of, and a hash."""

    path: Path
    config: PreTrainedConfig
    weights: Mapping[str, Weights]
    sha256: str
    step: int | None = None


def held(tensor: Tensor) -> Weights:
    """A tensor that is there already, or mapped from disk. Raises UsageError for one that holds no real numbers."""
    real(tensor)
    return Weights(tuple(tensor.shape), lambda: tensor)


def real(tensor: Tensor) -> None:
    """Raise UsageError for a tensor of other than real numbers."""
    if not tensor.is_floating_point():
        raise UsageError(
            f"a tensor of {str(tensor.dtype).removeprefix('torch.')} among the weights; expected real numbers"
        )


def gpt2_config(
    path: Path, *, layers: Any, heads: Any, width: Any, context: Any, vocabulary: Any, gelu: str
) -> GPT2Config:
    """GPT-2's architecture in those sizes. Raises UsageError for one that is no whole number above 0."""
    sizes = {
        "layers": layers,
        "heads": heads,
        "width": width,
        "context": context,
        "vocabulary": vocabulary,
    }
    for name, value in sizes.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UsageError(
                f"{path}: {name} is {value!r:.40}; expected a whole number of 1 or more"
            )
    if width % heads:
        raise UsageError(f"{path}: a width of {width} for {heads} heads; expected a multiple")
    return GPT2Config(
        n_layer=layers,
        n_head=heads,
        n_embd=width,
        n_positions=context,
        vocab_size=vocabulary,
        activation_function=gelu,
        bos_token_id=None,
        eos_token_id=None,
    )


@quiet()
def load_converted(
    scheme: str, checkpoint: ConvertedCheckpoint, tokenizer: LoadedTokenizer, options: LoadOptions
) -> CausalModel:
    """A checkpoint as a model in `options.dtype`, called `scheme:path` in results.

    Raises UsageError, before any memory is taken, for weights that are missing, left over or of other shapes than the
    architecture has them.
    """
    name, dtype = f"{scheme}:{checkpoint.path}", dtype_of(options)
    options.refuse(name, "revision", "device_map", "tp", "peft", "quantization")
    kind: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(checkpoint.config)]
    _check(checkpoint, kind)
    plain = None if options.attn == "packed" else options.attn
    try:
        # copied, because what is mapped from a file changes when training writes the next checkpoint into it
        state = {
            key: weights.read().to(dtype, copy=True) for key, weights in checkpoint.weights.items()
        }
        model = kind.from_pretrained(
            None, config=checkpoint.config, state_dict=state, dtype=dtype, attn_implementation=plain
        ).to(device_of(options))
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, AssertionError) as error:
        raise UsageError(f"model {name}: {' '.join(str(error).split()):.300}") from None
    identity = {"name": name, "revision": checkpoint.sha256[:8], "weights": checkpoint.sha256}
    if checkpoint.step is not None:
        identity["step"] = str(checkpoint.step)
    return assembled(model, tokenizer, identity, options)


def _check(checkpoint: ConvertedCheckpoint, kind: Any) -> None:
    path, weights = checkpoint.path, checkpoint.weights
    if checkpoint.config.num_hidden_layers > len(weights):
        raise UsageError(
            f"{path}: {checkpoint.config.num_hidden_layers} layers in {len(weights)} tensors; expected some in each"
        )
    try:
        with torch.device("meta"):
            model = kind(checkpoint.config)
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(
            f"{path}: {' '.join(str(error).split()):.200}; expected sizes that make a {kind.__name__}"
        ) from None
    expected = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    tied = set(model._tied_weights_keys or ()) if checkpoint.config.tie_word_embeddings else set()
    if missing := sorted(expected.keys() - weights.keys() - tied):
        raise UsageError(
            f"{path}: {missing[0]} is not in it ({len(missing)} missing); expected a whole {kind.__name__}"
        )
    if extra := sorted(weights.keys() - expected.keys()):
        raise UsageError(
            f"{path}: {extra[0]} has no place in {kind.__name__} ({len(extra)} left over)"
        )
    for key, (shape, _) in weights.items():
        if shape != expected[key]:
            raise UsageError(
                f"{path}: {key} has shape {list(shape)}; expected {list(expected[key])}"
            )
