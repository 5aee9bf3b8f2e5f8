"""Where a model is placed: on one device, or by layer or tensor over several; and quantization."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch

from gpt2eval.errors import UsageError, unknown
from gpt2eval.models.options import LoadOptions
from gpt2eval.notices import notify

QUANTIZATION_PACKAGES = {
    "bnb-8bit": "bitsandbytes",
    "bnb-4bit": "bitsandbytes",
    "gptq": "gptqmodel",
    "awq": "gptqmodel",
}
# Instructions of x86 CPUs for arithmetic in a half precision.
HALF_INSTRUCTIONS = {
    "bfloat16": ("avx512_bf16", "amx_bf16"),
    "float16": ("avx512_fp16", "amx_fp16"),
}


def notify_slow_dtype(options: LoadOptions) -> None:
    """Notify if a half precision will be slow: on an x86 CPU without instructions for it.

    Says nothing about a CPU of which torch does not know the instructions.
    """
    needed = HALF_INSTRUCTIONS.get(options.dtype, ())
    if not needed or options.device_map or not device_of(options).startswith("cpu"):
        return
    known = _cpu_capabilities()
    if known.get("architecture") != "x86_64" or any(known.get(name) for name in needed):
        return
    notify(
        f"this CPU has no instructions for {options.dtype}, which is several times slower on it "
        "than float32 (5.7 times on an AVX2 CPU); --dtype float32 is faster and more precise"
    )


def _cpu_capabilities() -> Mapping[str, Any]:
    """Return what torch knows of this CPU; {} from a version that does not tell."""
    try:
        return torch.cpu.get_capabilities()
    except (AttributeError, RuntimeError):
        return {}


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
