"""Silence libraries temporarily, and restore the caller's settings.

transformers and huggingface_hub keep verbosity in globals of the process, which belong to the
caller. Their progress bars, and those of other libraries that load models, are tqdm's. Rust code
writes a panic to the process's stderr before it raises it.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from typing import Any
from warnings import catch_warnings

from huggingface_hub.utils import logging as hub_logging
from tqdm.std import tqdm
from transformers.utils import logging as transformers_logging

from gpt2eval.models.load_errors import is_panic


@contextmanager
def quiet() -> Iterator[None]:
    """Show only errors and no progress bars inside the context; also works as a decorator."""
    verbosity = transformers_logging.get_verbosity()
    hub_verbosity = hub_logging.get_verbosity()
    with catch_warnings(action="ignore"), _bars_hidden(), _unconfigured_loggers_show_errors():
        transformers_logging.set_verbosity_error()
        hub_logging.set_verbosity_error()
        try:
            yield
        finally:
            transformers_logging.set_verbosity(verbosity)
            hub_logging.set_verbosity(hub_verbosity)


@contextmanager
def _bars_hidden() -> Iterator[None]:
    """Hide the progress bars that begin inside the context.

    Not each library has a setting for them, so tqdm itself shows none.
    """
    original = tqdm.__init__

    def hidden(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **{**kwargs, "disable": True})

    tqdm.__init__ = hidden
    try:
        yield
    finally:
        tqdm.__init__ = original


@contextmanager
def _unconfigured_loggers_show_errors() -> Iterator[None]:
    """Hide warnings that Python prints to stderr for a logger that nobody has configured."""
    last_resort = logging.lastResort
    if last_resort is None:
        yield
        return
    level = last_resort.level
    last_resort.setLevel(logging.ERROR)
    try:
        yield
    finally:
        last_resort.setLevel(level)


@contextmanager
def panics_unprinted() -> Iterator[None]:
    """Hide what Rust code prints about a panic inside the context; the exception says the same.

    Anything printed without a panic is printed afterwards.
    """
    try:
        stderr = os.dup(2)
    except OSError:  # the process has no stderr
        yield
        return
    with TemporaryFile() as printed:
        sys.stderr.flush()
        os.dup2(printed.fileno(), 2)
        try:
            yield
        except BaseException as error:
            if is_panic(error):
                printed.truncate(0)
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            printed.seek(0)
            with suppress(OSError):
                os.write(2, printed.read())
