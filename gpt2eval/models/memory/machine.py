"""What decides, besides a model's files and options, what loading finds out about it.

That is the software, the instructions of the processor, which accelerators there are, and the
variables of the environment that choose other kernels. No library is imported to find out.
"""

import os
import platform
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gpt2eval.version import __version__

LIBRARIES = (
    *("torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "numpy"),
    *("accelerate", "gguf", "peft", "tensorflow", "tensorflow-cpu", "kernels"),
    *("sentencepiece", "tiktoken", "protobuf", "mistral-common"),
)
CPUINFO = Path("/proc/cpuinfo")
# Linux's lines with a processor's name and instructions, as x86 and as ARM call them.
CPU_LINES = ("model name", "flags", "Features", "CPU implementer", "CPU part")
# The files of the drivers of NVIDIA's and of AMD's accelerators.
DRIVERS = (Path("/proc/driver/nvidia/version"), Path("/sys/module/amdgpu/version"))
DEVICES = ("nvidia*", "kfd", "dri/renderD*", "accel*")
# Their files about each accelerator, and the lines with its model or its instructions.
ACCELERATORS = ("driver/nvidia/gpus/*/information", "class/kfd/kfd/topology/nodes/*/properties")
ACCELERATOR_LINE = re.compile(r"^(?:Model:|gfx_target_version).*", re.MULTILINE)
SYSTEM = (Path("/proc"), Path("/sys"))
# Variables that hide accelerators, or change the instructions and precision of torch's kernels.
VARIABLES = (
    *("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
    *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
    *("MKL_ENABLE_INSTRUCTIONS", "MKL_DEBUG_CPU_TYPE", "MKL_CBWR"),
    *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
)


@cache
def software() -> dict[str, str]:
    """Return the versions of Python, gpt2eval and the libraries that load a model."""
    versions = {"python": platform.python_version(), "gpt2eval": __version__}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = ""  # installing it may change what loads
    return versions


@cache
def hardware() -> dict[str, object]:
    """Return the processor's instructions, the accelerators, and what restricts their use."""
    return {
        "machine": [platform.system(), platform.machine(), platform.processor()],
        "processor": _processor(),
        "drivers": [_content(path) for path in DRIVERS],
        "devices": sorted(str(path) for name in DEVICES for path in Path("/dev").glob(name)),
        "accelerators": _accelerators(),
        "variables": [os.environ.get(name) for name in VARIABLES],
    }


def _processor() -> list[str]:
    """Return the lines about one processor; the speed in the others changes all the time."""
    lines = _content(CPUINFO).partition("\n\n")[0].splitlines()
    return [line for line in lines if line.partition(":")[0].strip() in CPU_LINES]


def _accelerators() -> list[str]:
    """Return the lines that name each accelerator or its instructions, where a driver states them.

    Another model may decide differently, for instance because it has no flash attention.
    """
    files = [
        path
        for place, pattern in zip(SYSTEM, ACCELERATORS, strict=True)
        for path in sorted(place.glob(pattern))
    ]
    return [line for path in files for line in ACCELERATOR_LINE.findall(_content(path))]


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
