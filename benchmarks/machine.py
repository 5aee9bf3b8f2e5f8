"""What a measurement stands on: the machine in one line, and the environments that the sides run in."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
TORCH = "torch==2.13.0"


def described(versions: Mapping[str, str], peers: Mapping[str, str]) -> str:
    """Cores, their flags, the GPU if one was used, and the versions on both sides."""
    parts = [f"{len(os.sched_getaffinity(0))} cores of {_processor()}"]
    parts += [versions["device"]] if "device" in versions else []
    parts += [
        f"Python {platform.python_version()}",
        f"torch {versions['torch']}",
        f"transformers {versions['transformers']}",
    ]
    if peers:
        parts.append(
            f"lm_eval {peers['lm_eval']} with torch {peers['torch']} and transformers {peers['transformers']}"
        )
    return "; ".join(parts)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    fields = dict(
        line.split(":", 1) for line in info.read_text().split("\n\n")[0].splitlines() if ":" in line
    )
    found = {key.strip(): value.strip() for key, value in fields.items()}
    has = found.get("flags", found.get("Features", "")).split()
    flags = [flag for flag in FLAGS if flag in has]
    return f"{found.get('model name', platform.machine())} ({', '.join(flags)})"


def environment(threads: int, *, ours: bool) -> dict[str, str]:
    """The variables of a measured process: the same threads for each; our package from this checkout for ours alone."""
    count = str(threads)
    variables = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), count)
    variables |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return kept | variables | ({"PYTHONPATH": path} if ours else {})


def peers_python(folder: Path) -> Path:
    """The interpreter of the peers' environment; the environment is made if it is not there."""
    python, stamp = folder / "bin" / "python", folder / ".stamp"
    if not stamp.exists():
        print(f"making {folder} (once)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = [python, "-m", "pip", "install", "-q"]
        subprocess.run([*install, TORCH], check=True)
        subprocess.run([*install, "-r", ROOT / "benchmarks" / "peers-requirements.txt"], check=True)
        stamp.touch()
    return python
