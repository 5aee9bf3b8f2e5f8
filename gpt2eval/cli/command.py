"""Base classes of commands: help in named groups, and the options that every command has.

Help is plain text that fits 80 columns. Does not know what a command does.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from gpt2eval.cli.config_file import read_options
from gpt2eval.cli.session import session_of, trust_option
from gpt2eval.notices import LOGGER

HELP = {"help_option_names": ["-h", "--help"]}
GENERAL = "General"
NAME_WIDTH = 26  # of an option's name in the help; a longer name takes a line of its own


def is_quiet() -> bool:
    """Return whether --quiet hides notices and progress bars."""
    return not LOGGER.isEnabledFor(logging.WARNING)


def _set_quiet(value: bool) -> None:
    if value:
        LOGGER.setLevel(logging.ERROR)  # restored when notices are no longer shown


def _set_verbose(value: bool) -> None:
    if value:
        LOGGER.setLevel(logging.INFO)


def _set_traceback(ctx: typer.Context, value: bool) -> None:
    if value:
        session_of(ctx).traceback = True


def _set_config(ctx: typer.Context, value: Path | None) -> None:
    if value is not None and not ctx.resilient_parsing:
        ctx.default_map = read_options(value, ctx.command.params)


def _flag(callback: Any, *names: str, text: str) -> Any:
    """Return an option that acts through its callback and is not passed to the command."""
    return typer.Option(
        *names,
        help=text,
        callback=callback,
        is_eager=True,
        expose_value=False,
        show_default=False,
        rich_help_panel=GENERAL,
    )


QUIET = _flag(_set_quiet, "-q", "--quiet", text="Hide notices and progress bars.")
VERBOSE = _flag(_set_verbose, "-v", "--verbose", text="Print each step.")
TRACEBACK = _flag(
    _set_traceback,
    "--traceback",
    text="Print the full traceback of an error (or set GPT2EVAL_TRACEBACK=1).",
)
CONFIG = typer.Option(
    "--config",
    metavar="FILE",
    help="YAML file of options, such as 'tasks: ptb'. Command-line options override it.",
    callback=_set_config,
    is_eager=True,
    expose_value=False,
    rich_help_panel=GENERAL,
)


@cache
def _common_options() -> tuple[Any, ...]:
    """Return the options that every command has."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def common(
        config: Annotated[Optional[Path], CONFIG] = None,
        quiet: Annotated[bool, QUIET] = False,
        verbose: Annotated[bool, VERBOSE] = False,
        traceback: Annotated[bool, TRACEBACK] = False,
    ) -> None:
        pass

    return tuple(get_command(app).params)


class Command(TyperCommand):
    """A command with the common options; its help lists the options by group."""

    def __init__(self, name: str | None, **settings: Any) -> None:
        super().__init__(name, **settings)
        takes_include = any(parameter.name == "include" for parameter in self.params)
        trust = [trust_option()] if takes_include else []
        self.params = [*self.params, *trust, *_common_options()]

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words after the command in the usage line, such as `[OPTIONS] RESULTS...`."""
        return ["[OPTIONS]", *(usage(p) for p in self.params if p.param_type_name == "argument")]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then each group of options."""
        _write_groups(grouped(self.get_params(ctx), ctx), formatter)


class Group(TyperGroup):
    """A group of commands; its help lists the commands by group, in the order of definition."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.params = [*self.params, *(p for p in _common_options() if p.name != "config")]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write each group of commands, then the options."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is None or command.hidden:
                continue
            panel = getattr(command, "rich_help_panel", None)
            title = panel if isinstance(panel, str) else "Commands"
            groups.setdefault(title, []).append((name, command.get_short_help_str(200)))
        _write_groups(groups, formatter)
        _write_groups(grouped(self.get_params(ctx), ctx), formatter)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands in the order of definition."""
        return list(self.commands)


def grouped(parameters: Sequence[Any], ctx: typer.Context) -> dict[str, list[tuple[str, str]]]:
    """Return the help lines of parameters by group, the general options last."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for parameter in parameters:
        record = parameter.get_help_record(ctx)
        if record is None:
            continue
        if parameter.param_type_name == "argument":
            title = "Arguments"
            name = _argument_name(parameter)
        else:
            title = getattr(parameter, "rich_help_panel", None) or GENERAL
            name = _option_name(parameter)
        groups.setdefault(title, []).append((name, record[1]))
    general = groups.pop(GENERAL, None)
    return groups | ({GENERAL: general} if general else {})


def _argument_name(argument: Any) -> str:
    return argument.metavar or argument.name.upper()


def usage(argument: Any) -> str:
    """Return an argument as the usage line shows it, such as `[TASKS...]`."""
    name = _argument_name(argument) + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _option_name(option: Any) -> str:
    """Return an option as help shows it: its names, and the kind of value that it takes."""
    names = ", ".join(sorted(option.opts, key=len))
    if option.is_flag:
        return names
    return f"{names} {option.metavar or option.type_descriptor.annotation.__name__.upper()}"


def _write_groups(groups: Mapping[str, Sequence[tuple[str, str]]], formatter: Any) -> None:
    """Write groups of lines with one width for all their names."""
    names = [name for rows in groups.values() for name, _ in rows]
    width = max((len(name) for name in names if len(name) <= NAME_WIDTH), default=0)
    for title, rows in groups.items():
        with formatter.section(title):
            formatter.write_dl(
                [(name.ljust(width), text) for name, text in rows], col_max=NAME_WIDTH + 2
            )
