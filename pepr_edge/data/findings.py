"""Problems that are found before an image is decoded: in folders, in names and in tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from pepr_edge.records import Problem, Severity
from pepr_edge.text.units import plural
from pepr_edge.untrusted.shown import shown

MAX_EXAMPLES = 3
# Common companions of images; a note about skipped files names these suffixes only, as others may be names.
OTHER_SUFFIXES = frozenset(
    {".csv", ".db", ".ini", ".json", ".md", ".pdf", ".py", ".tsv", ".txt", ".xls", ".xlsx", ".xml", ".zip"}
)
# Files that may hold images, and are not read: volumes, arrays, slides, films, archives, vector graphics.
UNREAD_SUFFIXES = frozenset(
    {
        ".7z", ".avi", ".bz2", ".czi", ".gz", ".h5", ".hdf5", ".icloud", ".mat", ".mha", ".mhd", ".mkv",
        ".mov", ".mp4", ".mrxs", ".ndpi", ".nii", ".npy", ".npz", ".nrrd", ".pdf", ".pt", ".pth", ".rar",
        ".svg", ".svs", ".tar", ".tgz", ".vsi", ".wmv", ".zip",
    }
)  # fmt: skip


def about(kind: str, severity: Severity, names: Sequence[str], remedy: str) -> Iterator[Problem]:
    """Yield a problem of some names, with the first few as examples; nothing if there are no names."""
    if names:
        found = tuple(names[:MAX_EXAMPLES])
        yield Problem(kind=kind, severity=severity, count=len(names), examples=found, remedy=remedy)


def about_files(
    kind: str, severity: Severity, paths: Collection[Path], root: Path, remedy: str
) -> Iterator[Problem]:
    """Yield a problem of some files, with the first few as examples; nothing if there are no files."""
    yield from about(kind, severity, _names(paths, root), remedy)


def outside_classes(paths: Sequence[Path], root: Path) -> Iterator[Problem]:
    """Yield the images that are in no folder of a class."""
    yield from about_files(
        "images_outside_classes",
        "warning",
        paths,
        root,
        f"{plural(len(paths), 'image')} outside of class folders left out, as no class is known. "
        "Move them into class folders, or away.",
    )


def companions_left_out(paths: Sequence[Path], root: Path) -> Iterator[Problem]:
    """Yield the masks and other companions of images."""
    yield from about_files(
        "companions_left_out",
        "note",
        paths,
        root,
        f"{plural(len(paths), 'mask')} or other companions of images left out (x_mask beside x, "
        "or a folder of masks). If they are images of their own, give them other names.",
    )


def own_results(paths: Sequence[Path], root: Path) -> Iterator[Problem]:
    """Yield the results of pepr_edge among the images."""
    yield from about_files(
        "own_results_left_out",
        "note",
        paths,
        root,
        f"{plural(len(paths), 'result')} of pepr_edge among the images left out: run directories, "
        "bundles or reports.",
    )


def other_files(paths: Sequence[Path], root: Path) -> Iterator[Problem]:
    """Yield the files in class folders that are not images, or that are not read as such."""
    unread = [path for path in paths if path.suffix.lower() in UNREAD_SUFFIXES]
    yield from about_files(
        "files_not_read",
        "warning",
        unread,
        root,
        f"{plural(len(unread), 'file')} of kinds that are not read left out "
        f"({_kinds(unread, UNREAD_SUFFIXES)}). If they hold images, convert them to PNG, TIFF or DICOM; "
        "files of a cloud drive must be downloaded, archives unpacked.",
    )
    others = [path for path in paths if path.suffix.lower() not in UNREAD_SUFFIXES]
    yield from about_files(
        "other_files",
        "note",
        others,
        root,
        f"skipped files that are not images: {_kinds(others, OTHER_SUFFIXES)}",
    )


def unused_tables(paths: Sequence[Path], root: Path) -> Iterator[Problem]:
    """Yield the tables beside class folders: they may hold patients or splits."""
    yield from about_files(
        "tables_not_used",
        "note",
        paths,
        root,
        f"{plural(len(paths), 'table')} beside the folders not used. If one lists the images, with patients "
        "or splits, give that file in place of the folder.",
    )


def unused_columns(names: Sequence[str]) -> Iterator[Problem]:
    """Yield the columns of a table, or the arrays of a file, that are not used."""
    yield from about(
        "columns_ignored",
        "note",
        names,
        f"columns that are not used: {', '.join(names)}",
    )


def grouped_by_folder(folders: Sequence[Path], root: Path) -> Iterator[Problem]:
    """Yield that images lie in folders that look like those of patients."""
    yield from about_files(
        "folders_look_like_groups",
        "warning",
        folders,
        root,
        f"{len(folders):,} folders within the classes look like patients or studies, and are not "
        "used: images of one may come into training and into test. List the images in a .csv file with a "
        "column group.",
    )


def pooled_sites(names: Sequence[str]) -> Iterator[Problem]:
    """Yield that the upper folders are sites."""
    yield from about(
        "sites_pooled",
        "note",
        [shown(name) for name in names],
        f"the images of {len(names)} sites are pooled: the folders in each are the classes. To "
        "test on a site that was not trained on, name its folder test, and put the others into train.",
    )


def _names(paths: Iterable[Path], root: Path) -> list[str]:
    """Return the names of files, relative to the folder of the dataset."""
    return [shown(path.relative_to(root).as_posix()) for path in sorted(paths)]


def _kinds(paths: Iterable[Path], known: frozenset[str]) -> str:
    suffixes = [path.suffix.lower() for path in paths]
    counts = Counter(suffix if suffix in known else "of other kinds" for suffix in suffixes)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
