"""`python -m gpt2eval` is the command `gpt2eval`."""

from gpt2eval.cli.main import main

main()
