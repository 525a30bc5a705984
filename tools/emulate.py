"""Run the field on a device that is not here: another processor by qemu-user, or this one cut short.

    python tools/emulate.py arm KIT --root DIR [--cpu cortex-a72] [--images IMAGE ...] [--expect LABELS.json] [--out REPORT.json]
    python tools/emulate.py x86 --cpu Haswell -- pepr-edge verify BUNDLE
    python tools/emulate.py small --cores 1 --memory 512M -- pepr-edge bench --quick BUNDLE

`arm` installs a kit in a Debian of another architecture, without network, and uses it (see emulate_arm.py). `x86` runs a Python program,
and every Python that it starts, on an older processor. `small` gives a program few cores and little memory.
What runs so knows it by the environment's PEPR_EDGE_EMULATED: its reports are marked emulated, count for correctness and memory, and are
refused for latency. Linux only. Exit status: the command's own; 1 where it cannot be started; for `arm` 3 where a step failed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import emulate_arm

from pepr_edge.device.cpu import EMULATED
from pepr_edge.errors import PeprError

CGROUP = Path("/sys/fs/cgroup")
QEMU = ("qemu-x86_64-static", "qemu-x86_64")
# What qemu has not of the processors that it plays, and no program needs; it would say so at each start of a Python.
LESS = ",-pcid,-x2apic,-tsc-deadline,-hle,-rtm,-invpcid"
JOIN = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
# A program that qemu-user runs starts others on this machine itself: let each Python start the wrapper in its place.
SITE = "import sys\n\nsys.executable = {wrapper!r}\n"
WRAPPER = '#!/bin/sh\nexec {qemu} {python} "$@"\n'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for."""
    given = _parser().parse_args(arguments)
    try:
        if given.device == "arm":
            return emulate_arm.arm(given)
        if not given.command:
            raise PeprError("no command, expected one behind --, such as: -- pepr-edge verify BUNDLE")
        return (
            x86(given.cpu, given.command)
            if given.device == "x86"
            else small(given.cores, given.memory, given.command)
        )
    except PeprError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    devices = parser.add_subparsers(dest="device", required=True, metavar="arm|x86|small")
    arm = devices.add_parser("arm", help="a kit in an aarch64 Debian")
    emulate_arm.add_arguments(arm)
    older = devices.add_parser("x86", help="an older x86 processor")
    older.add_argument(
        "--cpu", default="Haswell", help="as `qemu-x86_64 -cpu help` names it [default: %(default)s]"
    )
    less = devices.add_parser("small", help="this machine with few cores and little memory")
    less.add_argument("--cores", type=int, default=1)
    less.add_argument(
        "--memory",
        type=mebibytes,
        default="512M",
        metavar="SIZE",
        help="such as 512M or 2G [default: %(default)s]",
    )
    for each in (older, less):
        each.add_argument("command", nargs="*", metavar="-- COMMAND", help="what to run")
    return parser


def mebibytes(text: str) -> int:
    """MiB of a size such as 512M or 2G."""
    found = re.fullmatch(r"([1-9]\d*)([MG])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a size such as 512M or 2G")
    return int(found[1]) * (1024 if found[2] == "G" else 1)


def x86(cpu: str, command: Sequence[str]) -> int:
    """Run a Python program as on another x86 processor; its exit status, or 128 and the signal that ended it.

    Raises:
        PeprError: qemu-user is not installed, or the command is no Python program.
    """
    qemu = next(filter(None, map(shutil.which, QEMU)), None)
    if qemu is None:
        raise PeprError(f"{QEMU[0]} not found. Install it: apt install qemu-user-static")
    python, words = interpreter(command)
    with tempfile.TemporaryDirectory() as folder:
        wrapper = Path(folder, "python")
        wrapper.write_text(WRAPPER.format(qemu=qemu, python=_quoted(python)), encoding="utf-8")
        wrapper.chmod(0o755)
        Path(folder, "sitecustomize.py").write_text(SITE.format(wrapper=str(wrapper)), encoding="utf-8")
        path = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
        why = {"QEMU_CPU": cpu + LESS, EMULATED: f"{cpu} under qemu-user", "PYTHONPATH": path}
        return _run([str(wrapper), *words], why)


def interpreter(command: Sequence[str]) -> tuple[Path, list[str]]:
    """The Python that runs a command, and the words behind it.

    Raises:
        PeprError: there is no such command, or it is neither a Python nor lies beside one, as a virtual environment's programs do.
    """
    found = shutil.which(command[0])
    if found is None:
        raise PeprError(f"{command[0]}: no such program. Give its path.")
    program = Path(found).absolute()
    if program.name.startswith("python"):
        return program, list(command[1:])
    beside = program.parent / "python"
    if not beside.exists():
        raise PeprError(
            f"{program}: no python lies beside it, expected a program of a virtual environment. Give: -- PYTHON -m pepr_edge ..."
        )
    return beside, [str(program), *command[1:]]


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "'\\''") + "'"


def small(cores: int, memory_mebibytes: int, command: Sequence[str]) -> int:
    """Run a program on so many cores in so much memory; its exit status, or 128 and the signal that ended it.

    Raises:
        PeprError: this process may not use so many cores.
    """
    usable = sorted(os.sched_getaffinity(0))
    if not 1 <= cores <= len(usable):
        raise PeprError(f"--cores {cores}, expected 1 to {len(usable)}: those that this process may use.")
    if shutil.which(command[0]) is None:
        raise PeprError(f"{command[0]}: no such program. Give its path.")
    pin = ["taskset", "--cpu-list", ",".join(map(str, usable[:cores]))]
    with ceiling(memory_mebibytes * 2**20, CGROUP) as (limit, kind):
        return _run(
            [*pin, *limit, *command],
            {EMULATED: f"{cores} core{'s' * (cores > 1)}, {memory_mebibytes} MiB {kind}"},
        )


@contextmanager
def ceiling(limit_bytes: int, root: Path) -> Iterator[tuple[list[str], str]]:
    """The words that hold the command behind them below a ceiling, and of which memory it is.

    A control group (version 2) where one can be made, which counts what lies in memory. Else the address space, which is no less and
    mostly more: what fits under that fits into so much memory, but what does not might have.
    """
    group = root / f"pepr_edge_emulate_{os.getpid()}"
    try:
        if "memory" not in (root / "cgroup.subtree_control").read_text(encoding="ascii").split():
            raise OSError("the memory controller is not handed down")
        group.mkdir()
    except OSError:
        print(
            "small: no control group can be made, so the ceiling is on the address space: stricter than memory",
            file=sys.stderr,
        )
        yield ["prlimit", f"--as={limit_bytes}"], "address space"
        return
    try:
        (group / "memory.max").write_text(str(limit_bytes), encoding="ascii")
        if (swap := group / "memory.swap.max").exists():
            swap.write_text("0", encoding="ascii")
        yield ["sh", "-c", JOIN, str(group)], "memory"
    finally:
        group.rmdir()


def _run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    try:
        status = subprocess.run(command, env={**os.environ, **environment}, check=False).returncode
    except OSError as fault:
        raise PeprError(f"{command[0]}: cannot be started ({fault.strerror}).") from None
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
