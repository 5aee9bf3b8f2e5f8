"""The vocabulary projection of a model in half precision."""

from typing import Any

from torch import Tensor, nn

from gpt2eval.models.engine import onednn
from gpt2eval.models.engine.probe import HALF


def centred_head(head: Any) -> nn.Module:
    """Return a vocabulary projection in half precision, with its rows' mean subtracted.

    Subtracting the same vector from all rows shifts all logits equally, which softmax ignores.
    GPT-2's logits lie around -30 to -100, where bfloat16 is coarse; centred they lie around 0.
    """
    weight = head.weight
    if weight.dtype not in HALF or type(weight.detach()) is not Tensor:
        return head
    wide = weight.float()
    centred = (wide - wide.mean(0)).to(weight.dtype)
    if onednn.supports(centred):
        return onednn.Linear(centred, head.bias)
    return _linear(centred, head.bias)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Module:
    # On the meta device torch allocates and initializes nothing; the tensors are assigned below.
    layer = nn.Linear(*weight.shape[::-1], bias=bias is not None, device="meta")
    layer.requires_grad_(requires_grad=False)
    layer.load_state_dict(
        {"weight": weight} | ({} if bias is None else {"bias": bias}), assign=True
    )
    return layer
