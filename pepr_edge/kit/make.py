"""Make a kit: a folder with all that a device without a network needs. It appears when it is complete."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from pepr_edge import __version__
from pepr_edge.bundle.best import export_best
from pepr_edge.errors import KitError
from pepr_edge.kit import check, own_wheel, wheels
from pepr_edge.kit.check import BUNDLES, PAGE, SIGNATURE, START
from pepr_edge.kit.install import CHECKSUMS, KIT, TRUSTED
from pepr_edge.kit.platforms import PLATFORMS, Platform
from pepr_edge.run_dir.owned import is_os_metadata, replace_tree, staging_folder
from pepr_edge.run_dir.store import sha256_file, write_bytes, write_text
from pepr_edge.signing import signatures
from pepr_edge.signing.key_files import Signer, Trust
from pepr_edge.untrusted.files import MANIFEST_BYTES, content

HERE = Path(__file__).parent
# Every name in a kit; a kit with another file in it is not replaced.
PARTS = {
    BUNDLES,
    "wheels",
    "install.py",
    "install.sh",
    "install.ps1",
    START,
    PAGE,
    KIT,
    CHECKSUMS,
    SIGNATURE,
    TRUSTED,
}
# The extra that checks signatures on the device.
SIGN_EXTRA = "sign"
# Called with the steps done, the number of steps, and the name of the current one.
Progress = Callable[[int, int, str], None]


class Wheel(NamedTuple):
    """A wheel of the kit."""

    name: str
    sha256: str
    size_bytes: int


class Kit(NamedTuple):
    """A finished kit: names of the bundles' folders, size of all files, warnings about the models."""

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
    signer: Signer | None = None,
    trust: Trust | None = None,
) -> Kit:
    """Make a kit of a run's best models.

    Args:
        run_dir: a finished run.
        out: the folder; a kit in it is replaced.
        platform: a name in `PLATFORMS`.
        pythons: versions such as "3.11", at least one.
        top: number of bundles.
        progress: called before each step.
        extras: of this package, such as "dicom".
        signer: signs the bundles and the list of checksums; the kit gets what checks signatures. None: nobody
            does.
        trust: public keys that go into the kit, whose launcher then refuses bundles that none of them signed.
            One must be the signer's.
    Raises:
        RunError: the run has no ranked model.
        KitError: `out` holds something else, there is no network, or no wheel for that platform and Python.
    """
    _check_trust(signer, trust)
    if signer is not None:
        extras = (*extras, SIGN_EXTRA)
    out = out.resolve()
    check_replaceable(out)
    with staging_folder(out) as folder:
        steps = len(pythons) + 2
        progress(0, steps, "bundles")
        exported = export_best(run_dir, folder / BUNDLES, top, signer)
        progress(1, steps, "pepr_edge")
        _collect_wheels(folder / "wheels", platform, pythons, extras, progress)
        _write_installer(folder, PLATFORMS[platform], platform, pythons, extras)
        if trust is not None:
            write_text(folder / TRUSTED, "".join(f"{key.line}\n" for key in trust.keys))
        size_bytes = write_checksums(folder, signer)
        put_in_place(folder, out)
    return Kit(
        folder=out,
        platform=platform,
        pythons=tuple(pythons),
        bundles=tuple(path.name for _, path in exported.bundles),
        wheels=tuple(
            Wheel(path.name, sha256_file(path), path.stat().st_size)
            for path in sorted((out / "wheels").iterdir())
        ),
        size_bytes=size_bytes,
        warnings=exported.warnings,
    )


def _check_trust(signer: Signer | None, trust: Trust | None) -> None:
    """Refuse keys of which none signs the kit.

    Raises:
        KitError: there is none.
    """
    if trust is not None and (signer is None or trust.find(signer.public) is None):
        raise KitError(
            f"--trust {trust.source}: holds no key that signs this kit, which would refuse its own bundles. "
            "Give the public key of --sign."
        )


def check_replaceable(out: Path) -> None:
    """Refuse a folder that holds anything but an unchanged kit, such as a kit with a report in it.

    Raises:
        KitError: it does. Nothing was touched.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise KitError(f"{out}: a file, expected a folder that is new or empty. Give another --out.")
    names = {path.name for path in out.iterdir() if not is_os_metadata(path)}
    if not names:
        return
    if KIT not in names:
        raise KitError(
            f"{out}: holds {min(names)!r}, which is no part of a kit. Give an --out that is empty or new."
        )
    others = names - PARTS
    if others:
        raise KitError(
            f"{out}: a kit that also holds {min(others)!r}. Move it to another folder, or give another --out."
        )
    changed = _changed_file(out)
    if changed is not None:
        raise KitError(
            f"{out}: {changed} was added or changed after the kit was made, and would be lost. "
            "Move it to another folder, or give another --out."
        )


def put_in_place(folder: Path, out: Path) -> None:
    """Move a finished kit to its place, where it replaces an earlier one.

    Raises:
        KitError: `out` holds anything but an unchanged kit.
    """
    check_replaceable(out)  # again: the steps take minutes
    old = [*_checksums(out), CHECKSUMS, SIGNATURE] if (out / CHECKSUMS).exists() else []
    replace_tree(folder, out, old, CHECKSUMS)


def _checksums(kit: Path) -> dict[str, str]:
    return check.parse(content(kit / CHECKSUMS, MANIFEST_BYTES))


def _changed_file(kit: Path) -> str | None:
    """Return the name of a file that was added or changed, an installation included, or None."""
    try:
        checksums = _checksums(kit)
    except (OSError, UnicodeDecodeError):
        return CHECKSUMS
    return check.changed_file(kit, checksums)


def _collect_wheels(
    folder: Path, platform: str, pythons: Sequence[str], extras: Sequence[str], progress: Progress
) -> None:
    """Put all wheels into one folder. The requirements are resolved for each Python separately."""
    folder.mkdir()
    with tempfile.TemporaryDirectory() as temporary:
        wheels.check_pip()
        own = own_wheel.make(Path(temporary))
        requirement = f"{own}[{','.join(extras)}]" if extras else str(own)
        for number, python in enumerate(pythons):
            downloads = Path(temporary) / python
            downloads.mkdir()

            def on_package(name: str, done: int = number + 2) -> None:
                progress(done, len(pythons) + 2, name)

            on_package(f"Python {python}")
            wheels.fetch(requirement, platform, python, downloads, on_package)
            for wheel in downloads.glob("*.whl"):
                shutil.copyfile(wheel, folder / wheel.name)
        shutil.copyfile(own, folder / own.name)


def _write_installer(
    folder: Path, platform: Platform, name: str, pythons: Sequence[str], extras: Sequence[str]
) -> None:
    """Write the installer, kit.json, and START.txt for the person who starts the installer."""
    is_windows = platform.system == "Windows"
    texts = {
        "platform": name,
        "versions": " ".join(pythons),
        "pythons": " or ".join(pythons),
        "terminal": "PowerShell" if is_windows else "a terminal",
        "install": "powershell -ExecutionPolicy Bypass -File install.ps1" if is_windows else "sh install.sh",
        "launch": ".\\pepr-edge.cmd" if is_windows else "sh pepr-edge",
    }
    for template in (platform.installer, START):
        text = (HERE / template).read_text(encoding="utf-8")
        for key, value in texts.items():
            text = text.replace("{{" + key + "}}", value)
        write_text(folder / template, text)
    (folder / platform.installer).chmod(0o755)
    shutil.copyfile(HERE / "install.py", folder / "install.py")
    document = {
        "pepr_edge": __version__,
        "platform": name,
        "pythons": list(pythons),
        "extras": list(extras),
        "system": platform.system,
        "machines": list(platform.machines),
        "floor": platform.floor,
    }
    write_text(folder / KIT, json.dumps(document, indent=1) + "\n")


def write_checksums(folder: Path, signer: Signer | None) -> int:
    """Write the checksums of all files in the format of sha256sum, and sign them.

    Returns:
        The total size in bytes.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{sha256_file(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    text = "".join(lines).encode()
    write_bytes(folder / CHECKSUMS, text)
    files.append(folder / CHECKSUMS)
    if signer is not None:
        write_bytes(folder / SIGNATURE, signatures.sign(text, signer, signatures.KIT))
        files.append(folder / SIGNATURE)
    return sum(path.stat().st_size for path in files)
