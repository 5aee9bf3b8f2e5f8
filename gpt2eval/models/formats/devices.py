"""Where a model is placed: on one device, or by layer or tensor over several; and quantization."""

import os
from importlib.util import find_spec
from typing import Any

import torch

from gpt2eval.errors import UsageError, unknown
from gpt2eval.models.options import LoadOptions

QUANTIZATION_PACKAGES = {
    "bnb-8bit": "bitsandbytes",
    "bnb-4bit": "bitsandbytes",
    "gptq": "gptqmodel",
    "awq": "gptqmodel",
}


def device_of(options: LoadOptions) -> str:
    """Return the device to load on; `auto` is this worker's GPU, or the CPU without one.

    Launchers such as torchrun number the GPUs of a machine by LOCAL_RANK.
    """
    if options.device != "auto":
        return options.device
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"


def placement_arguments(options: LoadOptions) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` that distribute a model over several devices.

    `--device-map` distributes layers in one process; `--tp` distributes tensors over as many
    processes.

    Raises:
        UsageError: If both are set, or the number of processes is not the one in `--tp`.
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
            f"--tp {options.tp}: running in {processes} processes; "
            "expected 'torchrun --nproc-per-node N -m gpt2eval run --tp N'"
        )
    from transformers.distributed.configuration_utils import DistributedConfig

    return {"distributed_config": DistributedConfig(tp_size=options.tp)}


def quantization_arguments(options: LoadOptions) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` for weights in fewer bits.

    `bnb-8bit` and `bnb-4bit` quantize while loading; `gptq` and `awq` read a quantized checkpoint.

    Raises:
        UsageError: If the method is unknown, or its package or a GPU is missing.
    """
    method = options.quantization
    if method is None:
        return {}
    if method not in QUANTIZATION_PACKAGES:
        raise unknown("quantization", method, QUANTIZATION_PACKAGES)
    package = QUANTIZATION_PACKAGES[method]
    if find_spec(package) is None:
        raise UsageError(
            f"--quantization {method}: the package {package} is not installed; "
            f"expected 'pip install {package}'"
        )
    if not torch.cuda.is_available():
        raise UsageError(
            f"--quantization {method}: no GPU available; expected one, because {package} needs it"
        )
    one_device = {"device_map": {"": device_of(options)}}
    if method in ("gptq", "awq"):
        return one_device
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_8bit=method == "bnb-8bit",
        load_in_4bit=method == "bnb-4bit",
        bnb_4bit_compute_dtype=getattr(torch, options.dtype),
    )
    return {"quantization_config": config, **one_device}
