"""Bundles as they are found: a folder with a manifest that says what is in it."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from pepr_edge.errors import BundleError
from pepr_edge.measure.selftest import FILE_BYTES, PIXEL_BYTES
from pepr_edge.records import Manifest, first_fault, other_version
from pepr_edge.untrusted.documents import MANIFEST_BYTES, MIB, content, json_document, name_fault
from pepr_edge.untrusted.onnx_check import MODEL_BYTES

MANIFEST = "manifest.json"
NEEDED = ("model.onnx", "selftest.npz")
# Ours have six or seven files: two models, a self-test, a card and two small ones for the hub.
MAX_FILES = 32
TEXT_BYTES = 16 * MIB
LIMITS_BYTES = {".onnx": MODEL_BYTES, ".npz": FILE_BYTES}


def read_manifest(bundle: Path) -> Manifest:
    """Read a bundle's manifest.

    Raises:
        BundleError: not a bundle, one of another version, one that contradicts itself, or one whose file names lead out of it.
    """
    path = bundle / MANIFEST
    manifest = _parse(_content(bundle), path)
    if (fault := _fault(manifest)) is not None:
        raise BundleError(f"{path}: {fault}. Do not use this bundle; copy or export it again.")
    return manifest


def _content(bundle: Path) -> bytes:
    path = bundle / MANIFEST
    if not bundle.is_dir():
        found = "not a folder" if bundle.exists() else "no such folder"
        raise BundleError(
            f"{bundle}: {found}, expected a bundle as `pepr-edge export` makes them. Check the path."
        )
    if path.is_symlink():
        raise BundleError(
            f"{path}: a link, expected a file. Do not use this bundle; copy or export it again."
        )
    try:
        return content(path, MANIFEST_BYTES)
    except FileNotFoundError:
        raise BundleError(
            f"{bundle}: holds no {MANIFEST}, so it is no bundle. Give the folder that has one."
        ) from None
    except OSError as fault:
        raise BundleError(f"{path}: cannot be read ({fault.strerror}). Copy the bundle again.") from None


def limit_bytes(name: str) -> int:
    """How large a file of a bundle may be, by its name."""
    return LIMITS_BYTES.get(Path(name).suffix, TEXT_BYTES)


def _parse(text: bytes, path: Path) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(text)
        json_document(text)
        return manifest
    except ValidationError as fault:
        version, reason = other_version(fault), first_fault(fault)
    except ValueError as fault:
        version, reason = None, str(fault)
    if version is not None:
        raise BundleError(
            f"{path}: schema_version = {version!r:.40}, this pepr_edge reads 1. Install the pepr_edge that made the bundle."
        )
    raise BundleError(f"{path}: not a manifest ({reason}). Copy or export the bundle again.")


def _fault(manifest: Manifest) -> str | None:
    """What a well-formed manifest has wrong, in words; None if nothing."""
    if len(manifest.files) > MAX_FILES:
        return f"files names {len(manifest.files)} files, expected at most {MAX_FILES}"
    for name in manifest.files:
        if name == MANIFEST or name_fault(name) is not None:
            return f"files names {name[:60]!r}, expected plain names inside the folder"
    if len({name.lower() for name in manifest.files}) < len(manifest.files):
        return "files has names that differ in capitals alone, which are one file on Windows and macOS"
    for name in NEEDED:
        if name not in manifest.files:
            return f"files does not name {name}"
    spec, classes = manifest.preprocess, len(manifest.labels)
    shape = (spec.channels, spec.image_size_px, spec.image_size_px)
    if manifest.input.shape[1:] != shape:
        return f"input.shape = {manifest.input.shape}, expected (-1, {', '.join(str(size) for size in shape)}) as preprocess says"
    if not len(spec.mean) == len(spec.std) == spec.channels:
        return f"preprocess has {len(spec.mean)} means and {len(spec.std)} deviations for {spec.channels} channels"
    if classes < 2 or len(set(manifest.labels)) != classes or manifest.output.shape[1:] != (classes,):
        return f"output.shape = {manifest.output.shape} does not fit labels, {classes} different ones"
    if manifest.profile.artifact_sha256 != manifest.files["model.onnx"]:
        return "profile is of another model than model.onnx"
    fallback = manifest.fallback
    # By its name a runtime knows a file's format, and .onnx is the one that is checked.
    if fallback is not None and (
        fallback.file not in manifest.files or fallback.file in NEEDED or not fallback.file.endswith(".onnx")
    ):
        return f"fallback.file = {fallback.file[:60]!r}, expected one of files that ends in .onnx, and another than model.onnx"
    if fallback is not None and fallback.selftest.n != manifest.selftest.n:
        return (
            f"fallback.selftest.n = {fallback.selftest.n}, expected {manifest.selftest.n}, as selftest says"
        )
    if not 1 <= manifest.selftest.n * spec.channels * spec.image_size_px**2 <= PIXEL_BYTES:
        return f"selftest.n = {manifest.selftest.n}, expected 1 to as many as have {PIXEL_BYTES // MIB} MiB of pixels"
    return None
