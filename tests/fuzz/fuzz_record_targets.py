"""Targets of what is written or checked of a whole bundle or kit: a dossier, and a kit's list of files."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

import dossier_manifests
import tiny_bundle

from pepr_edge.bundle.read import MANIFEST, read_manifest
from pepr_edge.dossier import write as dossier
from pepr_edge.kit import check as kit_check
from pepr_edge.kit.install import CHECKSUMS, KIT
from pepr_edge.run_dir.store import sha256_file, write_record
from pepr_edge.untrusted.shown import CONTROL


@cache
def folder() -> Path:
    """Return a folder of this session."""
    made = tempfile.TemporaryDirectory(prefix="fuzz-")
    atexit.register(made.cleanup)
    return Path(made.name)


@cache
def bundles() -> tuple[Path, Path]:
    """Return a bundle whose manifest says all that a dossier can say, and one to be spoiled."""
    bundle = tiny_bundle.write(folder() / "bundle", fallback=True)
    write_record(bundle / MANIFEST, dossier_manifests.full(read_manifest(bundle)))
    return bundle, Path(shutil.copytree(bundle, folder() / "spoiled"))


def manifests() -> list[bytes]:
    return [(bundles()[0] / MANIFEST).read_bytes()]


def feed_dossier(path: Path) -> None:
    """Write the dossier of a bundle with this manifest, against the bundle as it was, and the other way."""
    bundle, spoiled = bundles()
    (spoiled / MANIFEST).write_bytes(path.read_bytes())
    for pair in ((spoiled, bundle), (bundle, spoiled)):
        for name, text in dossier.make(*pair).files.items():
            assert not CONTROL.search(text), name
            assert "<script" not in text or name == dossier.BOM
            if name == dossier.BOM:
                json.loads(text)


@cache
def kit() -> Path:
    """Return a kit of one file."""
    made = folder() / "kit"
    (made / "bundles" / "01").mkdir(parents=True)
    (made / "bundles" / "01" / MANIFEST).write_text("{}")
    (made / KIT).write_text("{}")
    return made


def checksums() -> list[bytes]:
    files = [path for path in sorted(kit().rglob("*")) if path.is_file() and path.name != CHECKSUMS]
    lines = [f"{sha256_file(path)}  {path.relative_to(kit()).as_posix()}\n" for path in files]
    return ["".join(lines).encode()]


def feed_checksums(path: Path) -> None:
    """Check a kit against this list of its files."""
    (kit() / CHECKSUMS).write_bytes(path.read_bytes())
    assert len(kit_check.bundles_of(kit())) <= 1
