"""`python -m gpt2eval` is the command `gpt2eval`."""

import os
import sys

# Python puts the current folder first on the import path, where a stray pytz.py would run.
# Only modules that Python itself has already imported are used before it is removed.
if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109
    del sys.path[0]

from gpt2eval.cli.main import main

main()
