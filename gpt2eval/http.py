"""HTTP rules shared by downloads and model servers.

They decide which responses are transient, and how long to wait before a retry.
"""

from collections.abc import Callable

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

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


def retrying(
    attempts: int,
    backoff: Callable[[RetryCallState], float],
    longest: float,
    before_sleep: Callable[[RetryCallState], None] | None = None,
) -> Retrying:
    """Return a caller that runs a function again after each `TransientError`.

    Makes at most `attempts` attempts, and raises the error of the last one. Between attempts it
    waits for the longer of `backoff` and the server's `Retry-After`, but at most `longest` seconds.
    """

    def wait(state: RetryCallState) -> float:
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
