"""Check a built release: what the sdist holds, and the demo from the wheel where nothing else is.

`make dist` runs it: `python tests/release/clean_install.py DIST SCRATCH`. The environment is new,
has no compiler on its path, and takes every dependency as a wheel.
"""

import os
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def check_sdist(sdist: Path) -> None:
    """Raise SystemExit unless an sdist holds the files of the repository, and no others."""
    with tarfile.open(sdist) as archive:
        names = [member.name for member in archive.getmembers() if member.isfile()]
    held = {name.partition("/")[2] for name in names} - {"PKG-INFO"}
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True)
    tracked = {name for name in listed.split("\0") if name and (ROOT / name).exists()}
    if held != tracked:
        missing = ", ".join(sorted(tracked - held)) or "nothing"
        surplus = ", ".join(sorted(held - tracked)) or "nothing"
        sys.exit(f"{sdist}: lacks {missing}; has {surplus} that git does not track")
    print(f"{sdist.name}: the {len(held)} files that git tracks")


def check_wheel(wheel: Path, scratch: Path) -> None:
    """Install a wheel in a new environment below `scratch`, and run the demo there."""
    folder = scratch.resolve() / "environment"
    venv.create(folder, clear=True, with_pip=True)
    programs = folder / "bin"
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("PYTHON") and key not in {"CC", "CXX", "VIRTUAL_ENV"}
    }
    environment["PATH"] = str(programs)

    def run(program: str, *arguments: str) -> str:
        command = [str(programs / program), *arguments]
        return subprocess.check_output(command, cwd=scratch, env=environment, text=True)

    constraints = str(ROOT / "constraints.txt")
    wheels = ("-m", "pip", "install", "--quiet", "--only-binary", ":all:", "-c", constraints)
    run("python", *wheels, str(wheel.resolve()))
    run("python", "-m", "pip", "check")
    run("gpt2eval", "run", "--quiet", "--out", "demo")
    table = run("gpt2eval", "table", "demo")
    version = run("gpt2eval", "--version").strip()
    if "| demo " not in table or f"-{version}-" not in wheel.name:
        sys.exit(f"{wheel}: the demo of version {version} printed no row of the model:\n{table}")
    print(f"{wheel.name}: installed without a compiler; gpt2eval table:\n{table}")


def main(dist: Path, scratch: Path) -> None:
    """Check the one sdist and the one wheel in a folder."""
    (sdist,) = dist.glob("*.tar.gz")
    (wheel,) = dist.glob("*.whl")
    check_sdist(sdist)
    check_wheel(wheel, scratch)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
