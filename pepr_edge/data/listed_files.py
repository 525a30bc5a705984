"""Find the files that a list names, also by a name that is spelled otherwise, or elsewhere in its folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pepr_edge.data.files import IMAGE_SUFFIXES
from pepr_edge.data.findings import about_files
from pepr_edge.data.names import base_stem, companions, is_companion_folder, spelling_key
from pepr_edge.data.tree import is_visible
from pepr_edge.errors import DataError
from pepr_edge.records import Problem
from pepr_edge.text.units import plural
from pepr_edge.untrusted.paths import is_file
from pepr_edge.untrusted.shown import shown

if TYPE_CHECKING:
    from pepr_edge.data.image_list import ListedImage


@dataclass(frozen=True)
class Located:
    """The images of a list by the paths of their files, the lines without a file, and problems."""

    images: list[ListedImage]
    missing: list[ListedImage]
    problems: list[Problem] = field(default_factory=list)


def locate(path: Path, images: Sequence[ListedImage]) -> Located:
    """Find the file of each line. A line whose file is not found stays as it is.

    Args:
        path: the list.
        images: its lines.
    Raises:
        DataError: two lines lead to the same file.
    """
    root = path.parent
    lost = [image for image in images if not is_file(root / image.path)]
    if not lost:
        return Located(list(images), [])
    index = _Index(root)
    found: dict[str, str] = {}
    respelled: list[str] = []
    moved: list[str] = []
    for image in lost:
        same = index.spelled_alike(image.path)
        other = same or index.named_alike(image.path)
        if other is not None:
            found[image.path] = other
            (moved if same is None else respelled).append(other)
    located = [replace(image, path=found.get(image.path, image.path)) for image in images]
    _check_distinct(path, located)
    problems = [*_respelled(root, respelled), *_moved(root, moved)]
    return Located(located, [image for image in lost if image.path not in found], problems)


class _Index:
    """All files below a folder, by what stays the same if a name is spelled otherwise."""

    def __init__(self, root: Path) -> None:
        self._by_path: dict[str, list[str]] = {}
        self._by_name: dict[str, list[str]] = {}
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if is_visible(name)]
            for name in names:
                if not is_file(Path(folder) / name):
                    continue
                path = (Path(folder) / name).relative_to(root).as_posix()
                for key in {spelling_key(path), spelling_key(_without_suffix(path))}:
                    self._by_path.setdefault(key, []).append(path)
                for key in {spelling_key(name), spelling_key(_without_suffix(name))}:
                    self._by_name.setdefault(key, []).append(path)

    def spelled_alike(self, path: str) -> str | None:
        """Return the only file whose path differs by case, spaces or Unicode form."""
        paths = self._by_path.get(spelling_key(path), [])
        alike = [other for other in paths if spelling_key(other) == spelling_key(path)]
        return alike[0] if len(alike) == 1 else None

    def named_alike(self, path: str) -> str | None:
        """Return the only file of this path without its suffix, or of this name in any folder."""
        for paths in (
            self._by_path.get(spelling_key(path), []),
            self._by_name.get(spelling_key(PurePosixPath(path).name), []),
        ):
            if len(paths) == 1:
                return paths[0]
        return None


def _without_suffix(path: str) -> str:
    """Return a path without the suffix of an image; other paths as they are."""
    suffix = PurePosixPath(path).suffix
    return path.removesuffix(suffix) if suffix.lower() in IMAGE_SUFFIXES else path


def _check_distinct(path: Path, images: Sequence[ListedImage]) -> None:
    lines: dict[str, int] = {}
    for image in images:
        if image.path in lines:
            raise DataError(
                f"{path}: line {image.line}: {shown(image.path)} is also in line {lines[image.path]}, "
                "expected each image once. Remove one of the lines."
            )
        lines[image.path] = image.line


def _respelled(root: Path, paths: Sequence[str]) -> Iterator[Problem]:
    yield from about_files(
        "paths_respelled",
        "note",
        [root / path for path in paths],
        root,
        f"{plural(len(paths), 'path')} of the list taken for files whose names differ by case, "
        "spaces or Unicode form only.",
    )


def _moved(root: Path, paths: Sequence[str]) -> Iterator[Problem]:
    yield from about_files(
        "files_found_by_name",
        "warning",
        [root / path for path in paths],
        root,
        f"{plural(len(paths), 'file')} found by name only: the list gives no suffix, or another "
        "folder. Check that they are meant.",
    )


def unlisted(root: Path, images: Sequence[ListedImage]) -> Iterator[Problem]:
    """Yield the images beside listed ones that the list does not name, masks apart."""
    listed = {root / image.path for image in images}
    others: list[Path] = []
    for folder in sorted({path.parent for path in listed}):
        try:
            present = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
        except OSError:
            continue
        accompany = companions(path.stem for path in present)
        others += [path for path in present if path not in listed and path.stem not in accompany]
    others = [path for path in others if not path.name.startswith(".")]
    yield from about_files(
        "images_not_listed",
        "note",
        others,
        root,
        f"{plural(len(others), 'image')} beside the listed ones not used, as the list does not name them.",
    )


def listed_companions(images: Sequence[ListedImage]) -> set[str]:
    """Return the paths of listed masks and other companions of listed images."""
    stems: dict[str, set[str]] = {}
    for image in images:
        path = PurePosixPath(image.path)
        stems.setdefault(path.parent.as_posix(), set()).add(path.stem)
    accompany = {folder: companions(names) for folder, names in stems.items()}
    plain = {
        base_stem(PurePosixPath(image.path).stem)
        for image in images
        if not is_companion_folder(PurePosixPath(image.path).parent.name)
    }
    found = set()
    for image in images:
        path = PurePosixPath(image.path)
        is_mask = is_companion_folder(path.parent.name) and base_stem(path.stem) in plain
        if is_mask or path.stem in accompany[path.parent.as_posix()]:
            found.add(image.path)
    return found
