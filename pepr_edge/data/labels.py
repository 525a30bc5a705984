"""What the names of classes say: several spellings of one, no label at all, or several labels in one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from pepr_edge.data.findings import MAX_EXAMPLES, about
from pepr_edge.data.names import look_alike, looks_missing, respelled, spelling_key, split_named
from pepr_edge.records import Problem
from pepr_edge.text.units import plural
from pepr_edge.untrusted.shown import shown

# Between several labels in one text, as in "Effusion|Infiltration". The first two are in no name.
_SIGNS = (r"\|", ";")
_WORDS = (",", "/", r"\+", "&", r"\band\b", r"\s")
# A list as Python or JSON writes it: "['Edema', 'Effusion']".
_LIST = re.compile(r"[\[({].+,.+[\])}]", re.DOTALL)
MAX_SPLIT_FOLDERS = 20
_WHOLE_NUMBER = re.compile(r"[-+]?\d+(?:\.0*)?")


def problems(chosen: Mapping[str, str]) -> Iterator[Problem]:
    """Yield what looks wrong with the names of the classes.

    Args:
        chosen: for each name, the label that stands for it.
    """
    labels = sorted(set(chosen.values()))
    joined = respelled(chosen)
    listed = [" = ".join(map(repr, map(shown, names))) for names in joined]
    yield from about(
        "labels_respelled",
        "warning",
        listed,
        "labels that differ by case, spaces or Unicode form only count as one class: "
        f"{'; '.join(listed)}. Spell them alike.",
    )
    yield from _doubtful(labels)


def _doubtful(labels: Sequence[str]) -> Iterator[Problem]:
    """Yield names that look like no class, like another name, or like several in one."""
    missing = [label for label in labels if looks_missing(label)] or _minus_one(labels)
    yield from about(
        "label_looks_missing",
        "warning",
        missing,
        f"class {', '.join(map(repr, missing))} looks like a value that is not there, and counts "
        "as a class. Label these images, or leave them out.",
    )
    similar = look_alike(labels)
    listed = [" / ".join(map(repr, map(shown, names))) for names in similar]
    yield from about(
        "labels_look_alike",
        "warning",
        listed,
        f"labels that may be one class, and count as several: {'; '.join(listed)}. "
        "If they are one, spell them alike.",
    )
    several = [shown(label) for label in several_in_one(labels)]
    yield from about(
        "labels_look_joined",
        "warning",
        several,
        f"{plural(len(several), 'class name')} made of several labels "
        f"({', '.join(several[:MAX_EXAMPLES])}): each counts as a class of its own. If they are several "
        'findings of an image, say so: task.kind = "multilabel". Otherwise give each image one label.',
    )


def _minus_one(labels: Sequence[str]) -> list[str]:
    """Return the label -1 among class numbers from 0: it stands for "uncertain" or "none"."""
    if not all(_WHOLE_NUMBER.fullmatch(label) for label in labels):
        return []
    negative = [label for label in labels if label.startswith("-")]
    return negative if len(negative) == 1 and float(negative[0]) == -1 else []


def several_in_one(labels: Sequence[str]) -> list[str]:
    """Return the labels that look like several: their parts are labels, too, or a sign joins them."""
    known = {spelling_key(label) for label in labels}
    found = []
    for label in labels:
        by_sign = any(len(_parts(label, sign)) > 1 for sign in _SIGNS)
        by_word = any(len(_parts(label, word)) > 1 and _parts(label, word) <= known for word in _WORDS)
        if by_sign or by_word or _LIST.fullmatch(label):
            found.append(label)
    return found


def _parts(label: str, separator: str) -> set[str]:
    parts = re.split(separator, label, flags=re.IGNORECASE)
    return {spelling_key(part) for part in parts if part.strip()}


def unused_splits(paths: Sequence[str]) -> Iterator[Problem]:
    """Yield that the paths of a list without splits begin with folders of splits, which do not count.

    Args:
        paths: of the images, relative to the list.
    """
    folders = [PurePosixPath(path).parts[:-1] for path in paths]
    for depth in range(min((len(names) for names in folders), default=0)):
        named = sorted({names[depth] for names in folders})
        splits = {split_named(name) for name in named} if len(named) <= MAX_SPLIT_FOLDERS else {None}
        if "train" in splits and None not in splits and len(splits) > 1:
            yield Problem(
                kind="split_in_paths",
                severity="warning",
                count=len(named),
                examples=tuple(shown(name) for name in named[:MAX_EXAMPLES]),
                remedy="the paths of the list lead through folders of splits, and it has no column split: "
                "the splits are made at random, across these folders. Add a column split with their names.",
            )
            return


def against_folders(paths: Sequence[str], labels: Sequence[str]) -> Iterator[Problem]:
    """Yield the images of a list that lie in the folder of another class than their label.

    Args:
        paths: of the images, relative to the list.
        labels: of each image. Numbers are left out: a folder 1 may be a batch.
    """
    names = {spelling_key(label): label for label in labels if not _WHOLE_NUMBER.fullmatch(label)}
    wrong = []
    placed = 0
    for path, label in zip(paths, labels, strict=True):
        folders = {spelling_key(folder) for folder in PurePosixPath(path).parts[:-1]} & names.keys()
        placed += bool(folders)
        if folders and spelling_key(label) not in folders:
            wrong.append(shown(path))
    yield from about(
        "labels_against_folders",
        "warning",
        wrong,
        f"{plural(len(wrong), 'image')} of {placed:,} in a folder of another class than the label in the "
        "list: rows may be shifted, or sorted in part. Check the labels.",
    )
