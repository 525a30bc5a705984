"""Prepared data: each image is decoded and resized once, and stored as uint8 in a folder.

    <folder>/train_pixels.npy train_labels.npy val_... test_... skipped_images.csv source.txt info.json

source.txt holds the fingerprint of the source. skipped_images.csv names the images that were left out, with
the reason. info.json is written last: a folder with it is complete.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pepr_edge.data.files import is_grey
from pepr_edge.data.formats import fingerprint, open_source
from pepr_edge.data.source import SPLITS, DataSettings, ImageSource, Indices
from pepr_edge.data.splits import assign_splits, check_splits
from pepr_edge.errors import DataError, ImageError, RunError
from pepr_edge.images.preprocess import to_pixels
from pepr_edge.records import DataInfo, Split, SplitInfo
from pepr_edge.run_dir.owned import remove_matching
from pepr_edge.run_dir.store import read_record, write_record, write_text
from pepr_edge.tasks import task_of
from pepr_edge.text.units import plural

Progress = Callable[[int, int], None]

GREY_SAMPLE = 64
SKIPPED = "skipped_images.csv"
# An error names this many bad images; skipped_images.csv names all.
MAX_NAMED = 10
MIN_IMAGE_SIZE_PX = 8
DATA_FILES = tuple(f"{split}_{kind}.npy" for split, kind in product(SPLITS, ("pixels", "labels")))
PARTIAL_FILES = re.compile(
    r"(train|val|test)_(pixels|labels)\.npy(\.shorter)?|skipped_images\.csv|source\.txt|info\.json"
)


@dataclass(frozen=True)
class Dataset:
    """Prepared data.

    `splits` maps each split to its pixels, uint8, shape (n, px, px, channels), and labels, int64, shape (n,).
    """

    info: DataInfo
    splits: dict[Split, tuple[NDArray[np.uint8], Indices]]


@dataclass
class _Findings:
    """Observations during one pass over the images.

    `splits`: the splits that contain each image, by its hash; `coloured`: number of colour images among
    images taken as grey; `bad`: the unusable images, by index.
    """

    splits: dict[bytes, set[Split]] = field(default_factory=dict)
    coloured: int = 0
    bad: dict[int, ImageError] = field(default_factory=dict)


def prepare(settings: DataSettings, folder: Path, progress: Progress | None = None) -> DataInfo:
    """Prepare data in a folder; return at once if the folder already holds the same data.

    Args:
        settings: which data, and how it is prepared.
        folder: created if missing; its data files are replaced only after everything has succeeded.
        progress: called with the number of images done and the total.
    Raises:
        DataError: wrong settings, a faulty source or image, or too little disk space; with skipped images:
            too few are left.
    """
    _check_settings(settings)
    source_fingerprint = fingerprint(settings)
    current = _current_info(folder, source_fingerprint)
    if current is not None:
        return current
    source = open_source(settings)
    splits = assign_splits(source, settings)
    channels = settings.channels if settings.channels != "auto" else _channels(source)
    images = _image_count(splits)
    with _partial_folder(folder) as partial:
        _check_disk_space(partial, images * settings.image_size_px**2 * channels)
        findings, kept = _write_arrays(source, splits, settings, channels, partial, progress)
        _check_bad_images(source, images, kept, settings, findings)
        write_text(partial / SKIPPED, _skipped_csv(findings))
        info = _data_info(source, kept, settings, channels, findings)
        write_text(partial / "source.txt", source_fingerprint + "\n")
        write_record(partial / "info.json", info)
    return info


def load(folder: Path) -> Dataset:
    """Read prepared data into memory; or map it, if larger than a quarter of the machine's memory.

    Raises:
        RunError: the folder was not prepared, or not completely.
        DataError: its files do not fit each other.
    """
    import psutil

    info = read_record(folder / "info.json", DataInfo)
    try:
        size_bytes = sum((folder / f"{split}_pixels.npy").stat().st_size for split in SPLITS)
        mmap_mode: Literal["r"] | None = "r" if size_bytes > psutil.virtual_memory().total / 4 else None
        splits: dict[Split, tuple[NDArray[np.uint8], Indices]] = {
            split: (
                np.load(folder / f"{split}_pixels.npy", mmap_mode=mmap_mode),
                np.load(folder / f"{split}_labels.npy"),
            )
            for split in SPLITS
        }
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder}: prepared data cannot be read ({error}). "
            "Delete the folder; the next run prepares it again."
        ) from None
    for split, (pixels, labels) in splits.items():
        same_count = len(pixels) == len(labels) == info.splits[split].images
        if not same_count or pixels.shape[-1] != info.channels:
            raise DataError(
                f"{folder}: the images of {split} do not match info.json. "
                "Delete the folder; the next run prepares it again."
            )
    return Dataset(info, splits)


def _image_count(splits: dict[Split, Indices]) -> int:
    return sum(len(indices) for indices in splits.values())


def _check_settings(settings: DataSettings) -> None:
    shares = {"val_fraction": settings.val_fraction, "test_fraction": settings.test_fraction}
    for name, share in shares.items():
        if not 0 < share < 1:
            raise DataError(
                f"data: {name} = {share:g}, expected more than 0 and less than 1. "
                "The defaults are 0.15 and 0.2."
            )
    total = sum(shares.values())
    if total >= 1:
        raise DataError(
            f"data: val_fraction + test_fraction = {total:g}, expected less than 1. Lower one of them."
        )
    if not 0 < settings.fraction <= 1:
        raise DataError(
            f"data: fraction = {settings.fraction:g}, expected more than 0 and at most 1. "
            "1 takes all training images."
        )
    if settings.image_size_px < MIN_IMAGE_SIZE_PX:
        raise DataError(
            f"data: image_size_px = {settings.image_size_px}, expected at least {MIN_IMAGE_SIZE_PX}. "
            "Most models need 32 or more."
        )
    if settings.seed < 0:
        raise DataError(f"data: seed = {settings.seed}, expected a whole number from 0. Choose another.")


def _current_info(folder: Path, source_fingerprint: str) -> DataInfo | None:
    """Return the info of a complete folder that was prepared from the same source, else None."""
    if not all((folder / name).is_file() for name in (*DATA_FILES, SKIPPED, "source.txt")):
        return None
    try:
        info = read_record(folder / "info.json", DataInfo)
    except RunError:
        return None
    prepared_from = (folder / "source.txt").read_text(encoding="utf-8").strip()
    return info if prepared_from == source_fingerprint else None


@contextmanager
def _partial_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder inside `folder` to write into; after success, move its files up, info.json last."""
    import psutil

    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(".partial-*"):
        # Left by a killed process; a running process keeps its own.
        pid = stale.name.removeprefix(".partial-")
        running = pid.isdecimal() and psutil.pid_exists(int(pid))
        if pid == str(os.getpid()) or not running:
            remove_matching(stale, PARTIAL_FILES)
    partial = folder / f".partial-{os.getpid()}"
    partial.mkdir()
    try:
        yield partial
        (folder / "info.json").unlink(missing_ok=True)
        for name in (*DATA_FILES, SKIPPED, "source.txt", "info.json"):
            (partial / name).replace(folder / name)
    finally:
        remove_matching(partial, PARTIAL_FILES)


def _check_disk_space(folder: Path, needed_bytes: int) -> None:
    """Check the free space first: a memory-mapped file that outgrows the disk kills the process silently."""
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise DataError(
            f"{folder.parent}: {free_bytes / 2**20:.0f} MiB free, "
            f"expected {needed_bytes / 2**20:.0f} MiB for the resized images. "
            "Free disk space, or choose a smaller image_size_px or fraction."
        )


def _channels(source: ImageSource) -> Literal[1, 3]:
    """Return 1 if all images of an evenly spread sample are grey, else 3. Bad images are reported later."""
    count = len(source.targets)
    sample = np.unique(np.linspace(0, count - 1, min(GREY_SAMPLE, count)).astype(np.int64))
    greys = [is_grey(image) for image in source.read(sample) if not isinstance(image, ImageError)]
    return 1 if greys and all(greys) else 3


def _write_arrays(
    source: ImageSource,
    splits: dict[Split, Indices],
    settings: DataSettings,
    channels: Literal[1, 3],
    folder: Path,
    progress: Progress | None,
) -> tuple[_Findings, dict[Split, Indices]]:
    """Write pixels and labels; return the findings, and the indices of the written images."""
    findings = _Findings()
    kept: dict[Split, Indices] = {}
    done = 0
    total = _image_count(splits)
    for split, indices in splits.items():
        path = folder / f"{split}_pixels.npy"
        shape = (len(indices), settings.image_size_px, settings.image_size_px, channels)
        out = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        written: list[int] = []
        for index, image in zip(indices.tolist(), source.read(indices), strict=True):
            done += 1
            if progress is not None:
                progress(done, total)
            if isinstance(image, ImageError):
                findings.bad[index] = image
                continue
            out[len(written)] = to_pixels(
                image,
                channels=channels,
                image_size_px=settings.image_size_px,
                interpolation=settings.interpolation,
            )
            written.append(index)
            findings.splits.setdefault(_image_hash(image), set()).add(split)
            if settings.channels == "auto" and channels == 1 and not is_grey(image):
                findings.coloured += 1
        out.flush()
        del out
        _truncate(path, len(written))
        kept[split] = np.array(written, np.int64)
        np.save(folder / f"{split}_labels.npy", source.targets[kept[split]])
    return findings, kept


def _image_hash(image: Image.Image) -> bytes:
    content = f"{image.mode}{image.size}".encode() + image.tobytes()
    return hashlib.blake2b(content, digest_size=16).digest()


def _truncate(path: Path, images: int) -> None:
    """Keep only the first `images` images of an array file."""
    whole = np.load(path, mmap_mode="r")
    if len(whole) == images:
        return
    shorter = path.with_name(f"{path.name}.shorter")
    out = np.lib.format.open_memmap(shorter, mode="w+", dtype=whole.dtype, shape=(images, *whole.shape[1:]))
    out[:] = whole[:images]
    out.flush()
    del out, whole  # Windows cannot replace a mapped file
    shorter.replace(path)


def _check_bad_images(
    source: ImageSource,
    images: int,
    kept: dict[Split, Indices],
    settings: DataSettings,
    findings: _Findings,
) -> None:
    """Raise DataError if bad images are not to be skipped, or if too few images are left without them."""
    errors = list(findings.bad.values())
    if not errors:
        return
    lines = [f"  {error}" for error in errors[:MAX_NAMED]]
    if len(errors) > MAX_NAMED:
        lines.append(f"  and {len(errors) - MAX_NAMED} more")
    if settings.on_bad_image == "fail":
        if len(errors) == 1:
            raise DataError(
                f"{settings.source}: {errors[0]} This is 1 of {images} images; "
                'data.on_bad_image = "skip" leaves such images out.'
            )
        head = f"{settings.source}: {len(errors)} of {images} images cannot be used. "
        head += 'Fix them, or leave them out: data.on_bad_image = "skip".'
        raise DataError("\n".join([head, *lines]))
    try:
        check_splits(source, kept)
    except DataError as error:
        head = f"{error} {len(errors)} of {images} images cannot be used:"
        raise DataError("\n".join([head, *lines])) from None


def _skipped_csv(findings: _Findings) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "reason"))
    writer.writerows((error.name, error.reason) for error in findings.bad.values())
    return text.getvalue()


def _notes(
    source: ImageSource, findings: _Findings, counts: dict[Split, NDArray[np.int64]]
) -> tuple[str, ...]:
    notes = []
    if findings.bad:
        bad_counts = Counter(source.labels[source.targets[index]] for index in findings.bad)
        by_class = ", ".join(f"{label} {bad_counts[label]}" for label in source.labels if bad_counts[label])
        notes.append(f"{plural(len(findings.bad), 'unreadable image')} left out: {by_class}")
    copied = sum(len(splits) > 1 for splits in findings.splits.values())
    if copied:
        notes.append(
            f"leakage: exact copies of {plural(copied, 'image')} are in more than one split, "
            "so test scores may be too good"
        )
    if findings.coloured:
        notes.append(
            f"{plural(findings.coloured, 'colour image')} converted to grey, "
            "since the sampled images were grey; "
            "channels = 3 keeps colour"
        )
    for split, class_counts in counts.items():
        absent = [label for label, count in zip(source.labels, class_counts, strict=True) if not count]
        if absent:
            notes.append(f"{split} has no image of {', '.join(absent)}")
    return tuple(notes)


def _data_info(
    source: ImageSource,
    splits: dict[Split, Indices],
    settings: DataSettings,
    channels: Literal[1, 3],
    findings: _Findings,
) -> DataInfo:
    task = task_of()
    counts = {
        split: task.class_counts(source.targets[indices], len(source.labels))
        for split, indices in splits.items()
    }
    return DataInfo(
        name=source.name,
        format=source.format,
        sha256=source.sha256,
        labels=source.labels,
        channels=channels,
        fraction=settings.fraction,
        splits={
            split: SplitInfo(images=int(split_counts.sum()), class_counts=tuple(split_counts.tolist()))
            for split, split_counts in counts.items()
        },
        majority_baseline=task.baseline(counts["train"], counts["test"])[1],
        skipped_images=len(findings.bad),
        notes=source.notes + _notes(source, findings, counts),
    )
