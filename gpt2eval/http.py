"""HTTP rules shared by downloads and model servers.

They decide which responses are transient, how long to wait before a retry, which variables of the
environment are secrets, and whether the Hub can be reached at all.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from gpt2eval.errors import UsageError, keep_secret, one_line
from gpt2eval.notices import notify

if TYPE_CHECKING:
    from tenacity import RetryCallState, Retrying

SECRET_VARIABLE = re.compile(
    r"HF_TOKEN|HUGGING_?FACE_?HUB_TOKEN|.*(API_?KEY|ACCESS_?KEY|_TOKEN|_SECRET|PASSWORD|PASSWD)",
    re.IGNORECASE,
)
PROXY_VARIABLE = re.compile(r"(https?|all)_proxy", re.IGNORECASE)
HUB_SECONDS = 5.0  # within which the Hub must answer a first request
SILENT_SECONDS = 1.0  # before a notice says what is being waited for
# Request timeout, conflict, too early, too many requests, and server or gateway errors: the same
# request may succeed later.
TRANSIENT_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


class TransientError(Exception):
    """A failure that may pass, such as a busy server or a dropped connection.

    `retry_after` is the number of seconds that the server asks the client to wait, or None.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def retry_after(header: str) -> float | None:
    """Return the seconds in a `Retry-After` header, or None where it holds a date or nothing.

    >>> retry_after("1.5"), retry_after("Wed, 21 Oct 2026 07:28:00 GMT")
    (1.5, None)
    """
    return float(header) if header.replace(".", "", 1).isdecimal() else None


def downgrade(first: str, url: str) -> str:
    """Return what is wrong with a redirect from `first` to `url`, or "".

    A redirect from https to http lets anybody on the way read and change the answer.

    >>> downgrade("https://a.org/x", "http://me:word@b.org/x")
    'redirects from https to http://b.org; expected https'
    """
    target = urlsplit(url)
    if urlsplit(first).scheme != "https" or target.scheme == "https":
        return ""
    return f"redirects from https to {target.scheme}://{target.hostname}; expected https"


def retrying(
    attempts: int,
    backoff: "Callable[[RetryCallState], float]",
    longest: float,
    before_sleep: "Callable[[RetryCallState], None] | None" = None,
) -> "Retrying":
    """Return a caller that runs a function again after each `TransientError`.

    Makes at most `attempts` attempts, and raises the error of the last one. Between attempts it
    waits for the longer of `backoff` and the server's `Retry-After`, but at most `longest` seconds.
    """

    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

    def wait(state: "RetryCallState") -> float:
        error = state.outcome and state.outcome.exception()
        requested = error.retry_after if isinstance(error, TransientError) else None
        return min(max(requested or 0.0, backoff(state)), longest)

    return Retrying(
        stop=stop_after_attempt(attempts),
        wait=wait,
        retry=retry_if_exception_type(TransientError),
        reraise=True,
        before_sleep=before_sleep,
    )


def hide_environment() -> None:
    """Have every later message hide the secrets in the environment, such as HF_TOKEN."""
    for name, value in os.environ.items():
        if SECRET_VARIABLE.fullmatch(name) and len(value) >= 8:
            keep_secret(value)
        elif PROXY_VARIABLE.fullmatch(name) and "@" in value:
            # not urlsplit, which rejects some passwords
            user = value.rpartition("@")[0].rpartition("://")[2]
            password = user.partition(":")[2]
            keep_secret(password)
            keep_secret(unquote(password))


def why_unreachable() -> str:
    """Ask the Hub for anything; return why it cannot be reached, or "".

    The libraries behind it wait up to a minute for each file, in silence. Any answer counts, also
    an error. A notice says what is being waited for.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    host = urlsplit(constants.ENDPOINT).hostname or constants.ENDPOINT
    problem = f"no answer from {host} within {HUB_SECONDS:g} seconds"

    def ask() -> None:
        nonlocal problem
        try:
            get_session().head(constants.ENDPOINT, timeout=HUB_SECONDS, follow_redirects=False)
            problem = ""
        except Exception as error:  # the library raises many types; each means "no answer"
            if "Timeout" not in type(error).__name__:
                problem = f"no connection to {host} ({one_line(error, 80)})"

    # A thread, because no timeout applies to looking a name up.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(SILENT_SECONDS)
    if thread.is_alive():
        notify(f"waiting for {host}, at most {HUB_SECONDS:g} seconds; HF_HUB_OFFLINE=1 skips this")
        thread.join(HUB_SECONDS)
    return problem


@contextmanager
def hub_access(subject: str, *places: str | None) -> Iterator[None]:
    """Load from the Hub inside the context; only from its cache where it cannot be reached.

    Args:
        subject: What is loaded; a message starts with it.
        places: What is loaded from. Nothing is asked if all of them exist on disk.

    Raises:
        UsageError: If the Hub cannot be reached, and what is loaded is not in its cache.
    """
    from huggingface_hub import constants

    is_local = all(place is None or Path(place).exists() for place in places)
    problem = "" if is_local or constants.HF_HUB_OFFLINE else why_unreachable()
    if not problem:
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    except (OSError, UsageError) as error:
        if not _is_missing(error):
            raise
        raise UsageError(
            f"{subject}: {problem}, and it is not in the cache; expected a network, or a local "
            "folder; HF_HUB_OFFLINE=1 uses the cache without asking"
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = False


def _is_missing(error: BaseException) -> bool:
    """Return whether an error comes from a file that is not there, directly or by its causes."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) and cause not in chain:
        chain.append(cause)
    return any(isinstance(link, OSError) for link in chain)
