"""Activations whose bits do not depend on how torch shares their elements out to threads.

torch gives each thread a run of elements, does most of it in vectors and its odd end one by one, with other last bits. So
the elements are cut where every thread's run is whole vectors, whatever the number of threads. It knows no models.
"""

import torch
from torch import Tensor, nn

GRAIN = 32768  # elements below which torch starts no further thread
VECTORS = 64  # elements that are whole vectors in any dtype: two of 512 bits
PLACES = ("transformers.activations", "torch.nn.modules.activation")


class Even(nn.Module):
    """An elementwise activation, the same function in the same bits for any number of threads."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        main = whole(x.numel(), torch.get_num_threads())
        if main == x.numel() or not main or x.device.type != "cpu":
            return self.activation(x)
        flat = x.reshape(-1)
        return torch.cat([self.activation(flat[:main]), self.activation(flat[main:])]).view(x.shape)


def whole(count: int, threads: int) -> int:
    """How many of `count` elements every thread's run of which is whole vectors; all, where one thread takes them."""
    threads = min(threads, -(-count // GRAIN))
    while threads > 1:
        main = count // (VECTORS * threads) * VECTORS * threads
        started = min(threads, -(-main // GRAIN))
        if started == threads:
            return main
        threads = started
    return count


def even_out(model: nn.Module) -> None:
    """Put it in the places of a model's activations."""
    for name, module in [*model.named_modules()]:
        if type(module).__module__ in PLACES and not list(module.parameters()):
            model.set_submodule(name, Even(module))
