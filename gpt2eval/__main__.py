"""The command `gpt2eval`, which is `python -m gpt2eval`, too."""

import os
import sys

# Python puts the current folder first on the import path, where a stray pytz.py would run.
# Only modules that Python itself has already imported are used before it is removed.
IS_MODULE = __name__ == "__main__" and not sys.flags.safe_path  # `python -m gpt2eval`
if IS_MODULE and sys.path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109
    del sys.path[0]


def main() -> None:
    """Run a command and exit; an interruption while it is imported leaves no traceback."""
    from gpt2eval.cli.signals import die_of_interrupts

    die_of_interrupts()
    from gpt2eval.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
