"""Data made ready for training: each image decoded and resized once, held as uint8 in a folder.

    <folder>/train_pixels.npy train_labels.npy val_... test_... skipped_images.csv source.txt info.json

source.txt holds the fingerprint of what it was made from. skipped_images.csv names the images that were left out, and why. info.json is
written last: a folder that has it is complete.
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
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pepr_edge.data.files import is_grey
from pepr_edge.data.formats import fingerprint, open_source
from pepr_edge.data.source import SPLITS, DataSettings, ImageSource, Indices
from pepr_edge.data.splits import assign, check
from pepr_edge.errors import DataError, ImageError, RunError
from pepr_edge.images.preprocess import to_pixels
from pepr_edge.records import DataInfo, Split, SplitInfo
from pepr_edge.run_dir.owned import remove_known
from pepr_edge.run_dir.store import read_record, write_record, write_text

Progress = Callable[[int, int], None]

GREY_SAMPLE = 64
SKIPPED = "skipped_images.csv"
# Of the bad images so many are named in an error; skipped_images.csv names all.
NAMED = 10
DATA_FILES = tuple(f"{split}_{kind}.npy" for split in SPLITS for kind in ("pixels", "labels"))
PARTIAL_FILES = re.compile(
    r"(train|val|test)_(pixels|labels)\.npy(\.shorter)?|skipped_images\.csv|source\.txt|info\.json"
)


@dataclass(frozen=True)
class Dataset:
    """Prepared data. `splits` holds by split the pixels, uint8, shape (n, px, px, channels), and the labels, int64, shape (n,)."""

    info: DataInfo
    splits: dict[Split, tuple[NDArray[np.uint8], Indices]]


@dataclass
class _Seen:
    """What is noticed while the images go by.

    `splits`: in which of them each picture was; `coloured`: pictures where grey was expected; `bad`: what cannot be used, by its index.
    """

    splits: dict[bytes, set[Split]] = field(default_factory=dict)
    coloured: int = 0
    bad: dict[int, ImageError] = field(default_factory=dict)


def prepare(settings: DataSettings, folder: Path, progress: Progress | None = None) -> DataInfo:
    """Make data ready in a folder; nothing is done where the folder already holds the same.

    Args:
        settings: which data, and how.
        folder: made where it is missing; files of the same names are replaced once everything has gone well.
        progress: called with the number of images done and of all images.
    Raises:
        DataError: a fault in the settings, the source or some of its images, or too little room on the disk. Where bad images are left
            out: too few are left.
    """
    _check(settings)
    mark = fingerprint(settings)
    finished = _finished(folder, mark)
    if finished is not None:
        return finished
    source = open_source(settings)
    splits = assign(source, settings)
    channels = settings.channels if settings.channels != "auto" else _channels(source)
    with _partial(folder) as made:
        _check_room(made, sum(map(len, splits.values())) * settings.image_size_px**2 * channels)
        seen, kept = _write(source, splits, settings, channels, made, progress)
        _check_bad(source, splits, kept, settings, seen)
        write_text(made / SKIPPED, _skipped_csv(seen))
        info = _info(source, kept, settings, channels, seen)
        write_text(made / "source.txt", mark + "\n")
        write_record(made / "info.json", info)
    return info


def load(folder: Path) -> Dataset:
    """Read prepared data: into memory, or mapped read-only where the splits together outgrow a quarter of the machine's memory.

    Raises:
        RunError: the folder was not prepared, or not to the end.
        DataError: its files do not fit each other.
    """
    import psutil

    info = read_record(folder / "info.json", DataInfo)
    try:
        size_bytes = sum((folder / f"{split}_pixels.npy").stat().st_size for split in SPLITS)
        mapped: Literal["r"] | None = "r" if size_bytes > psutil.virtual_memory().total / 4 else None
        splits: dict[Split, tuple[NDArray[np.uint8], Indices]] = {
            split: (
                np.load(folder / f"{split}_pixels.npy", mmap_mode=mapped),
                np.load(folder / f"{split}_labels.npy"),
            )
            for split in SPLITS
        }
    except (OSError, ValueError) as fault:
        raise DataError(
            f"{folder}: prepared data cannot be read ({fault}). Delete the folder to have it made again."
        ) from None
    for split, (pixels, labels) in splits.items():
        if not len(pixels) == len(labels) == info.splits[split].images or pixels.shape[-1] != info.channels:
            raise DataError(
                f"{folder}: {split} has other images than info.json says. Delete the folder to have it made again."
            )
    return Dataset(info, splits)


def _check(settings: DataSettings) -> None:
    shares = {"val_fraction": settings.val_fraction, "test_fraction": settings.test_fraction}
    for name, share in shares.items():
        if not 0 < share < 1:
            raise DataError(
                f"data: {name} = {share:g}, expected more than 0 and less than 1. The defaults are 0.15 and 0.2."
            )
    if not sum(shares.values()) < 1:
        raise DataError(
            f"data: val_fraction + test_fraction = {sum(shares.values()):g}, expected less than 1. Lower one of them."
        )
    if not 0 < settings.fraction <= 1:
        raise DataError(
            f"data: fraction = {settings.fraction:g}, expected more than 0 and at most 1. 1 takes all training images."
        )
    if settings.image_size_px < 8:
        raise DataError(
            f"data: image_size_px = {settings.image_size_px}, expected at least 8. Most models want 32 or more."
        )
    if settings.seed < 0:
        raise DataError(f"data: seed = {settings.seed}, expected a whole number from 0. Choose another.")


def _finished(folder: Path, mark: str) -> DataInfo | None:
    if not all((folder / name).is_file() for name in (*DATA_FILES, SKIPPED, "source.txt")):
        return None
    try:
        info = read_record(folder / "info.json", DataInfo)
    except RunError:
        return None
    return info if (folder / "source.txt").read_text(encoding="utf-8").strip() == mark else None


@contextmanager
def _partial(folder: Path) -> Iterator[Path]:
    """A folder inside `folder` to write into; its files take their places, info.json last, only if all goes well."""
    import psutil

    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".partial-*"):
        # Left by a process that was killed; one that still runs keeps its own.
        pid = left.name.removeprefix(".partial-")
        if pid == str(os.getpid()) or not (pid.isdecimal() and psutil.pid_exists(int(pid))):
            remove_known(left, PARTIAL_FILES)
    made = folder / f".partial-{os.getpid()}"
    made.mkdir()
    try:
        yield made
        (folder / "info.json").unlink(missing_ok=True)
        for name in (*DATA_FILES, SKIPPED, "source.txt", "info.json"):
            (made / name).replace(folder / name)
    finally:
        remove_known(made, PARTIAL_FILES)


def _check_room(folder: Path, needed_bytes: int) -> None:
    """A file mapped into memory that outgrows the disk would end the process without a word."""
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise DataError(
            f"{folder.parent}: {free_bytes / 2**20:.0f} MiB free, expected {needed_bytes / 2**20:.0f} MiB for the resized images. "
            "Make room, or choose a smaller image_size_px or fraction."
        )


def _channels(source: ImageSource) -> Literal[1, 3]:
    """1 where all of a sample of images, evenly spread, are grey; what is wrong with any comes out later."""
    count = len(source.targets)
    sample = np.unique(np.linspace(0, count - 1, min(GREY_SAMPLE, count)).astype(np.int64))
    greys = [is_grey(image) for image in source.read(sample) if not isinstance(image, ImageError)]
    return 1 if greys and all(greys) else 3


def _write(
    source: ImageSource,
    splits: dict[Split, Indices],
    settings: DataSettings,
    channels: Literal[1, 3],
    folder: Path,
    progress: Progress | None,
) -> tuple[_Seen, dict[Split, Indices]]:
    """Write pixels and labels; gives what was seen, and the indices of the images that are in."""
    seen, done, total = _Seen(), 0, sum(map(len, splits.values()))
    held: dict[Split, Indices] = {}
    for split, indices in splits.items():
        path = folder / f"{split}_pixels.npy"
        shape = (len(indices), settings.image_size_px, settings.image_size_px, channels)
        out = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        kept: list[int] = []
        for index, image in zip(indices.tolist(), source.read(indices), strict=True):
            done += 1
            if progress is not None:
                progress(done, total)
            if isinstance(image, ImageError):
                seen.bad[index] = image
                continue
            out[len(kept)] = to_pixels(
                image,
                channels=channels,
                image_size_px=settings.image_size_px,
                interpolation=settings.interpolation,
            )
            kept.append(index)
            picture = hashlib.blake2b(
                f"{image.mode}{image.size}".encode() + image.tobytes(), digest_size=16
            ).digest()
            seen.splits.setdefault(picture, set()).add(split)
            seen.coloured += settings.channels == "auto" and channels == 1 and not is_grey(image)
        out.flush()
        del out
        _shorten(path, len(kept))
        held[split] = np.array(kept, np.int64)
        np.save(folder / f"{split}_labels.npy", source.targets[held[split]])
    return seen, held


def _shorten(path: Path, images: int) -> None:
    """Keep only the first of an array's images."""
    whole = np.load(path, mmap_mode="r")
    if len(whole) == images:
        return
    shorter = path.with_name(f"{path.name}.shorter")
    out = np.lib.format.open_memmap(shorter, mode="w+", dtype=whole.dtype, shape=(images, *whole.shape[1:]))
    out[:] = whole[:images]
    out.flush()
    del out, whole  # Windows replaces no file that is mapped
    shorter.replace(path)


def _check_bad(
    source: ImageSource,
    splits: dict[Split, Indices],
    kept: dict[Split, Indices],
    settings: DataSettings,
    seen: _Seen,
) -> None:
    if not seen.bad:
        return
    images, faults = sum(map(len, splits.values())), list(seen.bad.values())
    named = [f"  {fault}" for fault in faults[:NAMED]] + (
        [f"  and {len(faults) - NAMED} more"] if len(faults) > NAMED else []
    )
    if settings.on_bad_image == "fail":
        if len(faults) == 1:
            raise DataError(
                f'{settings.source}: {faults[0]} It is 1 of {images} images; data.on_bad_image = "skip" leaves such out.'
            )
        head = f'{len(faults)} of {images} images cannot be used. Mend them, or leave them out: data.on_bad_image = "skip".'
        raise DataError("\n".join([f"{settings.source}: {head}", *named]))
    try:
        check(source, kept)
    except DataError as fault:
        raise DataError(
            "\n".join([f"{fault} {len(faults)} of {images} images cannot be used:", *named])
        ) from None


def _skipped_csv(seen: _Seen) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [("image", "reason"), *((fault.name, fault.reason) for fault in seen.bad.values())]
    )
    return text.getvalue()


def _notes(source: ImageSource, seen: _Seen, info: DataInfo) -> tuple[str, ...]:
    copies = sum(len(splits) > 1 for splits in seen.splits.values())
    notes = []
    if seen.bad:
        counts = Counter(source.labels[source.targets[index]] for index in seen.bad)
        by_class = ", ".join(f"{label} {counts[label]}" for label in source.labels if counts[label])
        notes.append(
            f"{len(seen.bad)} image{'s' * (len(seen.bad) > 1)} that could not be read left out: {by_class}"
        )
    if copies:
        notes.append(
            f"leakage: exact copies of {copies} image{'s' * (copies > 1)} are in more than one split, so test scores may be too good"
        )
    if seen.coloured:
        notes.append(
            f"{seen.coloured} colour images were made grey, as the sampled ones were; channels = 3 keeps colour"
        )
    for split, facts in info.splits.items():
        absent = [label for label, count in zip(info.labels, facts.class_counts, strict=True) if not count]
        if absent:
            notes.append(f"{split} has no image of {', '.join(absent)}")
    return tuple(notes)


def _info(
    source: ImageSource,
    splits: dict[Split, Indices],
    settings: DataSettings,
    channels: Literal[1, 3],
    seen: _Seen,
) -> DataInfo:
    counts = {
        split: np.bincount(source.targets[indices], minlength=len(source.labels))
        for split, indices in splits.items()
    }
    info = DataInfo(
        name=source.name,
        format=source.format,
        sha256=source.sha256,
        labels=source.labels,
        channels=channels,
        fraction=settings.fraction,
        splits={
            split: SplitInfo(images=int(c.sum()), class_counts=tuple(c.tolist()))
            for split, c in counts.items()
        },
        majority_baseline=float(counts["test"][counts["train"].argmax()] / counts["test"].sum()),
        skipped_images=len(seen.bad),
    )
    return info.model_copy(update={"notes": source.notes + _notes(source, seen, info)})
