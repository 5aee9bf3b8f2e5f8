"""Where a model lies: one device, layers over several, tensors over several processes, weights in fewer bits."""

import os
from importlib.util import find_spec
from typing import Any

import torch

from gpt2eval.errors import UsageError, unknown
from gpt2eval.models.options import LoadOptions

QUANTIZED = {
    "bnb-8bit": "bitsandbytes",
    "bnb-4bit": "bitsandbytes",
    "gptq": "gptqmodel",
    "awq": "gptqmodel",
}


def device_of(options: LoadOptions) -> str:
    """The device asked for; `auto` is the GPU of this worker (launchers number a machine's by LOCAL_RANK), or the CPU."""
    if options.device != "auto":
        return options.device
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"


def spread(options: LoadOptions) -> dict[str, Any]:
    """How a model larger than a device is laid over several: by layers in one process, or by tensors in as many processes.

    Raises UsageError for both at once, and for another number of processes than `--tp` says.
    """
    if options.tp and options.device_map:
        raise UsageError("--tp and --device-map: expected one of the two")
    if options.device_map:
        return {"device_map": options.device_map}
    if options.tp is None:
        return {}
    processes = int(os.environ.get("WORLD_SIZE", 1))
    if processes != options.tp or options.tp < 2:
        raise UsageError(
            f"--tp {options.tp}: there are {processes} processes; expected 'torchrun --nproc-per-node N -m gpt2eval run --tp N'"
        )
    from transformers.distributed.configuration_utils import DistributedConfig

    return {"distributed_config": DistributedConfig(tp_size=options.tp)}


def quantized(options: LoadOptions) -> dict[str, Any]:
    """How weights are held in fewer bits: made so while loading (`bnb-`), or so in the checkpoint (`gptq`, `awq`).

    Raises UsageError without the package that does it, or without a GPU.
    """
    if options.quantization is None:
        return {}
    if options.quantization not in QUANTIZED:
        raise unknown("quantization", options.quantization, QUANTIZED)
    package = QUANTIZED[options.quantization]
    if find_spec(package) is None:
        raise UsageError(
            f"--quantization {options.quantization}: the package {package} is not installed; expected it beside gpt2eval"
        )
    if not torch.cuda.is_available():
        raise UsageError(
            f"--quantization {options.quantization}: there is no GPU here; expected one, for {package} computes on it"
        )
    if options.quantization in ("gptq", "awq"):
        return {"device_map": {"": device_of(options)}}
    from transformers import BitsAndBytesConfig

    eight = options.quantization == "bnb-8bit"
    config = BitsAndBytesConfig(
        load_in_8bit=eight,
        load_in_4bit=not eight,
        bnb_4bit_compute_dtype=getattr(torch, options.dtype),
    )
    return {"quantization_config": config, "device_map": {"": device_of(options)}}
