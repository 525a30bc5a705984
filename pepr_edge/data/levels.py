"""Which level of folders are the classes, and which are sites, patients or views. Nothing is guessed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from pepr_edge.data.findings import MAX_EXAMPLES
from pepr_edge.data.names import (
    begins_with_split,
    is_companion_folder,
    is_picture_folder,
    spelling_key,
    split_named,
)
from pepr_edge.data.tree import Folder
from pepr_edge.errors import DatasetError
from pepr_edge.untrusted.shown import shown

# Folders that hold the same classes, by the words that their names begin with.
_SITE = re.compile(
    r"^(?:sites?|hospitals?|hosp|centres?|centers?|clinics?|scanners?|devices?|vendors?|machines?|locations?"
    r"|regions?|labs?|countr(?:y|ies)|source)(?:[\W_\d]|$)",
    re.IGNORECASE,
)
# Folders within a class that are views, magnifications or sequences.
_VIEW = re.compile(
    r"^(?:[lr]|left|right|[lr]?[-_ ]?(?:cc|mlo)|ap|pa|lat|lateral|frontal|ax|axial|cor|coronal|sag|sagittal"
    r"|od|os|\d+ ?x|x ?\d+|t1|t1c|t2|flair|dwi|adc|pre|post|before|after)$",
    re.IGNORECASE,
)
# Numbers of patients, studies or years: at least three digits, letters before digits, or DICOM's UIDs.
_ID = re.compile(
    r"^(?:(?:[a-z]{0,12}[\W_]*\d{3,}|[a-z]{1,12}[\W_]*\d+)(?:[\W_]+\d+)*|\d+(?:\.\d+){2,})$",
    re.IGNORECASE,
)
# Longer names of patients or samples, as in "SOB_B_A-14-22549AB": one of their parts is a long number.
_LONG_ID = re.compile(
    r"^(?:[a-z0-9]{1,12}[\W_]+)*[a-z]{0,12}\d{3,}[a-z]{0,4}(?:[\W_]+[a-z0-9]{1,12})*$", re.I
)

# No system has longer names of folders. Patterns must not be tried on longer texts of a list.
MAX_NAME = 255


def sites(root: Folder) -> list[Folder]:
    """Return the folders of sites in site/class/*; empty if the folders are classes.

    Raises:
        DatasetError: the same names are in most folders, and nothing says which of the two are the classes.
    """
    folders = [folder for folder in root.folders if folder.has_images]
    spellings = [_spellings(folder) for folder in folders]
    if len(folders) < 2 or not all(spellings):
        return []
    counts: Counter[str] = Counter()
    first_spelling: dict[str, str] = {}
    for of_folder in spellings:
        counts.update(of_folder.keys())
        for key, name in of_folder.items():
            first_spelling.setdefault(key, name)
    frequent = sorted(key for key, count in counts.items() if 2 * count >= len(folders))
    if len(frequent) < 2 or 2 * len(frequent) < len(counts):
        return []
    names = [first_spelling[key] for key in frequent]
    if all(_SITE.match(folder.name) for folder in folders):
        return folders
    if all(is_no_class(name) for name in names):
        return []
    raise _same_classes(root, folders, names)


def _spellings(folder: Folder) -> dict[str, str]:
    """Return the names of the folders with images in a folder, by what is compared of them."""
    return {spelling_key(child.name): child.name for child in folder.folders if child.has_images}


def _same_classes(root: Folder, folders: list[Folder], names: list[str]) -> DatasetError:
    advice = "Name the upper folders train, val and test, or site_1, site_2 and so on"
    if all(is_id(folder.name) for folder in folders):
        advice += "; or, if they are patients, list the images in a .csv file with a column group."
    else:
        advice += "; or list the images in a .csv file."
    return DatasetError(
        "same_classes_in_every_folder",
        f"{root.path}: the same names ({', '.join(map(shown, names[:MAX_EXAMPLES]))}) are in all or most "
        f"folders ({', '.join(folder_names(folders))}), so either may be the classes. {advice}",
        len(folders),
        folder_names(folders),
    )


def is_id(name: str) -> bool:
    """True for a name that looks like the number of a patient, a study or a year."""
    return len(name) <= MAX_NAME and bool(_ID.match(name) or _LONG_ID.match(name))


def is_no_class(name: str) -> bool:
    """True for the name of a view, a patient, a split, or a folder of pictures or masks."""
    if len(name) > MAX_NAME:
        return False
    is_known = _VIEW.match(name) or _ID.match(name) or is_picture_folder(name) or is_companion_folder(name)
    return bool(is_known) or split_named(name) is not None


def check_split_prefixes(root: Folder) -> None:
    """Refuse folders whose names hold split and class: train_benign, test_benign, or trainA, testA."""
    folders = [folder for folder in root.folders if folder.has_images]
    splits = [begins_with_split(folder.name) for folder in folders]
    if None in splits or "train" not in splits or len(set(splits)) < 2:
        return
    raise DatasetError(
        "split_in_class_names",
        f"{root.path}: each folder's name holds a split and a class "
        f"({', '.join(folder_names(folders))}), expected split/class/*. Make a folder "
        "for each split, and in it one for each class.",
        len(folders),
        folder_names(folders),
    )


def check_deep_splits(root: Folder) -> None:
    """Refuse folders named as splits that lie deeper than class/split/*, where they would not count."""
    deep = [folder for top in root.folders for child in top.folders for folder in _below(child)]
    named = {folder.path: split_named(folder.name) for folder in deep if folder.has_images}
    if "train" not in named.values() or len(set(named.values()) - {None}) < 2:
        return
    found = [folder for folder in deep if named.get(folder.path)]
    raise DatasetError(
        "splits_below_other_folders",
        f"{root.path}: folders named as splits ({', '.join(folder_names(found))}) lie below other folders "
        "of a class, expected split/class/* or class/split/*. Move the splits up.",
        len(found),
        folder_names(found),
    )


def groups(root: Folder) -> list[Path]:
    """Return the folders within the classes that look like patients: numbers, with several images each."""
    found = [child.path for folder in root.folders for child in _id_folders(folder)]
    return found if len(found) > len(root.folders) else []


def _id_folders(folder: Folder) -> Iterator[Folder]:
    """Yield the uppermost folders below a folder that look like patients."""
    for child in folder.folders:
        images = child.all_images()
        has_several = next(images, None) is not None and next(images, None) is not None
        if has_several and is_id(child.name):
            yield child
        else:
            yield from _id_folders(child)


def _below(folder: Folder) -> Iterator[Folder]:
    for child in folder.folders:
        yield child
        yield from _below(child)


def check_two_levels(root: Folder) -> None:
    """Refuse a folder that holds folders named as the classes beside it: a split without a name of one."""
    names = {spelling_key(folder.name) for folder in root.folders}
    for folder in root.folders:
        repeated = [
            child.name for child in folder.folders if child.has_images and spelling_key(child.name) in names
        ]
        if len(repeated) > 1 or (repeated and split_named(folder.name)):
            raise DatasetError(
                "classes_at_two_levels",
                f"{folder.path}: holds folders named as the classes beside it "
                f"({', '.join(map(shown, repeated[:MAX_EXAMPLES]))}). Move the classes beside it into "
                "a folder train, or this folder away.",
                len(repeated),
                tuple(shown(name) for name in repeated[:MAX_EXAMPLES]),
            )


def folder_names(folders: Iterable[Folder]) -> tuple[str, ...]:
    """Return the names of the first few folders."""
    return tuple(shown(folder.name) for folder in folders)[:MAX_EXAMPLES]
