"""Silence libraries temporarily, and restore the caller's settings.

transformers and huggingface_hub keep verbosity and progress bars in globals of the process, which
belong to the caller. Rust code writes a panic to the process's stderr before it raises it.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from warnings import catch_warnings

from huggingface_hub.utils import logging as hub_logging
from huggingface_hub.utils.tqdm import progress_bar_states
from transformers.utils import logging

from gpt2eval.models.load_errors import is_panic


@contextmanager
def quiet() -> Iterator[None]:
    """Show only errors and no progress bars inside the context; also works as a decorator."""
    verbosity = logging.get_verbosity()
    hub_verbosity = hub_logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    hub_bars = dict(progress_bar_states)
    with catch_warnings(action="ignore"):
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        hub_logging.set_verbosity_error()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            hub_logging.set_verbosity(hub_verbosity)
            if bars:
                logging.enable_progress_bar()
            progress_bar_states.clear()  # transformers switches the Hub's bars along with its own
            progress_bar_states.update(hub_bars)


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
