"""Read and validate the manifest of a bundle, which may come from anywhere."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from pepr_edge.errors import BundleError, SignatureError
from pepr_edge.measure.bundle_model import FILE_BYTES, PIXEL_BYTES
from pepr_edge.records import Decision, Manifest, first_fault, other_version, parse_record
from pepr_edge.signing import signatures
from pepr_edge.signing.key_files import Trust
from pepr_edge.signing.openssh import PublicKey
from pepr_edge.untrusted.documents import LABEL_CHARACTERS, name_fault
from pepr_edge.untrusted.files import MANIFEST_BYTES, MIB, content
from pepr_edge.untrusted.onnx_check import MODEL_BYTES
from pepr_edge.untrusted.shown import excerpt, is_plain

MANIFEST = "manifest.json"
# Its signature, which it cannot list itself.
SIGNATURE = f"{MANIFEST}{signatures.SUFFIX}"
REQUIRED = ("model.onnx", "selftest.npz")
# Ours have six or seven files: two models, a self-test, a card and two small ones for the hub.
MAX_FILES = 32
TEXT_BYTES = 16 * MIB
LIMITS_BYTES = {".onnx": MODEL_BYTES, ".npz": FILE_BYTES}


def read_manifest(bundle: Path, trust: Trust | None = None) -> Manifest:
    """Read a bundle's manifest.

    Args:
        bundle: the folder.
        trust: the keys of which one must have signed the manifest; it is read no further otherwise. None: a
            signature is not asked for.
    Raises:
        BundleError: not a bundle, a bundle of another version, a manifest that contradicts itself, or one
            whose file names lead out of the folder; or not signed by a trusted key.
    """
    path = bundle / MANIFEST
    text = _content(bundle)
    if trust is not None:
        _signer(bundle, text, trust)
    manifest = _parse(text, path)
    fault = _files_fault(manifest) or _tensor_fault(manifest) or _decision_fault(manifest)
    fault = fault or _selftest_fault(manifest) or _data_fault(manifest)
    if fault is not None:
        raise BundleError(f"{path}: {fault}. Do not use this bundle; copy or export it again.")
    return manifest


def signer(bundle: Path, trust: Trust) -> PublicKey:
    """Return the trusted key that signed a bundle's manifest, and thus all its files.

    Raises:
        BundleError: not a bundle, or none of the keys signed it.
    """
    return _signer(bundle, _content(bundle), trust)


def _signer(bundle: Path, text: bytes, trust: Trust) -> PublicKey:
    try:
        return signatures.check(bundle / MANIFEST, text, trust, signatures.MANIFEST)
    except SignatureError as fault:
        raise BundleError(f"{bundle / MANIFEST}: {fault}") from None


def is_signed(bundle: Path) -> bool:
    """True if a bundle carries a signature, whoever made it."""
    return signatures.is_signature(bundle / SIGNATURE)


def bundle_around(path: Path) -> Path | None:
    """Return the innermost bundle in which a path lies, whether it exists or not; None if it lies in none."""
    return next((folder for folder in path.resolve().parents if (folder / MANIFEST).is_file()), None)


def limit_bytes(name: str) -> int:
    """Return the maximum size of a file of a bundle, by its name."""
    return LIMITS_BYTES.get(Path(name).suffix, TEXT_BYTES)


def _content(bundle: Path) -> bytes:
    path = bundle / MANIFEST
    if not bundle.is_dir():
        fault = "not a folder" if bundle.exists() else "no such folder"
        raise BundleError(f"{bundle}: {fault}, expected a bundle of `pepr-edge export`. Check the path.")
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


def _parse(text: bytes, path: Path) -> Manifest:
    version = None
    try:
        return parse_record(text, Manifest)
    except ValidationError as fault:
        version = other_version(fault)
        reason = first_fault(fault)
    except ValueError as fault:
        reason = str(fault)
    if version is not None:
        raise BundleError(
            f"{path}: schema_version = {version!r:.40}, this pepr_edge reads 1. "
            "Install the pepr_edge that made the bundle."
        )
    raise BundleError(f"{path}: not a manifest ({reason}). Copy or export the bundle again.")


def _files_fault(manifest: Manifest) -> str | None:
    """Return the fault in the list of files, or None."""
    names = list(manifest.files)
    if len(names) > MAX_FILES:
        return f"files names {len(names)} files, expected at most {MAX_FILES}"
    for name in names:
        if name == MANIFEST or name_fault(name) is not None:
            return f"files names {name[:60]!r}, expected plain names inside the folder"
    if len({name.lower() for name in names}) < len(names):
        return "files has names that differ in capitals alone, which are the same file on Windows and macOS"
    for name in REQUIRED:
        if name not in manifest.files:
            return f"files does not name {name}"
    if manifest.profile.artifact_sha256 != manifest.files["model.onnx"]:
        return "profile is of another model than model.onnx"
    return None


def _tensor_fault(manifest: Manifest) -> str | None:
    """Return the fault in the shapes of input and output, or None."""
    spec = manifest.preprocess
    shape = (spec.channels, spec.image_size_px, spec.image_size_px)
    if manifest.input.shape[1:] != shape:
        expected = ", ".join(str(size) for size in (-1, *shape))
        return f"input.shape = {manifest.input.shape}, expected ({expected}) as in preprocess"
    if not len(spec.mean) == len(spec.std) == spec.channels:
        return (
            f"preprocess has {len(spec.mean)} means and {len(spec.std)} standard deviations "
            f"for {spec.channels} channels"
        )
    for label in manifest.labels:
        if not is_plain(label) or len(label) > LABEL_CHARACTERS:
            return f"label {excerpt(label)}, expected one line of at most {LABEL_CHARACTERS} characters"
    classes = len(manifest.labels)
    unique = len(set(manifest.labels))
    if classes < 2 or unique != classes or manifest.output.shape[1:] != (classes,):
        return (
            f"output.shape = {manifest.output.shape} does not fit labels, {classes} with {unique} different"
        )
    return None


def _decision_fault(manifest: Manifest) -> str | None:
    """Return the fault in the decision of the model or of its fallback, or None."""
    fallback = None if manifest.fallback is None else manifest.fallback.decision
    for name, decision in (("decision", manifest.decision), ("fallback.decision", fallback)):
        if decision is None:
            continue
        if (decision.kind == "threshold") != (decision.threshold is not None):
            return f"{name}.threshold = {decision.threshold}, which does not fit kind {decision.kind!r}"
        has_positive = decision.positive is not None
        if not _fits_task(decision, manifest) or has_positive != (manifest.kind == "binary"):
            return (
                f"{name}, of kind {decision.kind!r}, does not fit {len(manifest.labels)} labels of the task"
            )
        if decision.positive is not None and decision.positive not in manifest.labels:
            return f"{name}.positive = {excerpt(decision.positive)}, expected one of the labels"
        if decision.threshold is not None and decision.positive is None:
            return f"{name}.threshold is for two labels, and there are {len(manifest.labels)}"
        if not is_plain(decision.target):
            return f"{name}.target {excerpt(decision.target)}, expected one line"
    return _novelty_fault(manifest)


def _novelty_fault(manifest: Manifest) -> str | None:
    """Return the fault in what is said of referred images and the second output, or None."""
    declared = manifest.novelty is not None
    limited = manifest.has_novelty(fallback=False)
    if declared != limited:
        return f"novelty is {'declared' if declared else 'not declared'}, which does not fit decision.refer"
    if manifest.novelty is not None and manifest.novelty.shape[1:] != (1,):
        return f"novelty.shape = {manifest.novelty.shape}, expected (-1, 1)"
    fallback = None if manifest.fallback is None else manifest.fallback.decision
    for name, decision in (("decision", manifest.decision), ("fallback.decision", fallback)):
        if decision is None or decision.refer is None:
            continue
        for text in (decision.refer.asked, decision.refer.no_novelty):
            if not is_plain(text):
                return f"{name}.refer has the text {excerpt(text)}, expected one line"
    return None


def _data_fault(manifest: Manifest) -> str | None:
    """Return the fault in the counts of the data, or None."""
    splits = {} if manifest.data is None else manifest.data.splits
    for name, split in splits.items():
        if len(split.class_counts) != len(manifest.labels):
            return (
                f"data.splits.{name}.class_counts has {len(split.class_counts)} numbers, expected one for "
                f"each of {len(manifest.labels)} labels"
            )
    return None


def _fits_task(decision: Decision, manifest: Manifest) -> bool:
    """True if a decision is one of the task of its bundle, with a number for each finding."""
    kinds = {"median": "ordinal", "thresholds": "multilabel"}
    if decision.kind in kinds:
        fits = manifest.kind == kinds[decision.kind]
    else:
        fits = manifest.kind not in kinds.values()
    wanted = len(manifest.labels) if decision.kind == "thresholds" else None
    lengths = [
        None if values is None else len(values) for values in (decision.temperatures, decision.thresholds)
    ]
    return fits and lengths == [wanted, wanted]


def _selftest_fault(manifest: Manifest) -> str | None:
    """Return the fault in the self-test and in the fallback, or None."""
    spec = manifest.preprocess
    test = manifest.selftest
    if not 1 <= test.n * spec.channels * spec.image_size_px**2 <= PIXEL_BYTES:
        return f"selftest.n = {test.n}, expected at least 1 and at most {PIXEL_BYTES // MIB} MiB of pixels"
    fallback = manifest.fallback
    if fallback is None:
        return None
    # A runtime knows the format of a file by its name, and .onnx is the format that is checked.
    named = fallback.file in manifest.files and fallback.file not in REQUIRED
    if not named or not fallback.file.endswith(".onnx"):
        return (
            f"fallback.file = {fallback.file[:60]!r}, expected an .onnx file in files that is not model.onnx"
        )
    if fallback.selftest.n != test.n:
        return f"fallback.selftest.n = {fallback.selftest.n}, expected {test.n} as in selftest"
    return None
