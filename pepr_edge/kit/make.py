"""Make a kit: a folder that holds all that a device without a network needs, and appears when it is whole."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from pepr_edge import __version__
from pepr_edge.bundle.best import hand_over
from pepr_edge.errors import KitError
from pepr_edge.kit import own_wheel, wheels
from pepr_edge.kit.install import CHECKSUMS, KIT, PEPR
from pepr_edge.kit.platforms import PLATFORMS, Platform
from pepr_edge.run_dir.owned import is_os_metadata
from pepr_edge.run_dir.store import sha256_file, write_text
from pepr_edge.untrusted.documents import MANIFEST_BYTES, content

HERE = Path(__file__).parent
START = "START.txt"
# What a kit holds, and what its installer and a measurement leave there: more than that is somebody's own.
INSTALLED = {PEPR, "pepr-edge", "pepr-edge.cmd"}
PARTS = {"bundles", "wheels", "install.py", "install.sh", "install.ps1", START, KIT, CHECKSUMS, *INSTALLED}
# Steps done, steps in all, and what is being done.
Progress = Callable[[int, int, str], None]


class Wheel(NamedTuple):
    """A wheel of the kit."""

    name: str
    sha256: str
    size_bytes: int


class Kit(NamedTuple):
    """What was made. `bundles` are the names of their folders; `size_bytes` is that of all files; `warnings` what to know of the models."""

    folder: Path
    platform: str
    pythons: tuple[str, ...]
    bundles: tuple[str, ...]
    wheels: tuple[Wheel, ...]
    size_bytes: int
    warnings: tuple[str, ...]


def make(
    run_dir: Path,
    out: Path,
    *,
    platform: str,
    pythons: Sequence[str],
    top: int,
    progress: Progress,
    extras: Sequence[str] = (),
) -> Kit:
    """Make a kit of a run's best models.

    Args:
        run_dir: a finished run.
        out: the folder; a kit that is there already is replaced.
        platform: a name in `PLATFORMS`.
        pythons: such as "3.11", at least one.
        top: how many bundles.
        progress: told what is being done.
        extras: of this package, such as "dicom".
    Raises:
        RunError: the run has nothing to hand over.
        KitError: `out` holds something else, there is no network, or no wheel for that platform and Python.
    """
    out = out.resolve()
    if out.exists():
        _check_replaceable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent) as temporary:
        made = Path(temporary) / out.name
        made.mkdir()
        steps = len(pythons) + 2
        progress(0, steps, "bundles")
        handed = hand_over(run_dir, made / "bundles", top)
        progress(1, steps, "pepr_edge")
        _gather(
            made / "wheels", platform, pythons, extras, lambda done, name: progress(2 + done, steps, name)
        )
        _write_installer(made, PLATFORMS[platform], platform, pythons, extras)
        sizes = _seal(made)
        if out.exists():
            _check_replaceable(out)  # it took minutes
            shutil.rmtree(out)
        made.replace(out)
    listed = tuple(
        Wheel(path.name, sha256_file(path), path.stat().st_size)
        for path in sorted((out / "wheels").iterdir())
    )
    return Kit(
        out,
        platform,
        tuple(pythons),
        tuple(path.name for _, path in handed.bundles),
        listed,
        sizes,
        handed.warnings,
    )


def _check_replaceable(out: Path) -> None:
    """Only a kit is taken away for a new one, and not one that holds a report."""
    if not out.is_dir():
        raise KitError(f"{out}: a file, expected a folder that is new or empty. Give another --out.")
    found = {path.name for path in out.iterdir() if not is_os_metadata(path.name)}
    if found and KIT not in found:
        raise KitError(
            f"{out}: holds {min(found)!r}, which is no part of a kit. Give an --out that is empty or new."
        )
    if strangers := found - PARTS:
        raise KitError(
            f"{out}: a kit that holds {min(strangers)!r} besides. Take that away first, or give another --out."
        )
    if found and (other := _other_file(out)) is not None:
        raise KitError(
            f"{out}: {other} is not as the kit came with it. Move it away, or give another --out; it would be lost."
        )


def _other_file(kit: Path) -> str | None:
    """A file that is not in a kit's checksums, or was changed; None where there is none. What its installer made is not looked at."""
    try:
        lines = content(kit / CHECKSUMS, MANIFEST_BYTES).decode().splitlines()
    except (OSError, UnicodeDecodeError):
        return CHECKSUMS
    known = {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}
    for path in sorted(kit.rglob("*")):
        name = path.relative_to(kit).as_posix()
        if (
            name.split("/")[0] in INSTALLED
            or name == CHECKSUMS
            or is_os_metadata(path.name)
            or (path.is_dir() and not path.is_symlink())
        ):
            continue
        if path.is_symlink() or not path.is_file() or sha256_file(path) != known.get(name):
            return name
    return None


def _gather(
    folder: Path,
    platform: str,
    pythons: Sequence[str],
    extras: Sequence[str],
    said: Callable[[int, str], None],
) -> None:
    """All wheels into one folder; each Python is resolved by itself."""
    folder.mkdir()
    with tempfile.TemporaryDirectory() as temporary:
        wheels.check_pip()
        own = own_wheel.make(Path(temporary))
        asked = f"{own}[{','.join(extras)}]" if extras else str(own)
        for done, python in enumerate(pythons):
            fetched = Path(temporary) / python
            fetched.mkdir()
            said(done, f"Python {python}")
            wheels.fetch(asked, platform, python, fetched, lambda name, done=done: said(done, name))  # type: ignore[misc]
            for wheel in fetched.glob("*.whl"):
                shutil.copyfile(wheel, folder / wheel.name)
        shutil.copyfile(own, folder / own.name)


def _write_installer(
    folder: Path, platform: Platform, name: str, pythons: Sequence[str], extras: Sequence[str]
) -> None:
    """The installer, its facts, and the words for the person who starts it."""
    windows = platform.system == "Windows"
    words = {
        "platform": name,
        "versions": " ".join(pythons),
        "pythons": " or ".join(pythons),
        "terminal": "PowerShell" if windows else "a terminal",
        "install": "powershell -ExecutionPolicy Bypass -File install.ps1" if windows else "sh install.sh",
        "launch": ".\\pepr-edge.cmd" if windows else "sh pepr-edge",
    }
    for template in (platform.installer, START):
        text = (HERE / template).read_text(encoding="utf-8")
        for key, value in words.items():
            text = text.replace("{{" + key + "}}", value)
        write_text(folder / template, text)
    (folder / platform.installer).chmod(0o755)
    shutil.copyfile(HERE / "install.py", folder / "install.py")
    facts = {
        "pepr_edge": __version__,
        "platform": name,
        "pythons": list(pythons),
        "extras": list(extras),
        "system": platform.system,
        "machines": list(platform.machines),
        "floor": platform.floor,
    }
    write_text(folder / KIT, json.dumps(facts, indent=1) + "\n")


def _seal(folder: Path) -> int:
    """Write the checksums of all files, as sha256sum does. Returns their size in bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    write_text(
        folder / CHECKSUMS,
        "".join(f"{sha256_file(path)}  {path.relative_to(folder).as_posix()}\n" for path in files),
    )
    return sum(path.stat().st_size for path in [*files, folder / CHECKSUMS])
