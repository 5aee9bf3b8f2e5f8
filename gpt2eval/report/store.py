"""Results on disk: each a complete `result.json` with a `run.json` beside it.

Equal work gives an equal `result.json`, byte for byte. Does not know how a result is measured.
"""

import os
from pathlib import Path

from gpt2eval.errors import UsageError
from gpt2eval.files import create_new, host, remove_leftovers
from gpt2eval.metrics.result import Result
from gpt2eval.notices import notify
from gpt2eval.report.folders import result_folder as result_folder
from gpt2eval.report.result_file import paths_below as paths_below
from gpt2eval.report.result_file import paths_in as paths_in
from gpt2eval.report.result_file import read_result as read_result
from gpt2eval.report.result_file import to_document as to_document
from gpt2eval.report.result_file import write_result as write_result
from gpt2eval.report.results import Results


def check_writable(out: Path) -> None:
    """Raise UsageError unless files can be created below `out`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        remove_leftovers(out)
        # A run that is killed here leaves the file, and the next one removes it.
        probe = out / f".probe.{os.getpid()}@{host()}.tmp"
        create_new(probe)
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"--out {out}: {error.strerror}; expected a folder that can be written to"
        ) from None


def read_results(*places: Path | str) -> Results:
    """Read results from any number of files and folders, in the order given, each file once.

    Args:
        places: result.json files, or folders with such files at any depth.

    Returns:
        The results. A file that cannot be read is skipped with a notice.

    Raises:
        UsageError: a place has no result.json, or none of the files can be read.

    Examples:
        >>> import tempfile
        >>> from gpt2eval import demo, evaluate
        >>> with tempfile.TemporaryDirectory() as out:
        ...     _ = evaluate("toy:uniform-bytes", "text8", data=demo.data(), out=out)
        ...     round(read_results(out)["text8"].bpc, 9)
        8.0
    """
    paths: dict[Path, None] = {}
    for place in map(Path, places):
        paths |= dict.fromkeys(paths_in(place))
    results: dict[Path, Result] = {}
    problems: list[UsageError] = []
    for path in paths:
        try:
            results[path] = read_result(path)
        except UsageError as error:
            problems.append(error)
    if problems and not results:
        raise problems[0]
    for problem in problems:
        notify(f"{problem}; skipped")
    return Results(results.values(), paths=[*results])


def readable(folder: Path) -> Results:
    """Return the results below a folder; skip an unreadable file with a notice."""
    found = {path: read_or_notify(path) for path in paths_below(folder)}
    results = {path: result for path, result in found.items() if result}
    return Results(results.values(), paths=[*results])


def read_or_notify(path: Path) -> Result | None:
    """Read one result; return None, with a notice, if it cannot be read."""
    try:
        return read_result(path)
    except UsageError as error:
        notify(f"{error}; skipped")
        return None
