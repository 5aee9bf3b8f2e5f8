"""Options of a command from a YAML file: `gpt2eval run --config run.yaml`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from gpt2eval.errors import UsageError, unknown

Options = Mapping[str, Any]
EXPECTED = {int: "an integer", float: "a number"}


def read_options(path: Path, parameters: Sequence[Any]) -> dict[str, Any]:
    """Return the values in a file by the names of a command's parameters.

    Keys are option names without leading hyphens; underscores and hyphens are equivalent.
    An option that may be repeated takes a list, `data` also a mapping of tasks to files, and
    `tasks` a list of names.

    Raises:
        UsageError: for a file that is not YAML, an unknown key, or a value of the wrong kind.
    """
    from gpt2eval.config.yaml_reader import read_yaml

    by_key = {
        key: parameter
        for parameter in parameters
        if parameter.name != "config"
        for key in _keys(parameter)
    }
    values: dict[str, Any] = {}
    for key, value in read_yaml(path).items():
        name = str(key).replace("_", "-")
        if name not in by_key:
            raise UsageError(f"{path}: {unknown('option', str(key), by_key)}")
        if value is not None:
            parameter = by_key[name]
            values[parameter.name] = _value(value, parameter, f"{path}: {key}")
    return values


def _keys(parameter: Any) -> list[str]:
    """Return the keys of a parameter: its long options, or an argument's name."""
    if parameter.param_type_name == "argument":
        return [parameter.name.replace("_", "-")]
    return [option.removeprefix("--") for option in parameter.opts if option.startswith("--")]


def _value(value: Any, parameter: Any, place: str) -> Any:
    """Return a value in the form that the command line parser produces."""
    if getattr(parameter, "is_flag", False):
        if not isinstance(value, bool):
            raise UsageError(f"{place}: expected true or false, found {value!r:.60}")
        return value
    if isinstance(value, Mapping):
        value = [f"{key}={path}" for key, path in value.items()]
    listed = [str(item) for item in value] if isinstance(value, list) else [str(value)]
    if getattr(parameter, "multiple", False) or parameter.nargs == -1:
        return listed
    joined = ",".join(listed)
    _check_type(joined, parameter.type_descriptor.annotation, place)
    return joined


def _check_type(text: str, annotation: Any, place: str) -> None:
    """Raise UsageError for text that the command line parser would reject for an option."""
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(annotation).validate_python(text)
    except ValidationError:
        choices = f"one of: {', '.join(map(str, get_args(annotation)))}"
        expected = EXPECTED.get(annotation, choices)
        raise UsageError(f"{place}: expected {expected}, found {text!r:.60}") from None
