"""What every command shares: --json, -v and -q, and where words go."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from pepr_edge.errors import PeprError

INSTALL = "pip install 'pepr_edge[train]', from a checkout: pip install '.[train]'"
F = TypeVar("F", bound=Callable[..., Any])


def common(command: F) -> F:
    """Add --json, -v and -q. The command gets `as_json`; verbosity is set here."""
    command = click.option(
        "--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else there."
    )(command)
    command = click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=_verbose,
        help="Show details and the words of libraries.",
    )(command)
    return click.option(
        "-q", "--quiet", is_flag=True, expose_value=False, callback=_quiet, help="Show errors only."
    )(command)


def _verbose(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(name)s: %(message)s")
        ctx.meta["pepr_edge.verbose"] = True


def _quiet(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.meta["pepr_edge.quiet"] = value


def say(message: str) -> None:
    """A message for the person at the terminal: on stderr, and not with -q."""
    if not click.get_current_context().meta.get("pepr_edge.quiet"):
        click.echo(message, err=True)


def print_json(document: Any) -> None:
    """The one JSON document of a command, on stdout."""
    click.echo(json.dumps(document, indent=1, allow_nan=False))


def show_bars() -> bool:
    """Whether a progress bar may be drawn: stderr is a terminal and nobody asked for quiet."""
    return sys.stderr.isatty() and not click.get_current_context().meta.get("pepr_edge.quiet")


def missing_for_training() -> list[str]:
    """Packages of the workstation that are not installed."""
    return [
        name
        for name in ("torch", "timm", "onnx", "matplotlib", "jinja2", "scipy")
        if importlib.util.find_spec(name) is None
    ]


def need_training() -> None:
    """Stop with one line where the workstation's packages are not installed.

    Raises:
        PeprError: they are not.
    """
    if missing := missing_for_training():
        raise PeprError(
            f"this command needs the workstation's packages ({', '.join(missing)} not found). Run: {INSTALL}"
        )
