"""Shared parts of all commands: --json, -v and -q, and where messages go."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from pepr_edge.errors import PeprError
from pepr_edge.untrusted.shown import escaped

INSTALL = "pip install 'pepr_edge[train]', from a checkout: pip install '.[train]'"
F = TypeVar("F", bound=Callable[..., Any])


def common(command: F) -> F:
    """Add --json, -v and -q. The command receives `as_json`; the verbosity is set here."""
    command = click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document on stdout and nothing else."
    )(command)
    command = click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=_verbose,
        help="Show details and the messages of libraries.",
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
    """Print a message on stderr, unless -q was given."""
    if not click.get_current_context().meta.get("pepr_edge.quiet"):
        echo(message, err=True)


def echo(text: object = "", err: bool = False, nl: bool = True) -> None:
    """Print a text. Characters that would change a terminal are escaped: names and labels are untrusted."""
    click.echo(escaped(str(text)), err=err, nl=nl)


def print_json(document: Any) -> None:
    """Print a document as JSON on stdout."""
    click.echo(json.dumps(document, indent=1, allow_nan=False))


def show_bars() -> bool:
    """True if progress bars can be drawn: stderr is a terminal and -q was not given."""
    return sys.stderr.isatty() and not click.get_current_context().meta.get("pepr_edge.quiet")


def missing_for_training() -> list[str]:
    """Return the workstation packages that are not installed."""
    return [
        name
        for name in ("torch", "timm", "onnx", "matplotlib", "jinja2", "scipy")
        if importlib.util.find_spec(name) is None
    ]


def need_training() -> None:
    """Check that the workstation packages are installed.

    Raises:
        PeprError: a package is missing.
    """
    missing = missing_for_training()
    if missing:
        raise PeprError(
            f"this command needs the workstation packages ({', '.join(missing)} not found). Run: {INSTALL}"
        )
