"""The kit's own installer: `install.sh` and `install.ps1` look for the right Python and start this with it.

It checks that the folder is whole and made for this machine, installs the wheels into the folder `pepr` beside it, writes a launcher and
lets it verify the bundles. No virtual environment: that needs links and executable files, which a USB stick's file system lacks, and
ensurepip, which Debian leaves out. pip runs from its own wheel. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

KIT, CHECKSUMS, PEPR, WORK = "kit.json", "checksums.txt", "pepr", ".pepr.tmp"
# Unpacked and compiled, the wheels are so many times as large; and pip unpacks them beside it first.
GROWTH = 8
KIT_BYTES = 1 << 16
MAIN = """import sys
from pepr_edge.cli import entry
sys.exit(entry())
"""
POSIX = """#!/bin/sh
# pepr-edge with the packages of this folder; written by install.py, for the computer that it ran on.
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
PYTHONNOUSERSITE=1 exec {python} "$here/pepr" "$@"
"""
WINDOWS = """@echo off
chcp 65001 >nul
rem pepr-edge with the packages of this folder; written by install.py, for the computer that it ran on.
setlocal
set PYTHONNOUSERSITE=1
"{python}" "%~dp0pepr" %*
"""


class NotInstalled(Exception):  # noqa: N818 - a program of its own, whose one fault this is
    """Why nothing was installed, and what to do, on one line."""


def main(folder: Path) -> int:
    """Install from a kit's folder. Exit status: 0 done, 1 not installed, 3 installed but a bundle does not pass, 130 interrupted."""
    try:
        kit = read_kit(folder)
        check_machine(kit)
        check_files(folder)
        print("every file is as it was made; installing, which takes a minute or two", flush=True)
        install(folder, kit.get("extras", []))
        launcher = write_launcher(folder)
    except NotInstalled as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as fault:
        print(f"error: {fault}. Copy the kit again, to a disk that can be written to.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(folder / WORK, ignore_errors=True)
    return check(folder, launcher)


def check_machine(kit: dict[str, Any]) -> None:
    """Whether the kit was made for this system, processor and Python.

    Raises:
        NotInstalled: it was not.
    """
    python = "%d.%d" % sys.version_info[:2]  # noqa: UP031 - a Python that is too old is to get this far
    if python not in kit["pythons"] or sys.implementation.name != "cpython":
        wanted = " or ".join(kit["pythons"])
        raise NotInstalled(
            f"this is {platform.python_implementation()} {python}, the kit is for CPython {wanted}. Run it with that."
        )
    if (
        platform.system() != kit["system"]
        or platform.machine() not in kit["machines"]
        or sys.maxsize < 1 << 32
    ):
        bits = "" if sys.maxsize > 1 << 32 else ", Python of 32 bit"
        found = f"{platform.system()} {platform.machine()}{bits}"
        raise NotInstalled(
            f"this is {found}, the kit is for {kit['platform']}. Have one made: pepr-edge kit --platform"
        )
    version = system_version()
    if kit["floor"] is not None and (version is None or numbers(version) < numbers(kit["floor"])):
        name = "macOS" if kit["system"] == "Darwin" else "glibc"
        raise NotInstalled(
            f"the kit needs {name} {kit['floor']} or later, this system has {version or 'none'}. Use a newer system."
        )


def system_version() -> str | None:
    """The version of the C library (Linux) or of macOS; None where there is none."""
    if platform.system() == "Darwin":
        return platform.mac_ver()[0]
    try:
        words = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
    except (AttributeError, ValueError, OSError):
        return None
    return words[1] if len(words) == 2 else None


def numbers(version: str) -> tuple[int, ...]:
    """A version, to be compared."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())


def check_files(folder: Path) -> None:
    """Whether each file is as it was made, and no other is among the wheels.

    Raises:
        NotInstalled: one is missing, altered, a link, outside the folder, or a wheel that is not the kit's.
    """
    faults, listed = [], set()
    for line in (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines():
        expected, _, name = line.partition("  ")
        listed.add(name)
        if fault := file_fault(folder, name, expected):
            faults.append(fault)
    # pip takes the latest wheel that it finds, whoever put it there.
    wheels = {
        f"wheels/{path.name}" for path in (folder / "wheels").iterdir() if not path.name.startswith(".")
    }
    faults += [f"{name!a} is no part of the kit" for name in sorted(wheels - listed)]
    if faults:
        more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
        raise NotInstalled(f"{faults[0]}{more}. Copy the kit again.")


def file_fault(folder: Path, name: str, expected: str) -> str | None:
    """What is wrong with a file of the list; None where nothing is."""
    parts = name.split("/")
    if any(
        part in ("", ".", "..") or set(part) & set('\\:*?"<>|') or not part.isprintable() for part in parts
    ):
        return f"{CHECKSUMS} names {name[:60]!a}, which lies elsewhere"
    path = folder.joinpath(*parts)
    if any(folder.joinpath(*parts[:depth]).is_symlink() for depth in range(1, len(parts) + 1)):
        return f"{name} is a link"
    if not path.is_file():
        return f"{name} is missing"
    return None if sha256(path) == expected else f"{name} was altered"


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex, read in blocks: a file of any size may have been put there."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_kit(folder: Path) -> dict[str, Any]:
    """What the kit was made for.

    Raises:
        NotInstalled: kit.json is not as it was made.
    """
    with open(folder / KIT, "rb") as file:
        text = file.read(KIT_BYTES + 1)
    try:
        kit = json.loads(text.decode())
        texts = [
            kit["platform"],
            kit["system"],
            *kit["pythons"],
            *kit["machines"],
            kit["floor"] or "",
            *kit.get("extras", []),
        ]
    except (ValueError, KeyError, TypeError, RecursionError):
        texts = [None]
    if len(text) > KIT_BYTES or not all(isinstance(one, str) for one in texts):
        raise NotInstalled(f"{KIT} was altered. Copy the kit again.")
    return dict(kit)


def install(folder: Path, extras: Sequence[str] = ()) -> None:
    """Install the wheels into the folder `pepr`, which appears when it is whole; with what these extras bring.

    Raises:
        NotInstalled: no room, or pip could not do it.
    """
    wheels, work = folder / "wheels", folder / WORK
    # The wheels of other Pythons than this are there, but not installed: of each package the largest.
    largest: dict[str, int] = {}
    for wheel in wheels.glob("*.whl"):
        name = wheel.name.split("-")[0]
        largest[name] = max(largest.get(name, 0), wheel.stat().st_size)
    needed = GROWTH * sum(largest.values())
    if (free := shutil.disk_usage(folder).free) < needed:
        raise NotInstalled(
            f"{folder}: {free >> 20} MiB are free on this disk, {needed >> 20} are needed. Make room."
        )
    shutil.rmtree(work, ignore_errors=True)
    made = work / PEPR
    made.mkdir(parents=True)
    pip = min(wheels.glob("pip-*.whl"), key=lambda wheel: numbers(wheel.name.split("-")[1])) / "pip"
    # --isolated: whatever this computer's pip was set to, the kit's wheels and no others.
    options = ["--isolated", "--disable-pip-version-check", "--no-input", "--quiet"]
    where = ["--no-index", "--no-cache-dir", "--find-links", str(wheels), "--target", str(made)]
    environment = {
        **os.environ,
        "TMPDIR": str(work),
        "TEMP": str(work),
        "TMP": str(work),
        "PYTHONNOUSERSITE": "1",
    }
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, str(pip), *options, "install", *where, f"pepr_edge[{','.join(extras)}]"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        said = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        raise NotInstalled(f"the wheels cannot be installed ({said[-1] if said else 'pip says nothing'}).")
    (made / "__main__.py").write_text(MAIN, encoding="utf-8")
    shutil.rmtree(folder / PEPR, ignore_errors=True)
    made.rename(folder / PEPR)


def write_launcher(folder: Path) -> Path:
    """Write `pepr-edge`, or `pepr-edge.cmd` on Windows: this Python with the folder's packages."""
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


def check(folder: Path, launcher: Path) -> int:
    """Let what was installed verify the bundles, and say how to go on. Returns the exit status."""
    # A Mac leaves .DS_Store and ._* where it copies to a stick.
    found = sorted(
        path for path in (folder / "bundles").iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    bundles = [f"bundles/{path.name}" for path in found]
    words = [str(launcher)] if os.name == "nt" else ["sh", str(launcher)]
    status = subprocess.run([*words, "verify", *bundles], cwd=folder).returncode
    if status not in (0, 3):
        hint = (
            " Windows may lack Microsoft's Visual C++ Redistributable (vc_redist.x64.exe)."
            if os.name == "nt"
            else ""
        )
        print(
            f"error: installed, but it does not run here (exit status {status}); the reason stands above.{hint}",
            file=sys.stderr,
        )
        return 1
    if status == 3:
        print(
            "installed, but a model does not pass here: do not use it on this computer. The others can be measured."
        )
    start = ".\\pepr-edge.cmd" if os.name == "nt" else "sh pepr-edge"
    print(f"installed. Go on with:  {start} bench bundles/* --out report.json")
    return status


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent))
