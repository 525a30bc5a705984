"""Prepared data: each image is decoded and resized once, and stored as uint8 in a folder.

    <folder>/train_pixels.npy train_labels.npy val_... test_... skipped_images.csv data_check.json
    source.txt info.json

source.txt holds the fingerprint of the source. skipped_images.csv names the images that were left out, with
the reason, and data_check.json what looks wrong. info.json is written last: a folder with it is complete.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pepr_edge.data import check
from pepr_edge.data.check import Evidence, Scan
from pepr_edge.data.formats import fingerprint, open_source
from pepr_edge.data.pixels import ImagePass
from pepr_edge.data.source import SPLITS, DataSettings, ImageSource, Indices
from pepr_edge.data.splits import assign_splits, check_splits
from pepr_edge.data.subgroups import of_test
from pepr_edge.errors import DataError, RunError
from pepr_edge.records import Colour, DataCheck, DataInfo, Split, SplitInfo
from pepr_edge.run_dir.layout import DATA_CHECK
from pepr_edge.run_dir.owned import is_running, remove_matching
from pepr_edge.run_dir.store import read_record, write_record, write_text
from pepr_edge.tasks import task_of
from pepr_edge.untrusted.files import MIB, content
from pepr_edge.untrusted.shown import cell

Progress = Callable[[int, int], None]

SKIPPED = "skipped_images.csv"
# An error names this many bad images; skipped_images.csv names all.
MAX_NAMED = 10
MIN_IMAGE_SIZE_PX = 8
DATA_FILES = tuple(f"{split}_{kind}.npy" for split, kind in product(SPLITS, ("pixels", "labels")))
PARTIAL_FILES = re.compile(
    r"(train|val|test)_(pixels|labels)\.npy(\.shorter)?|skipped_images\.csv|data_check\.json|source\.txt"
    r"|info\.json"
)


@dataclass(frozen=True)
class Dataset:
    """Prepared data.

    `splits` maps each split to its pixels, uint8, shape (n, px, px, channels), and labels, int64, shape (n,),
    or (n, findings) if an image may have several findings.
    """

    info: DataInfo
    splits: dict[Split, tuple[NDArray[np.uint8], Indices]]


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
    image_pass = ImagePass(source, splits, settings)
    images = image_pass.total
    with _partial_folder(folder) as partial:
        _check_disk_space(partial, images * settings.image_size_px**2 * image_pass.channels)
        scan, kept = _write_arrays(image_pass, partial, progress)
        _check_bad_images(source, images, kept, settings, scan)
        evidence = Evidence.of(image_pass, scan)
        checked = check.understood(evidence)
        check.refuse_errors(checked)
        write_text(partial / SKIPPED, _skipped_csv(scan))
        write_record(partial / DATA_CHECK, checked)
        info = _data_info(evidence, checked).replace(subgroups=of_test(source.subgroups, kept["test"]))
        write_text(partial / "source.txt", source_fingerprint + "\n")
        write_record(partial / "info.json", info)
    return info


def read_check(folder: Path) -> DataCheck:
    """Return what was found when the data in a folder were prepared. Raises RunError as `load`."""
    path = folder / DATA_CHECK
    check = read_record(path, DataCheck)
    counts = (check.class_counts, *check.splits.values())
    if any(len(counted) != len(check.labels) for counted in counts):
        raise RunError(f"{path}: {len(check.labels)} labels, but other numbers of counts. Run again.")
    return check


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
    if not all((folder / name).is_file() for name in (*DATA_FILES, SKIPPED, DATA_CHECK, "source.txt")):
        return None
    try:
        info = read_record(folder / "info.json", DataInfo)
    except RunError:
        return None
    try:
        prepared_from = content(folder / "source.txt", MIB).decode(errors="replace").strip()
    except OSError:
        return None
    return info if prepared_from == source_fingerprint else None


@contextmanager
def _partial_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder inside `folder` to write into; after success, move its files up, info.json last."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(".partial-*"):
        # Left by a killed process; a running process keeps its own.
        pid = stale.name.removeprefix(".partial-")
        running = pid.isdecimal() and is_running(int(pid))
        if pid == str(os.getpid()) or not running:
            remove_matching(stale, PARTIAL_FILES)
    partial = folder / f".partial-{os.getpid()}"
    partial.mkdir()
    try:
        yield partial
        (folder / "info.json").unlink(missing_ok=True)
        for name in (*DATA_FILES, SKIPPED, DATA_CHECK, "source.txt", "info.json"):
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


def _write_arrays(
    image_pass: ImagePass, folder: Path, progress: Progress | None
) -> tuple[Scan, dict[Split, Indices]]:
    """Write pixels and labels; return the observations, and the indices of the written images."""
    scan = Scan()
    kept: dict[Split, Indices] = {}
    done = 0
    px = image_pass.settings.image_size_px
    images = image_pass.decoded()
    for split, indices in image_pass.splits.items():
        path = folder / f"{split}_pixels.npy"
        shape = (len(indices), px, px, image_pass.channels)
        out = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        written: list[int] = []
        for decoded in islice(images, len(indices)):
            done += 1
            if progress is not None:
                progress(done, image_pass.total)
            scan.add(decoded)
            if decoded.pixels is not None:
                out[len(written)] = decoded.pixels
                written.append(decoded.index)
        out.flush()
        del out
        _truncate(path, len(written))
        kept[split] = np.array(written, np.int64)
        np.save(folder / f"{split}_labels.npy", image_pass.source.targets[kept[split]])
    return scan, kept


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
    scan: Scan,
) -> None:
    """Raise DataError if bad images are not to be skipped, or if too few images are left without them."""
    errors = list(scan.bad.values())
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


def _colour(scan: Scan) -> Colour | None:
    """Return whether all images are grey or all have colour; None if there are some of each, or none."""
    if not scan.sizes_px or 0 < len(scan.greys) < len(scan.sizes_px):
        return None
    return "grey" if scan.greys else "colour"


def _skipped_csv(scan: Scan) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "reason"))
    writer.writerows((cell(error.name), cell(error.reason)) for error in scan.bad.values())
    return text.getvalue()


def _data_info(evidence: Evidence, checked: DataCheck) -> DataInfo:
    source = evidence.source
    images = checked.split_images
    train, test = (np.array(checked.splits[split], np.int64) for split in ("train", "test"))
    _, baseline = task_of(source.kind).baseline(train, test, images["train"], images["test"])
    return DataInfo(
        name=source.name,
        format=source.format,
        sha256=source.sha256,
        labels=source.labels,
        channels=evidence.channels,
        fraction=evidence.settings.fraction,
        grey_bits=evidence.scan.set_bits,
        splits={
            split: SplitInfo(images=images[split], class_counts=class_counts)
            for split, class_counts in checked.splits.items()
        },
        majority_baseline=baseline,
        skipped_images=len(evidence.scan.bad),
        notes=tuple(problem.remedy for problem in checked.problems),
        colour=_colour(evidence.scan),
        min_side_px=min((min(size) for size in evidence.scan.sizes_px.values()), default=None),
        task=source.kind,
    )
