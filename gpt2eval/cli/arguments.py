"""Values of options as the objects that commands work with: settings, files, texts."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gpt2eval.errors import UsageError
from gpt2eval.settings import whole_number

if TYPE_CHECKING:
    from gpt2eval.data.custom import Text
    from gpt2eval.models.options import LoadOptions
    from gpt2eval.settings import Settings


def load_options(flags: Mapping[str, Any], **changes: Any) -> "LoadOptions":
    """Return the load options: every flag whose name is a field of `LoadOptions`."""
    from gpt2eval.models.options import LoadOptions

    return LoadOptions(**_fields(LoadOptions, flags) | changes)


def settings(flags: Mapping[str, Any], **changes: Any) -> "Settings":
    """Return the settings of a run: every flag whose name is a field of `Settings`."""
    from gpt2eval.settings import Settings

    flags = {
        **flags,
        "max_size": size(flags.get("max_size")),
        "batch_size": batch_size(flags.get("batch_size")),
    }
    return Settings(**_fields(Settings, flags) | changes)


def _fields(kind: Any, flags: Mapping[str, Any]) -> dict[str, Any]:
    names = [field.name for field in fields(kind)]
    return {name: flags[name] for name in names if flags.get(name) is not None}


def each_model(
    models: Sequence[str], names: Sequence[str] | None, revisions: str | None
) -> list[tuple[str, str | None]]:
    """Return every model with its name in results, once or once per revision as `M@step1000`.

    `names` are those of `--name`, in the order of the models; without them a name is None.

    Raises:
        UsageError: For another number of names, a repeated name or an empty revision.
    """
    if names and len(names) != len(models):
        raise UsageError(
            f"--name: names: {len(names)}, models: {len(models)}; expected one name for each "
            "--model, in order"
        )
    if names and len({*names}) < len(names):
        raise UsageError(f"--name {_repeated(names)}: given twice; expected different names")
    pairs = [*dict.fromkeys(zip(models, names or [None] * len(models), strict=True))]
    if revisions is None:
        return pairs
    listed = revisions.split(",")
    if not all(listed):
        raise UsageError(
            f"--revisions {revisions}: expected branches, tags or commits, separated by commas"
        )
    return [
        (f"{model}@{revision}", name and f"{name}@{revision}")
        for model, name in pairs
        for revision in dict.fromkeys(listed)
    ]


def _repeated(names: Sequence[str]) -> str:
    return next(name for name in names if names.count(name) > 1)


def batch_size(text: str | None) -> "int | Literal['auto'] | None":
    """Return the value of `--batch-size`.

    Raises:
        UsageError: It is neither a whole number nor `auto`.
    """
    if text is None or text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise UsageError(
            f"--batch-size {text}: expected a whole number of 1 or more, or auto"
        ) from None


def counts(name: str, text: str | None) -> tuple[int, ...]:
    """Return the whole numbers of an option `--name`, separated by commas; () if it is absent.

    Raises:
        UsageError: One is not a whole number of 1 or more.
    """
    pieces = [] if text is None else text.split(",")
    if wrong := [piece for piece in pieces if (whole_number(piece) or 0) < 1]:
        raise UsageError(
            f"--{name} {wrong[0]:.40}: expected whole numbers of 1 or more, separated by commas"
        )
    return tuple(map(int, pieces))


def data_files(data: list[str] | None, include: Sequence[Path]) -> dict[str, Path] | None:
    """Return `TASK=PATH` arguments as a mapping; `demo` stands for all embedded records."""
    if not data:
        return None
    from gpt2eval.data.local import parse_data

    return parse_data(data, include)


def size(max_size: str | None) -> int | None:
    """Return the value of `--max-size` in bytes."""
    if max_size is None:
        return None
    from gpt2eval.data.limits import parse_size

    return parse_size(max_size)


def own_texts(
    places: list[str] | None,
    unit: str | None,
    detokenizer: str | None,
    include: Sequence[Path],
    max_size: int | None = None,
    group: str | None = None,
) -> list["Text"]:
    """Return the texts of `--text` arguments.

    Raises:
        UsageError: for `--unit`, `--detokenizer` or `--group` without a `--text`.
    """
    if not places:
        for name, value in (("unit", unit), ("detokenizer", detokenizer), ("group", group)):
            if value is not None:
                raise UsageError(
                    f"--{name} {value}: applies to --text only; expected a --text, "
                    "or the matching task in --tasks"
                )
        return []
    from gpt2eval.data import custom

    return custom.load_texts(
        [
            custom.load_text(place, unit or "word", detokenizer, include, max_size, group)
            for place in places
        ]
    )
