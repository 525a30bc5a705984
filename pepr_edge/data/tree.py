"""The files and folders below a folder, read once: images, other files, and results of our own, left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pepr_edge.data.files import is_image
from pepr_edge.errors import DataError, OutputError, RunError
from pepr_edge.records import RunInfo
from pepr_edge.run_dir.layout import RUN
from pepr_edge.run_dir.owned import owned_names
from pepr_edge.run_dir.store import read_record
from pepr_edge.untrusted.paths import is_file
from pepr_edge.untrusted.shown import one_line, shown

MAX_DEPTH = 32
# Folders that systems and network drives add; @eaDir holds a small copy of each image.
SYSTEM_FOLDERS = frozenset(
    {
        "__macosx", "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "$recycle.bin",
        "system volume information", "lost+found", "found.000", "__pycache__",
    }
)  # fmt: skip
NOT_DOWNLOADED = ".icloud"
# The files of a bundle by which it is known.
BUNDLE_FILES = ("manifest.json", "model.onnx")


@dataclass(frozen=True)
class Folder:
    """A folder. `images` and `others`: names of the files in it, sorted; `own`: results of pepr_edge."""

    path: Path
    folders: tuple[Folder, ...] = ()
    images: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def is_only_own(self) -> bool:
        """True if all that it holds was made by pepr_edge."""
        holds_own = bool(self.own) or any(folder.is_only_own for folder in self.folders)
        holds_other = bool(self.images or self.others) or not all(
            folder.is_only_own for folder in self.folders
        )
        return holds_own and not holds_other

    def all_images(self) -> Iterator[Path]:
        """Yield the paths of all images in it, at any depth, in order."""
        yield from (self.path / name for name in self.images)
        for folder in self.folders:
            yield from folder.all_images()

    def all_others(self) -> Iterator[Path]:
        """Yield the paths of all other files in it, at any depth."""
        yield from (self.path / name for name in self.others)
        for folder in self.folders:
            yield from folder.all_others()

    def all_own(self) -> Iterator[Path]:
        """Yield the paths of all results of pepr_edge in it."""
        yield from (self.path / name for name in self.own)
        for folder in self.folders:
            yield from folder.all_own()

    @property
    def has_images(self) -> bool:
        """True if there is an image in it, at any depth."""
        return next(self.all_images(), None) is not None


def read_tree(root: Path) -> Folder:
    """Read a folder, without hidden files and what systems add.

    Raises:
        DataError: folders nested too deeply, or two paths that lead to the same folder.
    """
    return _Reader().read(root, 0)


@dataclass
class _Reader:
    """Reads folders.

    `seen`: the path by which each real folder was read, by device and inode; `written`: files of pepr_edge.
    """

    seen: dict[tuple[int, int], Path] = field(default_factory=dict)
    written: set[Path] = field(default_factory=set)

    def read(self, path: Path, depth: int) -> Folder:
        """Read a folder and all below it."""
        if depth > MAX_DEPTH:
            raise DataError(
                f"{shown(str(path))}: more than {MAX_DEPTH} folders deep, expected class/* or split/class/*. "
                "Move the images up."
            )
        self._check_new(path)
        entries = _entries(path)
        self.written |= _written(path)
        folders = []
        images: list[str] = []
        others: list[str] = []
        own: list[str] = []
        for entry in entries:
            if not entry.is_dir():
                if entry in self.written:
                    own.append(entry.name)
                else:
                    (images if is_image(entry) else others).append(entry.name)
            elif _is_own_folder(entry):
                own.append(entry.name)
            else:
                folders.append(self.read(entry, depth + 1))
        return Folder(path, tuple(folders), tuple(images), tuple(others), tuple(own))

    def _check_new(self, path: Path) -> None:
        """Refuse a folder that was read before: links that lead back, or that show images twice."""
        status = path.stat()
        identity = (status.st_dev, status.st_ino)
        earlier = self.seen.setdefault(identity, path)
        if earlier == path or not status.st_ino:  # some file systems number no files
            return
        if earlier in path.parents:
            raise DataError(f"{shown(str(path))}: a link to a folder that contains it. Remove the link.")
        raise DataError(
            f"{shown(str(path))}: a link to {shown(str(earlier))}, expected each folder once. Remove it."
        )


def _entries(path: Path) -> list[Path]:
    """Return what a folder holds, sorted, without hidden entries and what systems add.

    Raises:
        DataError: the folder cannot be opened.
    """
    try:
        visible = [entry for entry in path.iterdir() if is_visible(entry.name)]
        (path / ".").stat()  # a folder may be listed, and not entered
    except OSError as fault:
        raise DataError(
            f"{shown(str(path))}: a folder that cannot be opened ({one_line(fault)}). Check its permissions, "
            "or move it away."
        ) from None
    return sorted(visible, key=lambda entry: entry.name)


def is_visible(name: str) -> bool:
    """True for a file or a folder that is not hidden, and that no system or network drive adds.

    A file that iCloud has not downloaded yet is a hidden file, and counts: it may be an image.
    """
    if name.startswith("."):
        return name.endswith(NOT_DOWNLOADED)
    return name.casefold() not in SYSTEM_FOLDERS


def _written(folder: Path) -> set[Path]:
    """Return the files that the record of a folder names as made by pepr_edge."""
    try:
        return {folder / name for name in owned_names(folder)}
    except OutputError:
        return set()


def _is_own_folder(path: Path) -> bool:
    """True if a folder is a run directory or a bundle."""
    if all(is_file(path / name) for name in BUNDLE_FILES):
        return True
    if not is_file(path / RUN):
        return False
    try:
        read_record(path / RUN, RunInfo)
    except RunError:
        return False
    return True
