"""Shared parts of all commands: --json, -v and -q, and where messages go."""

from __future__ import annotations

import errno
import importlib.util
import json
import logging
import math
import os
import re
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pepr_edge.errors import PeprError, SigningError
from pepr_edge.untrusted.shown import escaped, shown

if TYPE_CHECKING:
    from pepr_edge.signing.key_files import Signer, Trust

INSTALL = "pip install 'pepr_edge[train]', from a checkout: pip install '.[train]'"
# Characters in a path that could forge a line of a message, or move a terminal's cursor.
LINE_BREAKING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Help of --trust where bundles are used.
TRUST_BUNDLES = "Use no bundle unless one of these public keys signed it: KEY.pub, or a file with several."
F = TypeVar("F", bound=Callable[..., Any])


class PathType(click.Path):
    """A path as an argument or option. The command that opens it says in one line if it cannot be read."""

    def __init__(self, **options: bool) -> None:
        """Create the type; `options` are those of click.Path."""
        super().__init__(path_type=Path, readable=False, **options)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        """Return the path.

        Raises:
            PeprError: it is empty, or has line ends or control characters.
        """
        text = os.fspath(value)
        if not text:
            name = "a path" if param is None else param.human_readable_name
            raise PeprError(f"{name}: empty, expected a path. Use . for the current folder.")
        if LINE_BREAKING.search(text):
            raise PeprError(f"{shown(text)}: a path with line ends or control characters. Rename it.")
        path = super().convert(value, param, ctx)
        assert isinstance(path, Path)
        return path


class OutFileType(PathType):
    """A file to write, as an option."""

    def __init__(self, **options: bool) -> None:
        """Create the type; `options` are those of click.Path."""
        super().__init__(**{"dir_okay": False, **options})

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        """Return the path.

        Raises:
            PeprError: as for `PathType`; it is a pipe or a device; a folder on its way is a file; or symbolic
                links lead in a circle.
        """
        path = super().convert(value, param, ctx)
        try:
            mode = path.stat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise PeprError(f"{shown(str(path))}: not a regular file. Give another path.")
        except OSError as fault:
            if fault.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG):
                raise PeprError(
                    f"{shown(str(path))}: cannot be written ({fault.strerror}). Give another path."
                ) from None
        return path


class OutFolderType(OutFileType):
    """A folder to write into, as an option."""

    def __init__(self) -> None:
        """Create the type."""
        super().__init__(dir_okay=True, file_okay=False)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        """Return the path.

        Raises:
            PeprError: as for `OutFileType`, or it is a file or the root of the file system.
        """
        path = super().convert(value, param, ctx)
        if path.exists() and not path.is_dir():
            raise PeprError(f"{shown(str(path))}: a file, expected a folder. Give another path.")
        refuse_root(path)
        return path


def refuse_root(path: Path) -> None:
    """Refuse to write into the root of the file system. On Windows a root is allowed: it may be a USB stick.

    Raises:
        PeprError: it is the root.
    """
    if os.name == "posix" and os.path.realpath(path) == "/":
        raise PeprError(
            f"--out {shown(str(path))}: the root of the file system, expected a folder for the output alone. "
            "Give another --out."
        )


class FiniteType(click.FloatRange):
    """A finite number as an option, within limits."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number. NaN and infinity are wrong usage."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


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


def sign_option(text: str) -> Callable[[F], F]:
    """Return a decorator that adds --sign, with this help. The command receives `sign`, a path or None."""
    return click.option("--sign", type=PathType(), metavar="KEY", help=text)


def trust_option(text: str) -> Callable[[F], F]:
    """Return a decorator that adds --trust, with this help. The command receives `trust`, a path or None."""
    return click.option("--trust", type=PathType(), metavar="PUBLIC_KEY", help=text)


def read_signer(key: Path | None) -> Signer | None:
    """Return the private key of --sign, and ask for its passphrase if it has one; None without --sign.

    Raises:
        SigningError: the key cannot be used.
    """
    from pepr_edge.signing.key_files import read_private

    return None if key is None else read_private(key, lambda: _ask_passphrase(key))


def read_trust(keys: Path | None) -> Trust | None:
    """Return the public keys of --trust; None without it.

    Raises:
        SigningError: the file cannot be used, or signatures cannot be checked here.
    """
    from pepr_edge.signing.key_files import read_trusted

    return None if keys is None else read_trusted(keys)


def _ask_passphrase(key: Path) -> str:
    if not sys.stdin.isatty():
        raise SigningError(
            f"{shown(str(key))}: needs its passphrase, and there is no terminal to ask on. Start the command "
            "in one, or take the passphrase away: ssh-keygen -p -f KEY"
        )
    passphrase: str = click.prompt(f"Passphrase of {shown(key.name)}", hide_input=True, err=True)
    return passphrase


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
