"""The installer of a kit: `install.sh` and `install.ps1` find the right Python and start this with it.

It checks that the folder is complete and made for this computer, installs the wheels into the folder `pepr`
beside it, writes a launcher and verifies the bundles with it. It makes no virtual environment: that needs
links and executable files, which the file system of a USB stick lacks, and ensurepip, which Debian leaves
out. pip runs from its own wheel. Standard library only.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.flags.isolated:
    # The folder of this file. A json.py that somebody put beside it would be run in place of Python's.
    del sys.path[0]

import hashlib
import json
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

KIT = "kit.json"
CHECKSUMS = "checksums.txt"
PEPR = "pepr"
# Public keys: the launcher uses no bundle that none of them signed.
TRUSTED = "trusted_keys"
# Prefix of the temporary folder. In it and in the installation, a list names the installed files.
WORK = ".pepr-"
INSTALLED = "installed.json"
# Installed packages need this many times the size of their wheels; pip unpacks each one before it copies it.
SIZE_FACTOR = 8
MAX_KIT_BYTES = 1 << 16
MAX_LIST_BYTES = 16 << 20
SHOWN_CHARACTERS = 200
FORBIDDEN_CHARACTERS = set('\\:*?"<>|')
MAIN = """import sys
from pathlib import Path
from pepr_edge.cli import entry
sys.exit(entry({trust}))
"""
POSIX = """#!/bin/sh
# Start pepr-edge with the packages of this folder. Written by install.py for this computer.
# -I: neither Python's environment variables nor the packages of a user or of the current folder are used.
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
exec {python} -I "$here/pepr" "$@"
"""
WINDOWS = """@echo off
chcp 65001 >nul
rem Start pepr-edge with the packages of this folder. Written by install.py for this computer.
"{python}" -I "%~dp0pepr" %*
"""


class NotInstalled(Exception):  # noqa: N818 - the only error of this program
    """The reason why nothing was installed, and what to do, on one line."""


def main(folder: Path) -> int:
    """Install from a kit's folder.

    Returns:
        The exit status: 0 done, 1 not installed, 3 installed but a bundle does not pass, 130 interrupted.
    """
    try:
        check_place(folder)
        kit = read_kit(folder)
        check_machine(kit)
        check_files(folder)
        print("All files are complete. Installing: this takes one or two minutes ...", flush=True)
        install(folder, kit.get("extras", []))
        launcher = write_launcher(folder)
    except NotInstalled as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as fault:
        print(f"error: {fault}. Copy the kit again, to a disk that is not write-protected.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return verify_bundles(folder, launcher)


def check_place(folder: Path) -> None:
    """Check that the folder has a name that pip can work with.

    Raises:
        NotInstalled: it has not.
    """
    text = str(folder)
    if not text.isprintable():  # the bytes of a name that is not UTF-8 are not printable either
        raise NotInstalled(f"{shown(text)}: characters that cannot be printed. Rename the folder.")


def shown(text: str) -> str:
    """Return a text of the kit for one line of a terminal."""
    return (text if text.isprintable() else ascii(text))[:SHOWN_CHARACTERS]


def check_machine(kit: dict[str, Any]) -> None:
    """Check that the kit was made for this system, processor and Python.

    Raises:
        NotInstalled: it was made for another one.
    """
    python = "%d.%d" % sys.version_info[:2]  # noqa: UP031 - must run on a Python that is too old
    if python not in kit["pythons"] or sys.implementation.name != "cpython":
        expected = shown(" or ".join(kit["pythons"]))
        raise NotInstalled(
            f"this is {platform.python_implementation()} {python}, "
            f"but the kit is for CPython {expected}. Install that and run it again."
        )
    is_64_bit = sys.maxsize > 1 << 32
    if platform.system() != kit["system"] or platform.machine() not in kit["machines"] or not is_64_bit:
        bits = "" if is_64_bit else ", Python of 32 bit"
        raise NotInstalled(
            f"this computer is {platform.system()} {platform.machine()}{bits}, but the kit is for "
            f"{shown(kit['platform'])}. Ask for a kit for this computer (option --platform)."
        )
    version = system_version()
    minimum = kit["floor"]
    if minimum is not None and (version is None or numbers(version) < numbers(minimum)):
        name = "macOS" if kit["system"] == "Darwin" else "glibc"
        raise NotInstalled(
            f"the kit needs {name} {shown(minimum)} or later, but this system has {version or 'none'}. "
            "Use a newer system."
        )


def system_version() -> str | None:
    """Return the version of the C library (Linux) or of macOS; None if there is none."""
    if platform.system() == "Darwin":
        return platform.mac_ver()[0]
    try:
        parts = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
    except (AttributeError, ValueError, OSError):
        return None
    return parts[1] if len(parts) == 2 else None


def numbers(version: str) -> tuple[int, ...]:
    """Return major and minor version as numbers, for comparison."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())


def check_files(folder: Path) -> None:
    """Check that each file is unchanged and that there are no other wheels.

    Raises:
        NotInstalled: a file is missing, changed, a link or outside the folder, or a wheel is not part of the
            kit.
    """
    faults = []
    names = set()
    for line in content(folder / CHECKSUMS, MAX_LIST_BYTES).decode().splitlines():
        expected, _, name = line.partition("  ")
        names.add(name)
        fault = file_fault(folder, name, expected)
        if fault is not None:
            faults.append(fault)
    # pip installs the latest wheel in the folder, also one that another program put there.
    for path in sorted((folder / "wheels").iterdir()):
        name = f"wheels/{path.name}"
        if not path.name.startswith(".") and name not in names:
            faults.append(f"{name!a} is not part of the kit")
    if faults:
        more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
        raise NotInstalled(f"{faults[0]}{more}. Copy the kit again.")


def file_fault(folder: Path, name: str, expected: str) -> str | None:
    """Return the fault of a listed file, or None."""
    parts = name.split("/")
    for part in parts:
        if part in ("", ".", "..") or set(part) & FORBIDDEN_CHARACTERS or not part.isprintable():
            return f"{CHECKSUMS} names {name[:60]!a}, which is outside the folder"
    path = folder
    for part in parts:
        path /= part
        if path.is_symlink():
            return f"{name} is a link"
    if not path.is_file():
        return f"{name} is missing"
    return None if sha256(path) == expected else f"{name} was changed"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex, read in blocks: a file can have any size."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file to read. A pipe in its place would block for ever.

    Raises:
        OSError: it cannot be opened, or is none.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path.name} is not a regular file")
    return os.fdopen(descriptor, "rb")


def content(path: Path, limit: int) -> bytes:
    """Return the bytes of a file.

    Raises:
        OSError: it cannot be read, or is larger than the limit.
    """
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(f"{path.name} is larger than {limit} bytes")
    return data


def read_kit(folder: Path) -> dict[str, Any]:
    """Read kit.json: the platform and Pythons that the kit was made for.

    Raises:
        NotInstalled: the file was changed.
    """
    try:
        kit = json.loads(content(folder / KIT, MAX_KIT_BYTES).decode())
        texts = [kit["platform"], kit["system"], kit["floor"] or ""]
        texts += [*kit["pythons"], *kit["machines"], *kit.get("extras", [])]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        texts = [None]
    if not all(isinstance(text, str) for text in texts):
        raise NotInstalled(f"{KIT} was changed. Copy the kit again.")
    return dict(kit)


def install(folder: Path, extras: Sequence[str] = ()) -> None:
    """Install the wheels into the folder `pepr`, which appears when it is complete.

    Args:
        folder: of the kit.
        extras: of pepr_edge, such as "dicom".
    Raises:
        NotInstalled: the disk is full, or pip failed.
    """
    check_space(folder)
    with tempfile.TemporaryDirectory(prefix=WORK, dir=folder) as work:
        packages = Path(work) / PEPR
        packages.mkdir()
        run_pip(folder / "wheels", Path(work), packages, extras)
        trust = ""
        if os.path.lexists(folder / TRUSTED):
            (packages / TRUSTED).write_bytes(content(folder / TRUSTED, MAX_KIT_BYTES))
            trust = f'Path(__file__).with_name("{TRUSTED}")'
        (packages / "__main__.py").write_text(MAIN.format(trust=trust), encoding="utf-8")
        put_in_place(packages, folder / PEPR)


def run_pip(wheels: Path, work: Path, packages: Path, extras: Sequence[str]) -> None:
    """Install pepr_edge from wheels into a folder.

    Raises:
        NotInstalled: pip failed.
    """
    pip = min(wheels.glob("pip-*.whl"), key=lambda wheel: numbers(wheel.name.split("-")[1])) / "pip"
    # -I: see the launcher. --isolated: ignore this computer's settings of pip, use the kit's wheels alone.
    command = [sys.executable, "-I", str(pip), "--isolated"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet"]
    command += ["install", "--no-index", "--no-cache-dir", "--find-links", str(wheels)]
    command += ["--target", str(packages), f"pepr_edge[{','.join(extras)}]" if extras else "pepr_edge"]
    done = subprocess.run(
        command,
        env={**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(work))},
        # pip joins a requirement to the current folder, and cannot parse the result if that has a bracket.
        cwd=work.anchor,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        reason = shown(lines[-1]) if lines else "pip printed no reason"
        raise NotInstalled(f"the wheels cannot be installed ({reason}). Copy the kit again.")


def put_in_place(packages: Path, target: Path) -> None:
    """Put new packages in the place of an earlier installation. Only installed files are deleted.

    Raises:
        NotInstalled: the earlier installation is in use; it stays whole.
    """
    names = [path.relative_to(packages).as_posix() for path in packages.rglob("*") if path.is_file()]
    (packages / INSTALLED).write_text(json.dumps(sorted(names)), encoding="utf-8")
    if not target.exists():
        packages.rename(target)
        return
    number = 1
    while target.with_name(f"{PEPR}-kept-{number}").exists():
        number += 1
    earlier = target.with_name(f"{PEPR}-kept-{number}")
    try:
        target.rename(earlier)
    except OSError as fault:
        reason = f"{target}: in use ({fault.strerror}). Close pepr-edge, and start again."
        raise NotInstalled(reason) from None
    packages.rename(target)
    delete_installed(earlier)
    if earlier.exists():
        print(f"note: {earlier.name} holds files that were not installed from the kit")


def delete_installed(packages: Path) -> None:
    """Delete the files of an earlier installation, by its list; then the folders that are empty."""
    try:
        installed = {INSTALLED, *json.loads(content(packages / INSTALLED, MAX_LIST_BYTES).decode())}
    except (OSError, ValueError, TypeError, RecursionError):
        return
    for root, folders, files in os.walk(packages, topdown=False):
        for name in files:
            path = Path(root, name)
            compiled = path.suffix == ".pyc" and path.parent.name == "__pycache__"
            if compiled or path.relative_to(packages).as_posix() in installed:
                path.unlink()
        for name in folders:
            with suppress(OSError):  # not empty
                Path(root, name).rmdir()
    with suppress(OSError):
        packages.rmdir()


def check_space(folder: Path) -> None:
    """Check that the disk has room for the installation.

    Raises:
        NotInstalled: it has not.
    """
    # A kit can hold wheels of several Pythons, but one per package is installed: count the largest.
    largest: dict[str, int] = {}
    for wheel in (folder / "wheels").glob("*.whl"):
        package = wheel.name.split("-")[0]
        largest[package] = max(largest.get(package, 0), wheel.stat().st_size)
    needed = SIZE_FACTOR * sum(largest.values())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NotInstalled(
            f"{folder}: this disk has {free >> 20} MiB of free space, and {needed >> 20} MiB are needed. "
            "Delete files, or copy the kit to another disk."
        )


def write_launcher(folder: Path) -> Path:
    """Write `pepr-edge`, or `pepr-edge.cmd` on Windows. It runs this Python with the folder's packages."""
    if os.name == "nt":
        launcher = folder / "pepr-edge.cmd"
        python = sys.executable.replace("%", "%%")
        launcher.write_bytes(WINDOWS.format(python=python).replace("\n", "\r\n").encode())
        return launcher
    launcher = folder / "pepr-edge"
    quoted = "'" + sys.executable.replace("'", "'\\''") + "'"
    launcher.write_text(POSIX.format(python=quoted), encoding="utf-8")
    launcher.chmod(0o755)
    return launcher


def verify_bundles(folder: Path, launcher: Path) -> int:
    """Verify the bundles with the installed program, print the next step and return the exit status."""
    # macOS leaves .DS_Store and ._* on a USB stick.
    bundles = [path for path in (folder / "bundles").iterdir() if path.is_dir()]
    names = sorted(path.name for path in bundles if not path.name.startswith("."))
    command = [str(launcher)] if os.name == "nt" else ["sh", str(launcher)]
    command += ["verify", *(f"bundles/{name}" for name in names)]
    status = subprocess.run(command, cwd=folder).returncode
    if status not in (0, 3):
        hint = " Windows may lack Microsoft's Visual C++ Redistributable (vc_redist.x64.exe)."
        reason = f"The reason is printed above.{hint if os.name == 'nt' else ''}"
        text = "error: installed, but it does not run on this computer"
        print(f"{text} (exit status {status}). {reason}", file=sys.stderr)
        return 1
    if status == 3:
        print("A model does not pass here: do not use it on this computer. You can measure the others.")
    start = ".\\pepr-edge.cmd" if os.name == "nt" else "sh pepr-edge"
    print(f"Installed. Next command:  {start} bench bundles/* --out report.json")
    return status


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent))
