"""What changes from one protocol to another: the settings of a group, and a change in words."""

from gpt2eval.analysis.explain_result import SETTING_GROUPS
from gpt2eval.config.schema import Drop, Pack, Task
from gpt2eval.config.source_schema import Expect
from gpt2eval.metrics.protocol import pack_name


def with_group(first: Task, second: Task, group: str) -> Task:
    """Return the first task with one group of the second one's settings.

    The text of a task that joins the tokens of its records is read as before until `join`.
    """
    settings: dict[str, object] = {key: getattr(second, key) for key in SETTING_GROUPS[group]}
    if group == "text":
        settings["variant"] = second.variant  # it chooses the local file
        if second.joins_tokens:
            settings["format"] = first.format
            settings["expect"] = first.expect if first.source == second.source else Expect()
    return first.model_copy(update=settings)


def describe_change(first: Task, second: Task, group: str, tokens: int) -> tuple[str, str]:
    """Return the settings of a group that differ, before and after, without what is equal.

    A setting that has the name of its group is given by its value alone.
    """
    if group == "text":
        with_format = first.format != second.format
        return _describe_text(first, with_format), _describe_text(second, with_format)
    before: list[str] = []
    after: list[str] = []
    for key in SETTING_GROUPS[group]:
        if key == "expect" or getattr(first, key) == getattr(second, key):
            continue
        label = "" if key == group else f"{key} "
        before.append(label + _describe_value(first, key, tokens))
        after.append(label + _describe_value(second, key, tokens))
    return ", ".join(before), ", ".join(after)


def _describe_text(task: Task, with_format: bool) -> str:
    by_format = f" by {task.format}" if with_format and task.format != "stream" else ""
    return f"{task.source.file.name}{by_format}"


def _describe_value(task: Task, key: str, tokens: int) -> str:
    """Return a setting's value on one line; the scored text has `tokens` tokens."""
    value = getattr(task, key)
    if value is None:
        return "none"
    if key == "context" and value >= tokens:
        return "whole text"
    if isinstance(value, Pack):
        return pack_name(value)
    if isinstance(value, Drop):
        return f"per {value.rows} rows, {value.workers} worker{'s' if value.workers > 1 else ''}"
    return str(value).replace("\n", "\\n")
