"""Elementwise activations whose bits do not depend on the number of threads.

torch gives each thread a contiguous run of elements. It processes most of a run with vector
instructions and the remainder one by one, and the two may differ in the last bit. So the input is
split where every thread's run consists of complete vectors, however many threads there are.
"""

import torch
from torch import Tensor, nn

GRAIN = 32768  # torch starts one more thread per this many elements
VECTORS = 64  # elements that fill complete vectors in any dtype: two vectors of 512 bits
ACTIVATION_MODULES = ("transformers.activations", "torch.nn.modules.activation")


class ThreadInvariant(nn.Module):
    """An elementwise activation: the same function, bit-identical for any number of threads."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        main = aligned_count(x.numel(), torch.get_num_threads())
        if main == x.numel() or not main or x.device.type != "cpu":
            return self.activation(x)
        flat = x.reshape(-1)
        return torch.cat([self.activation(flat[:main]), self.activation(flat[main:])]).view(x.shape)


def aligned_count(count: int, threads: int) -> int:
    """Return the largest part of `count` elements that threads share in complete vectors.

    Returns `count` itself if a single thread processes all elements.
    """
    threads = min(threads, -(-count // GRAIN))
    if threads <= 1:
        return count
    main = count // (VECTORS * threads) * VECTORS * threads
    # A part that starts one thread fewer is cut where those threads are full, in complete vectors.
    return max(main, (threads - 1) * GRAIN)


def make_activations_invariant(model: nn.Module) -> None:
    """Wrap each of a model's parameter-free activations in `ThreadInvariant`."""
    for name, module in [*model.named_modules()]:
        if type(module).__module__ in ACTIVATION_MODULES and not list(module.parameters()):
            model.set_submodule(name, ThreadInvariant(module))
