"""The wheel of this very pepr_edge: built from its checkout, or put together again from what was installed of it."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pepr_edge
from pepr_edge.errors import KitError

NAME = "pepr_edge"
PACKAGE = Path(pepr_edge.__file__).parent
# What a wheel is made of; copied first, as a build leaves its litter beside them.
FOLDERS = ("pepr_edge", "recipes", "export")
FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")
# An installer's own notes about an installation.
NOTES = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json")


def make(folder: Path) -> Path:
    """Write the wheel of the pepr_edge that is running into a folder.

    Raises:
        KitError: it can neither be built nor be put together.
    """
    root = PACKAGE.parent
    return (
        build(root, folder) if all((root / name).exists() for name in (*FOLDERS, *FILES)) else repack(folder)
    )


def build(root: Path, folder: Path) -> Path:
    """Build a checkout's wheel, in a copy of it.

    Raises:
        KitError: the build failed.
    """
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--quiet",
        "--disable-pip-version-check",
        "--wheel-dir",
        str(folder),
    ]
    if importlib.util.find_spec("setuptools") is not None:
        command.append("--no-build-isolation")  # needs no network
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "checkout"
        for name in FOLDERS:
            shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in FILES:
            shutil.copy(root / name, copy / name)
        done = subprocess.run([*command, str(copy)], capture_output=True, text=True, errors="replace")
    if done.returncode:
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise KitError(
            f"pepr_edge's own wheel cannot be built from {root} ({said[-1] if said else 'pip says nothing'}). Run: pip wheel ."
        )
    (made,) = folder.glob(f"{NAME}-*.whl")
    return made


def repack(folder: Path) -> Path:
    """Put the wheel together again from the files that were installed.

    Raises:
        KitError: this pepr_edge was installed in another way than from a wheel, or files of it are missing.
    """
    try:
        installed = importlib.metadata.distribution(NAME)
    except importlib.metadata.PackageNotFoundError:
        raise KitError(
            f"{PACKAGE}: was not installed by pip, so that its wheel cannot be made. Run: pip install pepr_edge"
        ) from None
    contents = {}
    for file in installed.files or ():
        # The commands' scripts lie outside, and are made by every installation anew.
        if ".." in file.parts or file.is_absolute() or "__pycache__" in file.parts or file.name in NOTES:
            continue
        try:
            contents[file.as_posix()] = Path(str(file.locate())).read_bytes()
        except OSError:
            raise KitError(
                f"{file.locate()}: missing, a file of pepr_edge's own. Run: pip install --force-reinstall pepr_edge"
            ) from None
    if f"{NAME}/__init__.py" not in contents:
        raise KitError(
            f"{PACKAGE}: an editable installation without its checkout, so that its wheel cannot be made. Run: pip install ."
        )
    information = f"{NAME}-{installed.version}.dist-info"
    record = "".join(f"{name},{_digest(content)},{len(content)}\n" for name, content in contents.items())
    path = folder / f"{NAME}-{installed.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in contents.items():
            wheel.writestr(name, content)
        wheel.writestr(f"{information}/RECORD", f"{record}{information}/RECORD,,\n")
    return path


def _digest(content: bytes) -> str:
    """As RECORD writes it: sha256, base64 for URLs without the padding (PEP 376)."""
    return f"sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=').decode()}"
