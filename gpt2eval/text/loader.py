"""Load a `Detokenizer` from its file by name."""

from collections.abc import Sequence
from pathlib import Path
from warnings import catch_warnings

from gpt2eval.config import catalog
from gpt2eval.config.detokenizer_schema import DetokenizerFile, Rule
from gpt2eval.config.loader import validate
from gpt2eval.config.yaml_reader import read_yaml
from gpt2eval.errors import UsageError, unknown
from gpt2eval.text.detokenizer import Detokenizer, OneWaySteps
from gpt2eval.text.plugin import CheckedClass
from gpt2eval.text.rule_patterns import compile_pattern
from gpt2eval.text.schemes import RuleScheme, Swap, WholeLine
from gpt2eval.text.telling import telling_texts


def load_detokenizer(name: str, include: Sequence[Path] = ()) -> Detokenizer | OneWaySteps:
    """Load a detokenizer by name.

    Args:
        name: `scheme` or `scheme+option+option`, such as `ptb+question`.
        include: Catalog folders to search first.

    Returns:
        The detokenizer; its `name` is the given one with the version of the file, `ptb.1`.

    Raises:
        UsageError: The name or an option is unknown, or the file is invalid.
    """
    base, *options = name.split("+")
    path = catalog.find("detokenizers", base, include)
    content = load_detokenizer_file(path)
    for option in options:
        if option not in content.options:
            raise unknown(f"option of detokenizer {base}", option, content.options or ["(none)"])
    versioned = f"{name}.{content.version}"
    if content.steps:
        return OneWaySteps(versioned, _rules(content.steps, options, path, "steps", include))
    if content.python:
        scheme = WholeLine(CheckedClass(content.python, path))
    else:
        scheme = RuleScheme(
            _rules(content.do, options, path, "do", include),
            _rules(content.undo, options, path, "undo", include),
        )
    return Detokenizer(
        versioned, scheme, invertible=content.invertible, carries=content.carry_quotes
    )


def load_detokenizer_file(path: Path) -> DetokenizerFile:
    """Read and validate a detokenizer file, including its examples."""
    return validate(DetokenizerFile, read_yaml(path), path)


def _rules(
    rules: Sequence[Rule], options: Sequence[str], path: Path, key: str, include: Sequence[Path]
) -> tuple[Swap, ...]:
    """Compile the rules that always apply and those of the chosen options."""
    compiled: list[Swap] = []
    for number, rule in enumerate(rules):
        place = f"{path}: {key}.{number}"
        if rule.option is not None and rule.option not in options:
            continue
        if rule.use is None:
            compiled.append(_swap(rule, place, timed=not path.is_relative_to(catalog.shipped())))
        else:
            compiled += _steps_of(rule.use, place, include)
    return tuple(compiled)


def _swap(rule: Rule, place: str, *, timed: bool) -> Swap:
    """Compile one rule that states a regular expression."""
    pattern = rule.glue or rule.swap or ""
    with catch_warnings(action="ignore", category=FutureWarning):  # of [[:alpha:]]
        find = compile_pattern(pattern, rule.by, place, timed=timed)
        telling = telling_texts(pattern)
    return Swap(find, rule.by, telling)


def _steps_of(versioned: str, place: str, include: Sequence[Path]) -> tuple[Swap, ...]:
    """Compile the steps of another file, given as `NAME.VERSION`.

    The version is stated so that the file that uses the steps gets a new version with them.
    """
    name, _, version = versioned.rpartition(".")
    path = catalog.find("detokenizers", name, include)
    content = load_detokenizer_file(path)
    if str(content.version) != version:
        raise UsageError(f"{place}: use: {versioned}; {name} has version {content.version}")
    if not content.steps or any(step.use for step in content.steps):
        raise UsageError(f"{place}: use: {versioned}: expected a file with steps of its own")
    return _rules(content.steps, (), path, "steps", include)
