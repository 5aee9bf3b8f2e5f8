"""Repeat a measurement from its signature, and compare two signatures.

Knows which signature fields the settings can reproduce. Does not know how a protocol is scored.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from gpt2eval import pipeline
from gpt2eval.analysis.signature_model import check_local_weights, load_signature_model
from gpt2eval.config import catalog, loader
from gpt2eval.data.local import Data, local_files
from gpt2eval.errors import UsageError
from gpt2eval.metrics import signature
from gpt2eval.metrics.result import Result
from gpt2eval.metrics.verdict import why_limited
from gpt2eval.models import registry
from gpt2eval.models.options import LoadOptions
from gpt2eval.report import store
from gpt2eval.report.escape import visible
from gpt2eval.report.results import Results
from gpt2eval.settings import Settings, whole_number
from gpt2eval.types import Model, Progress
from gpt2eval.version import __version__

# Signature fields with a number, and the settings that reproduce them.
NUMERIC_SETTINGS = {"ctx": "context", "stride": "stride", "limit": "limit", "batch": "tokens"}


class Comparison(NamedTuple):
    """The fields in which two signatures differ, and whether their numbers may be compared.

    `caveat` says why numbers that are comparable with each other have no verdict beside published
    figures: because they are limited. It is "" otherwise.
    """

    differences: tuple[signature.Difference, ...]
    is_comparable: bool
    reason: str
    caveat: str = ""

    def __str__(self) -> str:
        """One line per differing field, then the verdict."""
        lines = [
            f"{field}: {first or '(none)'} != {second or '(none)'}"
            for field, first, second in self.differences
        ]
        lines.append(f"comparable: {'yes' if self.is_comparable else 'no'}, {self.reason}")
        return "\n".join(map(visible, lines))


def rerun(
    line: str,
    model: str | Model | None = None,
    *,
    data: Data = None,
    out: Path | str | None = None,
    settings: Settings = Settings(),
    options: LoadOptions | None = None,
    include: Sequence[Path] = (),
    progress: Callable[[Progress], None] | None = None,
) -> Results:
    """Measure the task of a signature with exactly the protocol that the signature names.

    Context, stride and limit come from the signature; so do dtype and batch unless they are given.
    All other fields come from the task's file and must agree with the signature.

    Args:
        line: a signature, complete or only its protocol part, or a line that contains one.
        model: a model name or backend; by default the signature's model.
        The other arguments are those of `evaluate`.

    Returns:
        The results of the task.

    Raises:
        UsageError: if the line is not a signature, names an unknown task or no model, or disagrees
            with the task, the data or the model. The message names the fields. A disagreement
            about the unit is detected only after scoring.

    Examples:
        ```python
        rerun("task:ptb|data:dd65dff3|...", "gpt2-large", data={"ptb": "ptb.test.txt"})
        ```
    """
    fields = signature.read(line)
    task = loader.load_task(_task_name(fields, include), include)
    # The tokenizer decides which start tokens correspond.
    ignored = signature.FREE - {"tok"} | {"unit"}
    protocol = {key: value for key, value in fields.items() if key not in ignored}
    settings = replace(_apply_signature(settings, fields), expected=protocol)
    options = options or LoadOptions(dtype=fields.get("dtype", "float32"))
    _check_version(fields)
    _check_filter(fields)
    measured = pipeline.evaluate(
        _load_model(model, fields, options),
        [task.full_name],
        data=local_files(data, include, _model_name(fields) if model is None else model),
        out=out,
        settings=settings,
        options=options,
        include=include,
        progress=progress,
    )
    _check_unit(fields, measured)
    return measured


def _task_name(fields: Mapping[str, str], include: Sequence[Path]) -> str:
    """Return the task of a signature; raise UsageError for a custom text, which has no file."""
    name = fields["task"]
    if name.startswith("text/") and "text" not in catalog.files("tasks", include):
        raise UsageError(
            f"signature: task: {name} is a custom text; expected gpt2eval run --text with that "
            "text and the --unit, --detokenizer, --context, --stride and --limit of the signature; "
            "gpt2eval diff compares the two"
        )
    return name


def _check_version(fields: Mapping[str, str]) -> None:
    """Raise UsageError if a signature is of another version of gpt2eval."""
    if fields.get("v", __version__) != __version__:
        raise UsageError(
            f"signature: v: the signature has {fields['v']}, this is {__version__}; "
            "expected the same version, or a signature without v:"
        )


def _check_filter(fields: Mapping[str, str]) -> None:
    """Raise UsageError if a signature names the search of an older version."""
    if signature.names_older_search(fields):
        raise UsageError(
            f"signature: filter: {fields['filter']} is the beam search of an older gpt2eval; "
            f"expected {fields['filter'].partition('.')[0]}.exact, the search of this version"
        )


def _model_name(fields: Mapping[str, str]) -> str:
    """Return the model of a signature, without its revision; "" if it names none."""
    return fields.get("model", "").rpartition("@")[0]


def _load_model(
    model: str | Model | None, fields: Mapping[str, str], options: LoadOptions
) -> Model:
    """Load a named model, or by default the signature's; return a backend unchanged."""
    if model is None:
        return load_signature_model(_model_name(fields), fields, options)
    if not isinstance(model, str):
        return model
    backend = registry.load_model(model, options)
    check_local_weights(backend, fields)
    return backend


def _apply_signature(settings: Settings, fields: Mapping[str, str]) -> Settings:
    """Return settings with the signature's numbers; a given batch size overrides its batch."""
    numbers = {
        name: _number(fields, key) for key, name in NUMERIC_SETTINGS.items() if key in fields
    }
    tokens = numbers.pop("tokens", None) if settings.batch_size is None else None
    numbers.pop("tokens", None)
    settings = replace(settings, **numbers)
    # The signature records that a lossy tokenizer, and that kept lines, were allowed.
    allow_lossy = settings.allow_lossy or "tokens" in fields
    allow_kept = settings.allow_kept or "(kept " in fields.get("detok", "")
    return replace(settings, tokens=tokens, allow_lossy=allow_lossy, allow_kept=allow_kept)


def _check_unit(fields: Mapping[str, str], measured: Sequence[Result]) -> None:
    """Raise UsageError if no metric has the unit of a signature; it is known only after scoring."""
    metrics = [metric for result in measured for metric in result.metrics.values()]
    units = dict.fromkeys(f"{metric.unit}@{metric.units}" for metric in metrics)
    if "unit" in fields and fields["unit"] not in units:
        raise UsageError(
            f"signature: unit: {fields['unit']}; expected one of the task's: {', '.join(units)}"
        )


def _number(fields: Mapping[str, str], key: str) -> int:
    if (number := whole_number(fields[key])) is None:
        raise UsageError(f"signature: {key}: {fields[key]!r:.40}; expected a whole number")
    return number


def compare(first: str, second: str) -> Comparison:
    """Compare two signatures or results.

    Args:
        first: a signature, a `result.json`, or a folder with exactly one result.
        second: the same.

    Raises:
        UsageError: if an argument is neither a signature nor a single result.

    Examples:
        ```python
        compare("results/gpt2/ptb", "results/gpt2-large/ptb").is_comparable
        ```
    """
    first_fields = signature.read(_read_signature(first))
    second_fields = signature.read(_read_signature(second))
    is_comparable, reason = signature.comparable(first_fields, second_fields)
    differences = tuple(signature.differences(first_fields, second_fields))
    return Comparison(differences, is_comparable, reason, why_limited(first_fields))


def diff(first: str, second: str) -> str:
    """Return the comparison of two signatures or results as text; see `compare`."""
    return str(compare(first, second))


def _read_signature(argument: str) -> str:
    """Return a signature unchanged; for a path, return the signature of its only result."""
    if "task:" in argument or not _is_existing_path(argument):
        return argument
    stored = store.read_results(argument)
    if len(stored) > 1:
        raise UsageError(f"{argument}: holds {len(stored)} results; expected one")
    return stored[0].signature


def _is_existing_path(argument: str) -> bool:
    try:
        return Path(argument).exists()
    except OSError:  # a signature can be too long for a path
        return False
