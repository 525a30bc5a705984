"""The command line: one module a command, imported only when it is called."""

from __future__ import annotations

import copy
import importlib
import sys
from typing import Any

import click

from pepr_edge import __version__
from pepr_edge.errors import InvalidMeasurement, PeprError

__all__ = ["entry"]

# Command -> its one line of help, so that `pepr-edge --help` imports none of them. The module has the command's name and holds `command`.
COMMANDS = {
    "init": "Look at images and write a first recipe for them.",
    "run": "Train, export, profile and rank the candidates of a recipe.",
    "rank": "Rank a run again, with other weights or field reports.",
    "export": "Hand over the best K models of a run as bundles.",
    "kit": "Make a folder for a USB stick: the best models, and all that a device without a network needs.",
    "report": "Write a run's report.html again.",
    "score": "Score the models of any CSV by PePR.",
    "search": "Replay a search policy on published runs: what it spends, what it finds.",
    "compare": "Did it pay? Two runs against each other: pretraining, more data, large models.",
    "bench": "Measure bundles on this device.",
    "predict": "Classify images with a bundle.",
    "verify": "Check bundles: every file, and the same decisions as at home.",
    "recipes": "List, show, copy or check the recipes for target devices.",
    "zoo": "List the architectures that are known to work.",
    "doctor": "Say what this machine is and can do.",
}
# What runs on a clinic's device, where numpy or onnxruntime may not even load: looked at before they are imported.
FIELD = ("bench", "predict", "verify")


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
    """The command, carried out only where this machine can: what it lacks is one line, not a core dump."""
    checked, carry_out = copy.copy(command), command.callback
    assert carry_out is not None

    def callback(**given: Any) -> Any:
        try:
            from pepr_edge.device.preflight import check

            check(given.get("bundles") or (given["bundle"],), given.get("out"))
            return carry_out(**given)
        except ImportError as fault:
            reason = [line for line in str(fault).splitlines() if line.strip()][-1]
            raise PeprError(
                f"a package cannot be loaded on this machine: {reason.strip()}. Install pepr_edge again."
            ) from fault
        except MemoryError:
            raise PeprError(
                "memory ran out. Close other programs and try again, or use the bundle of a smaller model."
            ) from None

    checked.callback = callback
    return checked


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="pepr-edge")
def main() -> None:
    """Which model should we deploy on this device, and what did it cost us?"""


def _on_screen(fault: Exception) -> str:
    """A fault's lines; what strangers wrote into names and files moves no cursor."""
    from pepr_edge.untrusted.documents import CONTROL

    return CONTROL.sub(lambda found: ascii(found[0])[1:-1], str(fault))


def entry() -> None:
    """Run the command line. Exit status: 0 done, 1 a fault in the input, 2 wrong usage, 3 INVALID or a failed check, 130 interrupted."""
    try:
        main(prog_name="pepr-edge", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as fault:
        fault.show()
        sys.exit(fault.exit_code)
    except PeprError as fault:
        click.echo(f"error: {_on_screen(fault)}", err=True)
        sys.exit(1)
    except InvalidMeasurement as fault:
        click.echo(_on_screen(fault), err=True)
        sys.exit(3)
    except OSError as fault:
        # A full disk, a folder without permission: the user's to mend, whatever command met it.
        from pepr_edge.run_dir.store import disk_is_full

        if disk_is_full(fault):
            # Its file name may be that of what was to be copied.
            click.echo("error: no room left on the disk. Make room; the same command goes on.", err=True)
            sys.exit(1)
        where = f"{fault.filename}: " if fault.filename else ""
        click.echo(
            f"error: {where}{fault.strerror or fault}. Check the path, its permissions and the room on the disk.",
            err=True,
        )
        sys.exit(1)
