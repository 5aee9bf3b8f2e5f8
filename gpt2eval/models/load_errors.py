"""Turn exceptions that libraries raise while a model loads into one-line errors.

A backend names the exceptions that it expects at each step. The registry reports running out of
memory and wraps everything else, once, in `LoadError`. Does not know libraries.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from gpt2eval.errors import LoadError, UsageError, one_line

OUT_OF_MEMORY = ("allocate memory", "not enough memory", "out of memory", "alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception means that the CPU or the accelerator ran out of memory.

    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ..."))
    True
    """
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # torch's CPU allocator and some of its backends raise a bare RuntimeError
    message = str(error).lower()
    return isinstance(error, RuntimeError) and any(text in message for text in OUT_OF_MEMORY)


def is_panic(error: BaseException) -> bool:
    """Return whether an exception is a library's own way to die, such as a panic of Rust code.

    pyo3's `PanicException` is no `Exception`, so that nothing catches it by accident. Requests to
    stop the process are none either, and must pass.
    """
    return not isinstance(error, Exception | KeyboardInterrupt | SystemExit | GeneratorExit)


@contextmanager
def expected_errors(subject: str, *exceptions: type[Exception], expectation: str) -> Iterator[None]:
    """Turn the exceptions that a step is expected to raise into `UsageError`.

    Args:
        subject: What is being loaded; the message starts with it.
        exceptions: The exception types that a bad input makes the step raise.
        expectation: What the step needs; the message ends with it.

    Raises:
        UsageError: If the step raises one of `exceptions`, or a library panics. Running out of
            memory passes through.

    >>> with expected_errors("model x", KeyError, expectation="a config with n_layer"):
    ...     {}["n_layer"]
    Traceback (most recent call last):
    gpt2eval.errors.UsageError: model x: 'n_layer'; expected a config with n_layer
    """
    try:
        yield
    except UsageError:
        raise
    except BaseException as error:
        is_expected = isinstance(error, exceptions) or is_panic(error)
        if is_out_of_memory(error) or not is_expected:
            raise
        problem = one_line(error)
        if is_panic(error):
            problem = f"a library panicked ({problem})"
        raise UsageError(f"{subject}: {problem}; expected {expectation}") from error


def load_failure(name: str, dtype: str, error: BaseException) -> UsageError:
    """Return the error for an exception that no step of loading the model expected.

    >>> print(load_failure("gpt2", "float32", KeyError("n_layer")))
    unexpected KeyError while loading model gpt2: 'n_layer'; --traceback shows where
    >>> print(load_failure("gpt2-xl", "float32", MemoryError()))
    model gpt2-xl: out of memory while loading in float32; try --dtype bfloat16 or --device-map auto
    """
    if is_out_of_memory(error):
        return UsageError(
            f"model {name}: out of memory while loading in {dtype}; "
            "try --dtype bfloat16 or --device-map auto"
        )
    return LoadError(
        f"unexpected {type(error).__name__} while loading model {name}: {one_line(error, 200)}; "
        "--traceback shows where"
    )
