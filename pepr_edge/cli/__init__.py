"""The command line: one module per command, imported when the command is called."""

from __future__ import annotations

import copy
import importlib
import io
import os
import sys
from pathlib import Path
from typing import Any

import click

from pepr_edge import __version__
from pepr_edge.cli.signals import signals_as_interrupt
from pepr_edge.errors import INTERRUPTED, InvalidMeasurement, PeprError

__all__ = ["entry"]

# Help line of each command, so that `pepr-edge --help` imports no command. The module of a command has its
# name and contains `command`.
COMMANDS = {
    "init": "Draft a first recipe for images.",
    "data": "Look at a dataset: what was understood of it, and what looks wrong.",
    "run": "Train, export, profile and rank the candidates of a recipe.",
    "rank": "Rank a run again, with other weights or field reports.",
    "export": "Export the best models of a run as bundles.",
    "kit": "Make a folder for a USB stick: the best models, and everything for a device without network.",
    "serve": "Hand a web kit to the browsers of this machine or of the local network.",
    "report": "Write the report.html of a run again.",
    "score": "Score the models of a CSV table by PePR.",
    "search": "Replay a search policy on published runs: energy used, model found.",
    "compare": "Compare two runs: do pretraining, more data or large models pay off?",
    "bench": "Measure bundles on this device.",
    "predict": "Classify images with a bundle.",
    "evaluate": "Evaluate bundles on labelled images of a site.",
    "verify": "Check bundles: all files, and the same decisions as on the workstation.",
    "dossier": "Write the paper trail of a bundle: a label, reporting checklists, a bill of materials.",
    "keys": "Make a key pair that signs bundles, kits and field reports; show public keys.",
    "recipes": "List, show, copy or check the recipes for target devices.",
    "zoo": "List the tested architectures.",
    "weights": "Fetch pretrained weights for use without a network; convert weights files.",
    "doctor": "Show what this machine is, and what it can do.",
}
# Commands for a clinic's device. There even numpy or onnxruntime may not load, so the device is checked
# before they are imported.
FIELD = ("bench", "predict", "evaluate", "verify")
# Of the environment's SOURCE_DATE_EPOCH: the year 9999.
MAX_DATE_S = 253_402_300_799
# Lines of an error, at most.
MAX_LINES = 100


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"pepr_edge.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return _after_preflight(command) if cmd_name in FIELD else command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _after_preflight(command: click.Command) -> click.Command:
    """Return the command with a check of the machine first: a missing part is one line, not a core dump."""
    checked = copy.copy(command)
    original = command.callback
    assert original is not None

    def callback(**arguments: Any) -> Any:
        from pepr_edge.device.preflight import check

        check(len(arguments.get("bundles", ("one",))), arguments.get("out"))
        return original(**arguments)

    checked.callback = callback
    return checked


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="pepr-edge")
def main() -> None:
    """Which model should we deploy on this device, and what did it cost us?"""
    _check_date()


def _check_date() -> None:
    """Refuse a date of build that ends numpy's import, or matplotlib's, with a traceback."""
    date = os.environ.get("SOURCE_DATE_EPOCH", "0")
    is_number = date.isascii() and date.isdigit() and len(date) <= len(str(MAX_DATE_S))
    if not is_number or int(date) > MAX_DATE_S:
        from pepr_edge.untrusted.shown import shown

        raise PeprError(f"SOURCE_DATE_EPOCH is {shown(date)!r}, expected whole seconds since 1970. Unset it.")


def _printable(error: Exception) -> str:
    """Return the lines of an error, as many and as long as a person reads: names and files are untrusted."""
    from pepr_edge.untrusted.shown import MESSAGE_CHARACTERS, clip, escaped, first_items

    lines = str(error).split("\n")
    return "\n".join(first_items([escaped(clip(line, MESSAGE_CHARACTERS)) for line in lines], MAX_LINES))


def entry(trust: Path | None = None) -> None:
    """Run the command line.

    Args:
        trust: the file of public keys to use where --trust is not given. The launcher of a kit names the one
            that the kit brought.
    Exit status: 0 success, 1 error in the input, 2 wrong usage, 3 INVALID or failed check, 130 interrupted.
    """
    _open_streams()
    with signals_as_interrupt() as signals:
        try:
            _run(trust)
        except OSError as error:
            if signals.count:  # a terminal that was closed takes no message
                sys.exit(INTERRUPTED)
            _fail(_os_error_text(error))
        except Exception:
            if not signals.count:
                raise
            # Some libraries turn the interrupt into an error of their own (pydantic, while a class is made).
            _say_last("interrupted")
            sys.exit(INTERRUPTED)


def _run(trust: Path | None) -> None:
    """Run the command line, and say how it failed. An OSError is the caller's."""
    try:
        defaults = {} if trust is None else {name: {"trust": str(trust)} for name in FIELD}
        main(prog_name="pepr-edge", standalone_mode=False, default_map=defaults)
    except (click.exceptions.Abort, KeyboardInterrupt):
        _say_last("interrupted")
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except PeprError as error:
        _fail(_printable(error))
    except InvalidMeasurement as error:
        _say_last(_printable(error))
        sys.exit(3)
    except BrokenPipeError:
        # What read the output has ended. Python would report it again when it flushes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        _fail("the output could not be written, as nothing reads it any more.")
    except (MemoryError, SystemError):  # the latter: an extension module ran out of memory
        _fail("out of memory. Close other programs and try again, or use a smaller model.")
    except ImportError as error:
        reason = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        _fail(f"a package cannot be loaded on this machine: {reason[-1].strip()}. Install pepr_edge again.")


def _fail(message: str) -> None:
    _say_last(f"error: {message}")
    sys.exit(1)


def _say_last(message: str) -> None:
    """Print the last message on stderr. If that is gone, the exit status alone says how the command ended."""
    try:
        click.echo(message, err=True)
    except OSError:
        # Python would flush it again at its end, and then end with a status of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _open_streams() -> None:
    """Open what the caller has closed, and let no character that a terminal lacks end the program.

    Otherwise the next file that is opened would get the number of a standard stream, and its output.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - until the end
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _os_error_text(error: OSError) -> str:
    """Return a message for a full disk or a folder without permission: the user can fix it."""
    from pepr_edge.run_dir.store import disk_is_full
    from pepr_edge.untrusted.shown import shown

    if disk_is_full(error):
        # Without a file name: it may be the name of the file that was copied.
        return "the disk is full. Free disk space, then run the same command again; it continues."
    where = f"{shown(str(error.filename))}: " if error.filename else ""
    return f"{where}{error.strerror or error}. Check the path, its permissions and the free disk space."
