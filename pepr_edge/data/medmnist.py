"""MedMNIST: .npz files by path, or by name from Zenodo (`medmnist_sets`)."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pepr_edge.data.files import stamp_files
from pepr_edge.data.findings import MAX_EXAMPLES, unused_columns
from pepr_edge.data.label_matrix import joined, note_findings
from pepr_edge.data.medmnist_sets import INFO, KINDS, ORDINAL_CLASSES, MedmnistSet, url
from pepr_edge.data.source import (
    SPLITS,
    DataSettings,
    ImageSource,
    Indices,
    Stamp,
    check_from_zero,
    class_numbers,
    name_in_split,
    numeric_labels,
    same_width,
)
from pepr_edge.errors import DataError
from pepr_edge.records import Columns, Problem, Split
from pepr_edge.run_dir.store import sha256_file
from pepr_edge.tasks import TaskKind
from pepr_edge.untrusted import npz
from pepr_edge.untrusted.files import open_regular
from pepr_edge.untrusted.npz import Shape
from pepr_edge.untrusted.paths import is_file
from pepr_edge.untrusted.shown import shown

ACCEPTS: str = "a MedMNIST name or .npz file"
SUFFIXES: tuple[str, ...] = (".npz",)

# The labels of a split: 16 million images of 8 bytes.
MAX_LABEL_BYTES = 128 << 20


def recognises(source: str) -> bool:
    """True if it is the name of a set, or an existing .npz file."""
    return source.lower() in INFO or (source.lower().endswith(SUFFIXES) and is_file(source))


def stamp(settings: DataSettings) -> Stamp:
    """Return the checksum of a set known by name; else name, size and time of the file."""
    if settings.source.lower() in INFO:
        return [INFO[settings.source.lower()].md5]
    return stamp_files(Path(settings.source).parent, [Path(settings.source).name])


def known_kind(settings: DataSettings) -> TaskKind | None:
    """Return the kind of the task, if the file is a known set of another kind than its labels show."""
    known = INFO.get(settings.source.lower())
    if known is None:
        path = Path(settings.source)
        with _readable(path), npz.opened(path) as archive:
            labels = _targets(path, archive, "train", None, settings, [])
        if labels.ndim == 2:
            return "multilabel"
        if int(labels.max()) + 1 not in ORDINAL_CLASSES:
            return None
        known, _ = _identified(path, labels)
    return KINDS.get(known.task) if known else None


def open_source(settings: DataSettings) -> ImageSource:
    """Open an .npz with train_images, train_labels, val_images and so on; val and test may be missing.

    Raises:
        DataError: it cannot be downloaded, is no .npz, or its arrays do not fit each other.
    """
    known = INFO.get(settings.source.lower())
    path = fetch(settings.source.lower()) if known else Path(settings.source)
    with _readable(path), npz.opened(path) as archive:
        members = set(archive.namelist())
        splits = _splits(path, members)
        shapes = {split: _image_shape(path, archive, split) for split in splits}
        joining: list[Problem] = []
        targets = [_targets(path, archive, split, shapes[split][0], settings, joining) for split in splits]
    columns = _columns(members, splits)
    all_targets = np.concatenate(same_width(path, targets))
    # The checksum of a fetched set was compared, and a file may hold gigabytes.
    identified, problems = (known, []) if known else _identified(path, all_targets)
    problems += joining
    if all_targets.ndim == 1:
        check_from_zero(all_targets, str(path))
    elif settings.kind == "auto" and identified is None:
        problems.append(note_findings(all_targets.shape[1], len(all_targets)))
    starts = np.cumsum([0, *(shapes[split][0] for split in splits)])
    return ImageSource(
        name=shown(path.stem),
        format="medmnist",
        sha256=sha256_file(path),
        labels=identified.labels if identified else numeric_labels(all_targets),
        targets=all_targets,
        read=partial(_read, path, splits, starts),
        given={split: np.arange(starts[n], starts[n + 1]) for n, split in enumerate(splits)},
        name_of=lambda index: name_in_split(index, splits, starts),
        columns=columns,
        problems=(*problems, *unused_columns(columns.ignored)),
        task=KINDS.get(identified.task) if identified else None,
    )


def _read(path: Path, splits: Sequence[Split], starts: Indices, indices: Indices) -> Iterator[Image.Image]:
    """Yield images by their index in the source, whose splits follow one another from `starts` on."""
    for number, split in enumerate(splits):
        in_split = (indices >= starts[number]) & (indices < starts[number + 1])
        yield from _images(path, split, indices[in_split] - starts[number])


def _splits(path: Path, members: set[str]) -> list[Split]:
    """Return the splits that have images in an archive.

    Raises:
        DataError: there are no training images.
    """
    splits = [split for split in SPLITS if f"{split}_images.npy" in members]
    if "train" not in splits:
        keys = sorted(name.removesuffix(".npy") for name in members)[:6]
        names = ", ".join(shown(key) for key in keys) or "nothing"
        raise DataError(
            f"{path}: contains {names}, expected train_images, train_labels, val_images and so on. "
            "Save it under these names."
        )
    return splits


def _columns(members: set[str], splits: list[Split]) -> Columns:
    """Return the names of the arrays that are used, and of the others."""
    used = [f"{split}_{kind}" for split in splits for kind in ("images", "labels")]
    arrays = sorted(shown(name.removesuffix(".npy")) for name in members)
    return Columns(used=tuple(used), ignored=tuple(name for name in arrays if name not in used))


def fetch(name: str) -> Path:
    """Return the file of a set; download it if the cache lacks it, and check its checksum.

    Raises:
        DataError: no pooch, no network, or a wrong checksum.
    """
    entry = INFO[name]
    try:
        import pooch  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        raise DataError(
            f"{name}: the download needs pooch. "
            "Run pip install 'pepr_edge[train]', or give the path of an .npz."
        ) from None
    folder = Path(pooch.os_cache("pepr_edge"))
    target = folder / f"{name}.npz"
    if target.is_file() and _md5(target) == entry.md5:
        return target
    try:
        pooch.get_logger().setLevel("WARNING")  # else it prints paths over our progress bar
        return Path(pooch.retrieve(url(name), known_hash=f"md5:{entry.md5}", fname=target.name, path=folder))
    except (OSError, ValueError) as error:
        wrong_checksum = isinstance(error, ValueError) and "hash" in str(error)
        reason = "its checksum is wrong" if wrong_checksum else type(error).__name__
        raise DataError(
            f"{name}: cannot be downloaded ({reason}), expected {url(name)} with md5 {entry.md5}. "
            f"Fetch it on a machine with internet and put it at {target}"
        ) from None


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Report a file that is not an .npz, or is damaged, as a DataError of one line."""
    try:
        yield
    except (KeyError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path}: not a readable .npz file ({reason}), expected a file written by numpy.savez. "
            "Fetch it again."
        ) from None


def _image_shape(path: Path, archive: zipfile.ZipFile, split: Split) -> Shape:
    with npz.member(archive, f"{split}_images") as (_, (shape, fortran, dtype)):
        fits = len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))
        if not fits or fortran or dtype != np.uint8 or 0 in shape:
            order = ", Fortran order" if fortran else ""
            raise DataError(
                f"{path}: {split}_images has shape {shape} of {dtype}{order}, "
                "expected uint8, (n, h, w) or (n, h, w, 1 or 3), C order. "
                "3-D sets (volumes) cannot be used; save other arrays with numpy.ascontiguousarray."
            )
        return shape


def _targets(
    path: Path,
    archive: zipfile.ZipFile,
    split: Split,
    images: int | None,
    settings: DataSettings,
    problems: list[Problem],
) -> Indices:
    """Return the labels of a split, shape (n,) or (n, findings).

    Args:
        path: of the file, for messages.
        archive: the same, opened.
        split: whose labels.
        images: the number that is expected; None: any.
        settings: whether several targets are votes, and the kind of the task.
        problems: gets a note of what was decided.
    """
    with npz.member(archive, f"{split}_labels") as (stream, (shape, fortran, dtype)):
        if np.prod(shape, dtype=object) * dtype.itemsize > MAX_LABEL_BYTES:
            raise ValueError(f"{split}_labels of shape {shape!s:.60}, more than {MAX_LABEL_BYTES >> 20} MiB")
        order: Literal["F", "C"] = "F" if fortran else "C"
        raw: NDArray[np.generic] = np.frombuffer(stream.read(), dtype).reshape(shape, order=order)
    if images is not None and len(raw) != images:
        raise DataError(
            f"{path}: {len(raw)} {split}_labels for {images} {split}_images, "
            "expected as many labels as images. "
            "Fetch or make it again."
        )
    where = f"{path}: {split}_labels"
    rows = raw.reshape(len(raw), -1)
    if rows.shape[1] == 1 and settings.kind != "multilabel":
        return class_numbers(rows[:, 0], where)
    if rows.dtype.kind == "f" and np.array_equal(rows, np.round(rows)):
        rows = rows.astype(np.int64)
    if rows.dtype.kind == "b":
        rows = rows.astype(np.uint8)
    whole = class_numbers(rows.reshape(-1), where).reshape(rows.shape)
    return joined(where, whole, settings, problems, f"{split}: ")


def _images(path: Path, split: Split, positions: Indices) -> Iterator[Image.Image]:
    """Yield images of a split at ascending positions, read as a stream: the array may outgrow the memory."""
    if not len(positions):
        return
    with (
        _readable(path),
        npz.opened(path) as archive,
        npz.member(archive, f"{split}_images") as (stream, (shape, _, _)),
    ):
        size_bytes = int(np.prod(shape[1:]))
        next_position = 0
        for position in positions.tolist():
            for _ in range(position - next_position):
                _read_exactly(stream, size_bytes)
            next_position = position + 1
            pixels = np.frombuffer(_read_exactly(stream, size_bytes), np.uint8).reshape(shape[1:])
            yield Image.fromarray(_without_single_channel(pixels))


def _read_exactly(stream: IO[bytes], size_bytes: int) -> bytes:
    block = stream.read(size_bytes)
    if len(block) < size_bytes:
        raise EOFError("it ends too early")
    return block


def _without_single_channel(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels


def _identified(path: Path, targets: Indices) -> tuple[MedmnistSet | None, list[Problem]]:
    """Return the set of INFO that a file is, by its checksum or its name; and a problem.

    A file with the name of a set and another content may number its classes otherwise.
    """
    classes = len(numeric_labels(targets))
    md5 = _md5(path)
    for known in INFO.values():
        if known.md5 == md5 and _has_labels(known, targets, classes):
            return known, []
    by_name = INFO.get(path.stem.lower())
    if by_name is None or not _has_labels(by_name, targets, classes):
        return None, []
    problem = Problem(
        kind="labels_by_file_name",
        severity="warning",
        count=len(by_name.labels),
        examples=by_name.labels[:MAX_EXAMPLES],
        remedy=f"the classes are named as in {path.stem.lower()}, after the file's name, but its content is "
        f"another (md5): check that 0 is {by_name.labels[0]}, or give the file another name.",
    )
    return by_name, [problem]


def _has_labels(known: MedmnistSet, targets: Indices, classes: int) -> bool:
    """True if the labels of a file can be those of a set."""
    if (targets.ndim == 2) != (KINDS.get(known.task) == "multilabel"):
        return False
    return len(known.labels) == classes if targets.ndim == 2 else len(known.labels) >= classes


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open_regular(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
