"""Signatures at work: run exactly the protocol that one names, and say in which fields two differ."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gpt2eval import demo, pipeline
from gpt2eval.config import catalog, loader
from gpt2eval.errors import UsageError
from gpt2eval.metrics import signature
from gpt2eval.models import registry
from gpt2eval.models.options import LoadOptions
from gpt2eval.report import store
from gpt2eval.report.results import Results
from gpt2eval.types import Model, Progress
from gpt2eval.version import __version__

IDENTITY = ("model", "peft", "code", "tok", "quant")
NUMBERS = {
    "ctx": "context",
    "stride": "stride",
    "limit": "limit",
    "batch": "tokens",
}  # fields that settings can take over


def rerun(
    line: str,
    model: str | Model | None = None,
    *,
    data: Mapping[str, Path | str] | None = None,
    out: Path | str | None = None,
    settings: pipeline.Settings = pipeline.Settings(),
    options: LoadOptions | None = None,
    include: Sequence[Path] = (),
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Results:
    """Measure the task of a signature by just its protocol, on its own model if none is given.

    Context, stride, limit, and where they are given dtype and batch, are the signature's; all else is what the task's
    file says, and must agree. Raises UsageError, before anything is scored, for a signature that is none, names no task
    or no model, or says other than the task, the data or the model do, naming the fields. Source: issue 4.
    """
    fields = signature.read(line)
    if fields["task"].startswith("text/") and "text" not in catalog.files("tasks", include):
        raise UsageError(
            f"signature: task: {fields['task']} is a text of somebody's own; expected gpt2eval run --text with that text, and "
            "the --unit, --detokenizer, --context, --stride and --limit of the line; gpt2eval diff compares the two"
        )
    task = loader.load_task(fields["task"], include)
    given = {name: _number(fields, key) for key, name in NUMBERS.items() if key in fields}
    tokens = given.pop("tokens", None) if settings.batch_size is None else None
    given.pop("tokens", None)
    allow_lossy = settings.allow_lossy or "tokens" in fields
    settings = replace(settings, tokens=tokens, allow_lossy=allow_lossy, **given)
    protocol = {
        key: value for key, value in fields.items() if key not in signature.FREE and key != "unit"
    }
    named = fields.get("model", "").rpartition("@")[0]
    options = options or LoadOptions(dtype=fields.get("dtype", "float32"))
    if model is None:
        if not named:
            raise UsageError("the signature names no model; expected --model")
        adapter = fields.get("peft", "").rpartition("@")[0] or fields.get("peft")
        options = replace(
            options,
            peft=options.peft or adapter,
            quantization=options.quantization or fields.get("quant"),
        )
        data = demo.data() if data is None and named == "demo" else data
        model = registry.load_model(named, options)
        _check_model(model, fields)
    if fields.get("v", __version__) != __version__:
        raise UsageError(
            f"signature: v: {fields['v']} there, {__version__} here; expected that version, or the line without v:"
        )
    made = pipeline.evaluate(
        model if model is not None else named,
        [task.full_name],
        data=data,
        out=out,
        settings=replace(settings, expected=protocol),
        options=options,
        include=include,
        progress=watch,
    )
    units = [f"{m.unit}@{m.units}" for result in made for m in result.metrics.values()]
    if "unit" in fields and fields["unit"] not in units:
        raise UsageError(
            f"signature: unit: {fields['unit']}; the task has {', '.join(dict.fromkeys(units))}"
        )
    return made


def _check_model(model: Model, fields: Mapping[str, str]) -> None:
    """Raise UsageError, naming the fields, where a model is not the one that a signature names."""
    found = signature.model_fields(registry.identity_of(model))
    apart = [
        (key, fields[key], found.get(key, "(none)"))
        for key in IDENTITY
        if key in fields and fields[key] != found.get(key)
    ]
    if apart:
        listed = "; ".join(f"{key}: {there} there, {here} here" for key, there, here in apart)
        raise UsageError(f"signature: not its model: {listed}; expected the same, or --model")


def _number(fields: Mapping[str, str], key: str) -> int:
    """A field's number. Raises UsageError if it is none."""
    if not fields[key].isdecimal():
        raise UsageError(f"signature: {key}: {fields[key]!r}; expected a whole number")
    return int(fields[key])


def _is_place(which: str) -> bool:
    """Whether there is a file or folder of that name; a long signature can be none."""
    try:
        return Path(which).exists()
    except OSError:
        return False


def diff(first: str, second: str) -> str:
    """The fields in which two signatures or results (files, or folders with one) differ, and whether they compare."""
    a, b = (signature.read(_line(which)) for which in (first, second))
    apart = [
        f"{field}: {x or '(none)'} != {y or '(none)'}"
        for field, x, y in signature.differences(a, b)
    ]
    yes, why = signature.comparable(a, b)
    return "\n".join([*apart, f"comparable: {'yes' if yes else 'no'}, {why}"])


def _line(which: str) -> str:
    """A signature, or that of the first metric of the result in a place."""
    if "task:" in which or not _is_place(which):
        return which
    found = store.read_results(which)
    if len(found) > 1:
        raise UsageError(f"{which}: holds {len(found)} results; expected one")
    return found[0].signature
