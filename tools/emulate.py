"""Run the field commands on an emulated device: another processor with qemu-user, or this one with limits.

    python tools/emulate.py arm KIT --root DIR [--cpu cortex-a72] [--images IMAGE ...] [--expect LABELS.json]
    [--out REPORT.json] python tools/emulate.py x86 --cpu Haswell -- pepr-edge verify BUNDLE python
    tools/emulate.py small --cores 1 --memory 512M -- pepr-edge bench --quick BUNDLE

`arm` installs a kit in a Debian of another architecture, without network, and uses it (see emulate_arm.py).
`x86` runs a Python program, and every Python that it starts, on an older processor. `small` gives a program
few cores and little memory. All set the environment variable PEPR_EDGE_EMULATED: reports are then marked
emulated, count for correctness and memory, and are refused for latency. Linux only. Exit status: that of the
command; 1 if it cannot be started; for `arm` 3 if a step failed.
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
from pepr_edge.text.units import plural

CGROUP = Path("/sys/fs/cgroup")
QEMU = ("qemu-x86_64-static", "qemu-x86_64")
# Features that qemu does not emulate and no program needs; without this, each start of a Python prints a
# warning.
UNSUPPORTED = ",-pcid,-x2apic,-tsc-deadline,-hle,-rtm,-invpcid"
JOIN = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
# A program under qemu-user starts its children without qemu: let each Python start the wrapper instead of
# itself.
SITE = "import sys\n\nsys.executable = {wrapper!r}\n"
WRAPPER = '#!/bin/sh\nexec {qemu} {python} "$@"\n'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command on the chosen device."""
    given = _parser().parse_args(arguments)
    try:
        if given.device == "arm":
            return emulate_arm.arm(given)
        if not given.command:
            raise PeprError("no command, expected one after --, such as: -- pepr-edge verify BUNDLE")
        if given.device == "x86":
            return x86(given.cpu, given.command)
        return small(given.cores, given.memory, given.command)
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
        each.add_argument("command", nargs="*", metavar="-- COMMAND", help="the command to run")
    return parser


def mebibytes(text: str) -> int:
    """Return the MiB of a size such as 512M or 2G."""
    match = re.fullmatch(r"([1-9]\d*)([MG])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a size such as 512M or 2G")
    return int(match[1]) * (1024 if match[2] == "G" else 1)


def x86(cpu: str, command: Sequence[str]) -> int:
    """Run a Python program on another x86 processor; return its exit status, or 128 plus the signal.

    Raises:
        PeprError: qemu-user is not installed, or the command is not a Python program.
    """
    qemu = next(filter(None, map(shutil.which, QEMU)), None)
    if qemu is None:
        raise PeprError(f"{QEMU[0]} not found. Install it: apt install qemu-user-static")
    python, options = interpreter(command)
    with tempfile.TemporaryDirectory() as folder:
        wrapper = Path(folder, "python")
        wrapper.write_text(WRAPPER.format(qemu=qemu, python=_quoted(python)), encoding="utf-8")
        wrapper.chmod(0o755)
        Path(folder, "sitecustomize.py").write_text(SITE.format(wrapper=str(wrapper)), encoding="utf-8")
        path = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
        environment = {"QEMU_CPU": cpu + UNSUPPORTED, EMULATED: f"{cpu} under qemu-user", "PYTHONPATH": path}
        return _run([str(wrapper), *options], environment)


def interpreter(command: Sequence[str]) -> tuple[Path, list[str]]:
    """Return the Python that runs a command, and its arguments.

    Raises:
        PeprError: there is no such command, or it is neither a Python nor a program beside one in a virtual
        environment.
    """
    path = shutil.which(command[0])
    if path is None:
        raise PeprError(f"{command[0]}: no such program. Give its path.")
    program = Path(path).absolute()
    if program.name.startswith("python"):
        return program, list(command[1:])
    python = program.parent / "python"
    if not python.exists():
        raise PeprError(
            f"{program}: no python in its folder, expected a program of a virtual environment. "
            "Give: -- PYTHON -m pepr_edge ..."
        )
    return python, [str(program), *command[1:]]


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "'\\''") + "'"


def small(cores: int, memory_mebibytes: int, command: Sequence[str]) -> int:
    """Run a program with few cores and little memory; return its exit status, or 128 plus the signal.

    Raises:
        PeprError: this process may use fewer cores, or there is no such program.
    """
    usable = sorted(os.sched_getaffinity(0))
    if not 1 <= cores <= len(usable):
        raise PeprError(f"--cores {cores}, expected 1 to {len(usable)}, the cores of this process.")
    if shutil.which(command[0]) is None:
        raise PeprError(f"{command[0]}: no such program. Give its path.")
    pin = ["taskset", "--cpu-list", ",".join(map(str, usable[:cores]))]
    with memory_limit(memory_mebibytes * 2**20, CGROUP) as (limit, kind):
        device = f"{plural(cores, 'core')}, {memory_mebibytes} MiB {kind}"
        return _run([*pin, *limit, *command], {EMULATED: device})


@contextmanager
def memory_limit(limit_bytes: int, root: Path) -> Iterator[tuple[list[str], str]]:
    """Yield the words that limit the memory of the command after them, and the kind of memory.

    The limit is a control group (version 2) if one can be made; it counts resident memory. Otherwise it is
    the address space, which is stricter: a program that fits in it also fits in that much memory, but a
    program that fails might fit.
    """
    group = root / f"pepr_edge_emulate_{os.getpid()}"
    try:
        if "memory" not in (root / "cgroup.subtree_control").read_text(encoding="ascii").split():
            raise OSError("the memory controller is not delegated")
        group.mkdir()
    except OSError:
        print(
            "small: no control group can be made, so the limit is on the address space: stricter than memory",
            file=sys.stderr,
        )
        yield ["prlimit", f"--as={limit_bytes}"], "address space"
        return
    try:
        (group / "memory.max").write_text(str(limit_bytes), encoding="ascii")
        swap = group / "memory.swap.max"
        if swap.exists():
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
