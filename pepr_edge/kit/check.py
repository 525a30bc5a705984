"""Check a kit as it was handed over, before it is installed: all files as they were made, and signed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pepr_edge.errors import KitError, SignatureError
from pepr_edge.kit.install import CHECKSUMS, KIT, MAX_KIT_BYTES
from pepr_edge.run_dir.owned import is_os_metadata
from pepr_edge.run_dir.store import sha256_file
from pepr_edge.signing import signatures
from pepr_edge.signing.key_files import Trust
from pepr_edge.untrusted.documents import name_fault
from pepr_edge.untrusted.files import MANIFEST_BYTES, content
from pepr_edge.untrusted.shown import shown

BUNDLES = "bundles"
START = "START.txt"
# The page of a web kit, which has no bundles, wheels and installer.
PAGE = "index.html"
# The signature of the list of checksums, which cannot list itself.
SIGNATURE = f"{CHECKSUMS}{signatures.SUFFIX}"
# Ours have three.
MAX_LEVELS = 8
ADVICE = "Do not use it; copy the kit again."


def is_kit(folder: Path) -> bool:
    """True if a folder is a kit for a USB stick, whole or not."""
    return (folder / KIT).is_file() and (folder / CHECKSUMS).is_file()


def bundles_of(kit: Path, trust: Trust | None = None) -> list[Path]:
    """Return the folders of a kit's bundles, if all its files are as they were made.

    Args:
        kit: the folder, as it was handed over: an installation in it is refused, since nothing covers it.
        trust: the keys of which one must have signed the list of checksums; None: a signature is not asked
            for.
    Raises:
        KitError: a file is missing, changed or not part of the kit, or no trusted key signed it.
    """
    try:
        text = content(kit / CHECKSUMS, MANIFEST_BYTES)
        if trust is not None:
            signatures.check(kit / CHECKSUMS, text, trust, signatures.KIT)
        checksums = parse(text)
    except SignatureError as fault:
        raise KitError(f"{kit / CHECKSUMS}: {fault}") from None
    except (OSError, UnicodeDecodeError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else "not UTF-8"
        raise KitError(f"{kit / CHECKSUMS}: cannot be read ({reason}). {ADVICE}") from None
    try:
        if (kit / KIT).stat().st_size > MAX_KIT_BYTES:
            raise KitError(f"{kit / KIT}: larger than {MAX_KIT_BYTES} bytes. {ADVICE}")
        changed = changed_file(kit, checksums)
    except OSError as fault:
        raise KitError(f"{kit}: cannot be read ({fault.strerror}). {ADVICE}") from None
    if changed is not None:
        raise KitError(f"{kit}: {shown(changed)} was added or changed after the kit was made. {ADVICE}")
    missing = [name for name in checksums if not (kit / name).is_file()]
    if missing:
        raise KitError(f"{kit}: {shown(missing[0])} is missing. {ADVICE}")
    folders = {kit / BUNDLES / name.split("/")[1] for name in checksums if name.startswith(f"{BUNDLES}/")}
    return sorted(folder for folder in folders if folder.is_dir())


def parse(text: bytes) -> dict[str, str]:
    """Return the SHA-256 of the files of a kit, by path. Paths that lead out of the kit are left out.

    Raises:
        UnicodeDecodeError: it is not the text of a list of checksums.
    """
    checksums = {}
    for line in text.decode().splitlines():
        sha256, _, name = line.partition("  ")
        if all(name_fault(part) is None for part in name.split("/")):
            checksums[name] = sha256
    return checksums


def changed_file(kit: Path, checksums: dict[str, str]) -> str | None:
    """Return the name of a file that was added or changed, an installation included, or None."""
    for path in _entries(kit):
        name = path.relative_to(kit).as_posix()
        if name == CHECKSUMS or is_os_metadata(path):
            continue
        if name == SIGNATURE and signatures.is_signature(path):
            continue
        if path.is_symlink() or not path.is_file() or name not in checksums:
            return name
        if sha256_file(path) != checksums[name]:
            return name
    return None


def _entries(kit: Path) -> Iterator[Path]:
    """Yield all that is no folder, and folders that are deeper than any of a kit. Links are not followed."""
    folders = [kit]
    while folders:
        folder = folders.pop()
        for path in sorted(folder.iterdir()):
            is_folder = path.is_dir() and not path.is_symlink()
            if is_folder and len(path.relative_to(kit).parts) < MAX_LEVELS:
                folders.append(path)
            else:
                yield path
