"""Silence transformers and huggingface_hub temporarily, and restore the caller's settings.

Both libraries keep verbosity and progress bars in globals of the process, which belong to the
caller.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from warnings import catch_warnings

from huggingface_hub.utils import logging as hub_logging
from huggingface_hub.utils.tqdm import progress_bar_states
from transformers.utils import logging


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
