"""The wheel of this pepr_edge: built from its checkout, or made again from its installed files."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

import pepr_edge
from pepr_edge.errors import KitError

NAME = "pepr_edge"
PACKAGE = Path(pepr_edge.__file__).parent
# The sources of the wheel. A build leaves files beside them, so they are copied first.
FOLDERS = ("pepr_edge", "recipes", "export")
FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")
# Files that pip adds to an installation.
INSTALLER_FILES = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json")


def make(folder: Path) -> Path:
    """Write the wheel of the pepr_edge that is running into a folder.

    Raises:
        KitError: it can neither be built nor be made from the installed files.
    """
    root = PACKAGE.parent
    is_checkout = all((root / name).exists() for name in (*FOLDERS, *FILES))
    return build(root, folder) if is_checkout else repack(folder)


def build(root: Path, folder: Path) -> Path:
    """Build the wheel of a checkout, in a copy of it.

    Raises:
        KitError: the build failed.
    """
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--disable-pip-version-check"]
    if importlib.util.find_spec("setuptools") is not None:
        command.append("--no-build-isolation")  # needs no network
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "checkout"
        for name in FOLDERS:
            shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in FILES:
            shutil.copy(root / name, copy / name)
        command += ["--wheel-dir", str(folder), str(copy)]
        # `-m` puts the working directory first on the path. The user's may hold a file called pip.py.
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=temporary)
    if done.returncode:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        reason = lines[-1] if lines else "pip printed no reason"
        raise KitError(
            f"the wheel of pepr_edge cannot be built from {root} ({reason}). "
            "Run `pip wheel .` there to see the reason."
        )
    (wheel,) = folder.glob(f"{NAME}-*.whl")
    return wheel


def repack(folder: Path) -> Path:
    """Make the wheel again from the installed files.

    Raises:
        KitError: this pepr_edge was not installed from a wheel, or files of it are missing.
    """
    try:
        installed = importlib.metadata.distribution(NAME)
    except importlib.metadata.PackageNotFoundError:
        raise KitError(
            f"{PACKAGE}: was not installed by pip, so its wheel cannot be made. "
            "Run: pip install . in its checkout"
        ) from None
    contents = _contents(installed)
    if f"{NAME}/__init__.py" not in contents:
        raise KitError(
            f"{PACKAGE}: an editable installation without its checkout, so its wheel cannot be made. "
            "Run: pip install . in its checkout"
        )
    record_name = f"{NAME}-{installed.version}.dist-info/RECORD"
    record = "".join(f"{name},{_digest(content)},{len(content)}\n" for name, content in contents.items())
    path = folder / f"{NAME}-{installed.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in contents.items():
            wheel.writestr(name, content)
        wheel.writestr(record_name, f"{record}{record_name},,\n")
    return path


def _contents(installed: importlib.metadata.Distribution) -> dict[str, bytes]:
    """Return the installed files of the package, by their paths in a wheel."""
    contents = {}
    # Not `installed.files`: since Python 3.12 it leaves out the files that are missing.
    for row in csv.reader((installed.read_text("RECORD") or "").splitlines()):
        file = PurePosixPath(row[0])
        # Each installation writes the commands' scripts, outside of the package.
        if ".." in file.parts or file.is_absolute():
            continue
        if "__pycache__" in file.parts or file.name in INSTALLER_FILES:
            continue
        try:
            contents[file.as_posix()] = Path(str(installed.locate_file(row[0]))).read_bytes()
        except OSError:
            raise KitError(
                f"{installed.locate_file(row[0])}: missing, but part of pepr_edge. "
                "Run: pip install --force-reinstall --no-deps . in its checkout"
            ) from None
    return contents


def _digest(content: bytes) -> str:
    """Return a checksum in the format of RECORD: sha256, URL-safe base64 without padding (PEP 376)."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return f"sha256={digest.rstrip(b'=').decode()}"
