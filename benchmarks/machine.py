"""The machine in one line, and the environments in which the sides of a benchmark run."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Instruction sets, the widest first, and extensions for bfloat16, by their names in /proc/cpuinfo.
WIDTHS = {"avx512f": "AVX-512", "avx2": "AVX2", "asimd": "NEON"}
BFLOAT16 = {"amx_bf16": "AMX", "avx512_bf16": "bf16", "bf16": "bf16"}
TORCH = "torch==2.13.0"


def describe(versions: Mapping[str, str], peers: Mapping[str, str]) -> str:
    """Return the cores, their instructions, the GPU if one was used, and both sides' versions."""
    parts = [f"{len(os.sched_getaffinity(0))} cores of {processor()}"]
    if "device" in versions:
        parts.append(versions["device"])
    parts += [
        f"Python {platform.python_version()}",
        f"torch {versions['torch']}",
        f"transformers {versions['transformers']}",
    ]
    if peers:
        parts.append(
            f"lm_eval {peers['lm_eval']} with torch {peers['torch']} "
            f"and transformers {peers['transformers']}"
        )
    return "; ".join(parts)


def processor() -> str:
    """Return the processor's name and its instruction set, as in `AMD EPYC (AVX-512, bf16)`."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    first_core = info.read_text().split("\n\n")[0]
    fields: dict[str, str] = {}
    for line in first_core.splitlines():
        key, _, value = line.partition(":")
        fields[key.strip()] = value.strip()
    supported = fields.get("flags", fields.get("Features", "")).split()  # x86, Arm
    return f"{fields.get('model name', platform.machine())} ({instructions(supported)})"


def instructions(flags: Sequence[str]) -> str:
    """Name the widest instruction set among a processor's flags, and those for bfloat16."""
    width = next((name for flag, name in WIDTHS.items() if flag in flags), "no vector instructions")
    halves = dict.fromkeys(name for flag, name in BFLOAT16.items() if flag in flags)
    return ", ".join([width, *halves])


def environment(threads: int, *, ours: bool) -> dict[str, str]:
    """Return the environment variables of a measured process.

    Every side gets the same number of threads; only ours can import the package from this checkout.
    """
    count = str(threads)
    variables = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), count)
    parallel = "true" if threads > 1 else "false"
    variables |= {"TOKENIZERS_PARALLELISM": parallel, "HF_HUB_OFFLINE": "1"}
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return inherited | variables | ({"PYTHONPATH": path} if ours else {})


def peers_python(folder: Path) -> Path:
    """Return the interpreter of the other tools' environment, which is created if missing."""
    python = folder / "bin" / "python"
    stamp = folder / ".stamp"  # written last, so a half-built environment is built again
    if not stamp.exists():
        print(f"creating {folder} (once)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = [python, "-m", "pip", "install", "-q"]
        subprocess.run([*install, TORCH], check=True)
        subprocess.run([*install, "-r", ROOT / "benchmarks" / "peers-requirements.txt"], check=True)
        stamp.touch()
    return python
