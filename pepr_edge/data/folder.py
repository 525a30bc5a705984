"""An image folder: split/class/* or class/*, at any depth below the class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from pepr_edge.data.files import IMAGE_SUFFIXES, is_image, read_images, stamp_files, tree_sha256
from pepr_edge.data.source import SPLIT_NAMES, SPLITS, DataSettings, ImageSource, Indices, Stamp, check_labels
from pepr_edge.errors import DataError, ImageError
from pepr_edge.records import Split
from pepr_edge.untrusted.documents import shown

# What stands beside images often enough to be named when it is passed over.
OTHER_SUFFIXES = frozenset(
    {
        ".csv",
        ".db",
        ".ini",
        ".json",
        ".md",
        ".npy",
        ".npz",
        ".pdf",
        ".py",
        ".txt",
        ".xls",
        ".xlsx",
        ".xml",
        ".zip",
    }
)


def recognises(source: str) -> bool:
    """Whether there is a folder of that name."""
    return Path(source).is_dir()


def stamp(settings: DataSettings) -> Stamp:
    """Name, size and time of every image file."""
    root = Path(settings.source)
    return stamp_files(root, [path.relative_to(root).as_posix() for path in _files(root) if is_image(path)])


def open_source(settings: DataSettings) -> ImageSource:
    """List the images of a folder; class names are the folders' names, sorted.

    Raises:
        DataError: no class folders, an empty class, a split folder twice, splits and classes side by side, or a link that leads back.
    """
    root = Path(settings.source)
    homes = _split_folders(root)
    skipped: Counter[str] = Counter()
    found: list[tuple[str, str, Split | None]] = []
    for split, home in homes.items():
        for class_folder in _subfolders(home):
            images = _class_images(class_folder, skipped)
            found += [(path.relative_to(root).as_posix(), class_folder.name, split) for path in images]
    if not found:
        raise DataError(
            f"{root}: no class folders, expected class/images or split/class/images. Put each class's images into a folder."
        )
    found.sort()
    labels = tuple(sorted({label for _, label, _ in found}))
    check_labels(labels, str(root))
    names = [name for name, _, _ in found]

    def read(indices: Indices) -> Iterator[Image.Image | ImageError]:
        return read_images(root, names, indices)

    return ImageSource(
        name=shown(root.resolve().name),
        format="folder",
        sha256=tree_sha256(root, names),
        labels=labels,
        targets=np.array([labels.index(label) for _, label, _ in found], np.int64),
        read=read,
        given=None if None in homes else _given([split for _, _, split in found]),
        notes=_skip_note(skipped),
    )


def _given(splits: list[Split | None]) -> dict[Split, Indices]:
    column = np.array(splits)
    return {split: np.flatnonzero(column == split) for split in SPLITS if split in splits}


def _split_folders(root: Path) -> dict[Split | None, Path]:
    """The folder of each split; {None: root} where the folders are classes."""
    folders = _subfolders(root)
    known = [folder for folder in folders if folder.name.lower() in SPLIT_NAMES]
    if not any(folder.name.lower() == "train" for folder in known):
        if not known or len(known) < len(folders):
            return {None: root}
        raise DataError(
            f"{root}: split folders {', '.join(f.name for f in known)} without train. Add train/class/images."
        )
    if len(known) < len(folders):
        odd = next(folder.name for folder in folders if folder not in known)
        raise DataError(
            f"{root}: folder {odd!r} beside train, expected only train, val and test there. Move or remove it."
        )
    homes: dict[Split | None, Path] = {}
    for folder in known:
        split = SPLIT_NAMES[folder.name.lower()]
        if split in homes:
            raise DataError(
                f"{root}: both {homes[split].name!r} and {folder.name!r} are the {split} split. Merge or remove one."
            )
        homes[split] = folder
    return homes


def _class_images(folder: Path, skipped: Counter[str]) -> list[Path]:
    files = list(_files(folder))
    images = [path for path in files if is_image(path)]
    others = Counter(_kind(path) for path in set(files) - set(images))
    if not images:
        seen = f"no image among {sum(others.values())} files" if others else "no files"
        raise DataError(
            f"{folder}: {seen}, expected images ({' '.join(sorted(IMAGE_SUFFIXES))}). Add some, or remove the folder."
        )
    skipped.update(others)
    return images


def _skip_note(skipped: Counter[str]) -> tuple[str, ...]:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(skipped.items()))
    return (f"skipped files that are not images: {kinds}",) if skipped else ()


def _kind(path: Path) -> str:
    """A file's suffix, where it is a common one: what else stands behind a point may be part of a patient's name or number."""
    suffix = path.suffix.lower()
    return suffix if suffix in OTHER_SUFFIXES else "of other kinds"


def _visible(path: Path) -> bool:
    # __MACOSX is what macOS leaves in archives.
    return not path.name.startswith(".") and path.name != "__MACOSX"


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and _visible(path))


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if not _visible(path):
            continue
        if path.is_dir():
            if path.is_symlink() and path.resolve() in (folder.resolve(), *folder.resolve().parents):
                raise DataError(
                    f"{shown(str(path))}: a link that leads back to a folder that it is in. Remove it."
                )
            yield from _files(path)
        else:
            yield path
