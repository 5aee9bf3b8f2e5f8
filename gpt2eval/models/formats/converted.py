"""Load another framework's checkpoint as a causal model of transformers.

A format's own module (`nanogpt.py`, `llmc.py`, ...) reads tensors and renames them to
transformers' names. This module checks every name and shape against the architecture before it
allocates memory. Does not know file formats.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import GPT2Config, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from gpt2eval.errors import UsageError
from gpt2eval.models.engine.causal import CausalModel, assemble, dtype_of
from gpt2eval.models.formats.checks import check_tokens
from gpt2eval.models.formats.devices import device_of, notify_slow_dtype
from gpt2eval.models.formats.naming import local_label
from gpt2eval.models.formats.quiet import quiet
from gpt2eval.models.load_errors import expected_errors
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization.loaded import LoadedTokenizer


class LazyTensor(NamedTuple):
    """The shape of a tensor, and a function that reads it."""

    shape: tuple[int, ...]
    read: Callable[[], Tensor]


class ConvertedCheckpoint(NamedTuple):
    """A checkpoint in transformers' terms: architecture, weights by name, file hash, step.

    `file` holds the weights where `path` is a folder; messages name it.
    """

    path: Path
    config: PreTrainedConfig
    weights: Mapping[str, LazyTensor]
    sha256: str
    step: int | None = None
    file: Path | None = None


def lazy(name: str, tensor: Tensor) -> LazyTensor:
    """Return a tensor in memory, or mapped from disk, as a `LazyTensor`.

    Raises:
        UsageError: If it does not hold floating-point numbers.
    """
    check_floating_point(name, tensor)
    return LazyTensor(tuple(tensor.shape), lambda: tensor)


def check_floating_point(name: str, tensor: Tensor) -> None:
    """Raise UsageError for a weight that is not floating point."""
    if not tensor.is_floating_point():
        dtype = str(tensor.dtype).removeprefix("torch.")
        raise UsageError(f"weight {name} has dtype {dtype}; expected floating point")


def check_positive(path: Path, name: str, value: Any) -> None:
    """Raise UsageError for a size that is not a positive integer."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{path}: {name} is {value!r:.40}; expected a positive integer")


class GPT2Sizes(NamedTuple):
    """The sizes of a GPT-2, as a file states them: unchecked, and None where it lacks one."""

    layers: Any
    heads: Any
    width: Any
    context: Any
    vocabulary: Any


def gpt2_config(path: Path, sizes: GPT2Sizes, gelu: str) -> GPT2Config:
    """Return GPT-2's architecture in the given sizes.

    Raises:
        UsageError: If a size is not a positive integer, or the heads do not divide the width.
    """
    for name, value in sizes._asdict().items():
        check_positive(path, name, value)
    if sizes.width % sizes.heads:
        raise UsageError(
            f"{path}: width {sizes.width} with {sizes.heads} heads; "
            "expected a multiple of the number of heads"
        )
    return GPT2Config(
        n_layer=sizes.layers,
        n_head=sizes.heads,
        n_embd=sizes.width,
        n_positions=sizes.context,
        vocab_size=sizes.vocabulary,
        activation_function=gelu,
        bos_token_id=None,
        eos_token_id=None,
    )


@quiet()
def load_converted(
    scheme: str, checkpoint: ConvertedCheckpoint, tokenizer: LoadedTokenizer, options: LoadOptions
) -> CausalModel:
    """Load a checkpoint in `options.dtype`, named `scheme:path` in results.

    Raises:
        UsageError: If weights are missing, unexpected or of the wrong shape for the
            architecture; this is checked before memory is allocated.
    """
    name = f"{scheme}:{checkpoint.path}"
    dtype = dtype_of(options)
    notify_slow_dtype(options)
    options.reject_unsupported(name, "revision", "device_map", "tp", "peft", "quantization")
    architecture: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(checkpoint.config)]
    _check_weights(checkpoint, architecture)
    check_tokens(name, tokenizer, checkpoint.config)
    # a copy, because a mapped file changes when training writes the next checkpoint into it
    state = {key: tensor.read().to(dtype, copy=True) for key, tensor in checkpoint.weights.items()}
    with expected_errors(
        f"model {name}", ValueError, ImportError, expectation="an attention that transformers knows"
    ):
        model = architecture.from_pretrained(
            None,
            config=checkpoint.config,
            state_dict=state,
            dtype=dtype,
            attn_implementation=None if options.attn == "packed" else options.attn,
        )
    model = model.to(device_of(options))
    identity = {
        "name": name,
        "label": local_label(checkpoint.path, scheme),
        "revision": checkpoint.sha256[:8],
        "weights": checkpoint.sha256,
    }
    if checkpoint.step is not None:
        identity["step"] = str(checkpoint.step)
    return assemble(model, tokenizer, identity, options)


def _check_weights(checkpoint: ConvertedCheckpoint, architecture: Any) -> None:
    """Raise UsageError unless the weights are exactly the parameters of the architecture."""
    path = checkpoint.file or checkpoint.path
    weights = checkpoint.weights
    config = checkpoint.config
    if config.num_hidden_layers > len(weights):
        raise UsageError(
            f"{path}: {config.num_hidden_layers} layers in {len(weights)} tensors; "
            "expected tensors for each layer"
        )
    kind = architecture.__name__
    with (
        expected_errors(str(path), ValueError, RuntimeError, expectation=f"the sizes of a {kind}"),
        torch.device("meta"),
    ):
        model = architecture(config)
    expected = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    tied = set(model._tied_weights_keys or ()) if config.tie_word_embeddings else set()
    if missing := sorted(expected.keys() - weights.keys() - tied):
        raise UsageError(
            f"{path}: {missing[0]} is missing ({len(missing)} in all); expected a complete {kind}"
        )
    if extra := sorted(weights.keys() - expected.keys()):
        raise UsageError(
            f"{path}: unknown tensor {extra[0]} ({len(extra)} in all); "
            f"expected only the weights of a {kind}"
        )
    for key, (shape, _) in weights.items():
        if shape != expected[key]:
            raise UsageError(
                f"{path}: {key} has shape {list(shape)}; expected {list(expected[key])}"
            )
