"""The state of one command-line call, and the option that trusts the folders of `--include`."""

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command


@dataclass(slots=True)
class Session:
    """State of one command-line call.

    Attributes:
        traceback: Whether an error prints its traceback.
        trust_include: Whether the folders of `--include` may hold Python modules.
    """

    traceback: bool = False
    trust_include: bool = False


def session_of(ctx: typer.Context) -> Session:
    """Return the session of a call, or a new one where a command runs without `main`."""
    session = ctx.find_root().obj
    return session if isinstance(session, Session) else Session()


def _set_trust_include(ctx: typer.Context, value: bool) -> None:
    if value:
        session_of(ctx).trust_include = True


def make_importable(ctx: typer.Context, folders: list[Path] | None) -> list[Path] | None:
    """Put the folders of `--include` at the end of the import path, with `--trust-include`."""
    if folders and session_of(ctx).trust_include:
        sys.path += [str(folder.resolve()) for folder in folders]
    return folders


TRUST_INCLUDE = typer.Option(
    "--trust-include",
    help="Let a detokenizer in a folder of --include import Python code from there.",
    callback=_set_trust_include,
    is_eager=True,  # before --include
    expose_value=False,
    show_default=False,
    rich_help_panel="Data",
)


@cache
def trust_option() -> Any:
    """Return the option `--trust-include`, which every command with `--include` has."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def trusting(trust_include: Annotated[bool, TRUST_INCLUDE] = False) -> None:
        pass

    return get_command(app).params[0]
