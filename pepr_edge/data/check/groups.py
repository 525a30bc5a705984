"""Images that belong together by their names; and groups that are too large for their splits.

Where names of files begin with the number of a patient, say, images of one patient are likely to come into
training and into test.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from pepr_edge.data.check.evidence import Evidence
from pepr_edge.data.findings import about
from pepr_edge.data.levels import is_id
from pepr_edge.data.source import SPLITS
from pepr_edge.records import Problem
from pepr_edge.untrusted.shown import shown

FILES = ("folder", "csv")
# Problems that already say the same, of folders and of columns.
SAME_PROBLEMS = frozenset({"folders_look_like_groups", "column_looks_like_group"})
# With fewer different beginnings of names, these may be batches or classes, not patients.
MIN_BEGINNINGS = 4
# The share of images whose name has the beginning of another's, at least, and of one beginning, at most.
MIN_SHARED = 0.5
MAX_OF_ONE = 0.5
MAX_PARTS = 24
# Characters of a number that is likely to be of a patient wherever it stands.
MIN_NUMBER = 6
# A split with less than this share of what was asked for is too small.
MIN_SHARE = 0.5
# What Roboflow adds to the name of an image, another text for each augmented copy.
_ROBOFLOW = re.compile(r"(?:_(?:jpe?g|png|bmp|tiff?|webp))?\.rf\.[0-9a-f]{6,}$", re.IGNORECASE)
# Dates and times: images of one day are of no one patient.
_DATE = re.compile(
    r"(?:19|20)\d\d[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12]\d|3[01])(?:\d{6})?(?!\d)"
    r"|(?<!\d)\d\d[-_.:]\d\d[-_.:]\d\d(?!\d)"
)
_SEPARATORS = re.compile(r"[\s_.()\-]+")


def problems(evidence: Evidence) -> Iterator[Problem]:
    """Yield names that look like groups, where no groups are named; and splits that groups made too small."""
    reported = {problem.kind for problem in evidence.source.problems}
    if evidence.source.groups is not None:
        yield from _uneven(evidence)
    elif evidence.source.format in FILES and not SAME_PROBLEMS & reported:
        yield from _named(evidence)


def _named(evidence: Evidence) -> Iterator[Problem]:
    indices = sorted(evidence.scan.hashes)
    paths = [PurePosixPath(evidence.source.name_of(index)) for index in indices]
    splits = [evidence.scan.splits[index] for index in indices]
    is_given = evidence.source.given is not None
    groups = beginnings([path.stem for path in paths], [evidence.label(index) for index in indices])
    if groups is None and is_given:
        groups = _shared_folders(paths, splits)
    if groups is None:
        return
    splits_of: dict[str, set[str]] = {}
    for group, split in zip(groups, splits, strict=True):
        if group:
            splits_of.setdefault(group, set()).add(split)
    divided = sorted(group for group, names in splits_of.items() if len(names) > 1)
    remedy = "List the images in a .csv file with a column group."
    if is_given:
        remedy = "Keep the images of each in one split."
    yield from about(
        "names_look_like_groups",
        "warning",
        [shown(group) for group in divided],
        f"names of files or folders look like those of {len(splits_of):,} patients, films or originals with "
        f"several images each; {len(divided):,} of them are in more than one split, so test scores may be "
        f"too good. {remedy}",
    )


def beginnings(stems: Sequence[str], labels: Sequence[str]) -> list[str] | None:
    """Return the beginning that each file's name shares with others of its class: the number of a patient.

    If no beginnings are shared, a long number further on in the names may be.

    Args:
        stems: names of files, without suffix.
        labels: of each image. The same number in two classes may count anew.
    Returns:
        "" for a name that shares none; None if the names as a whole are not made like that.
    """
    originals = [_ROBOFLOW.sub("", stem) for stem in stems]
    if originals != list(stems):
        return _shared(originals, labels, 1)
    parts = [[part for part in _SEPARATORS.split(_DATE.sub("", stem)) if part] for stem in stems]
    least = max(MIN_BEGINNINGS, len(set(labels)) + 1)
    longest = [""] * len(stems)
    for length in range(min(max(map(len, parts), default=1) - 1, MAX_PARTS), 0, -1):
        found = _shared([_beginning(names, length) for names in parts], labels, least)
        if found is not None:
            longest = [known or new for known, new in zip(longest, found, strict=True)]
    if any(longest):
        return longest
    for position in range(1, min(max(map(len, parts), default=1), MAX_PARTS)):
        found = _shared([_number(names, position) for names in parts], labels, least)
        if found is not None:
            return found
    return None


def _beginning(parts: Sequence[str], length: int) -> str:
    """Return the first parts of a name, "" without a digit in them."""
    key = "_".join(parts[:length]).casefold()
    return key if any(character.isdigit() for character in key) else ""


def _number(parts: Sequence[str], position: int) -> str:
    """Return a later part of a name if it is a long number, as in "20586908_6c613a14b80a8591_MG_R"."""
    part = parts[position].casefold() if position < len(parts) else ""
    return part if len(part) >= MIN_NUMBER and any(character.isdigit() for character in part) else ""


def _shared(keys: Sequence[str], labels: Sequence[str], least: int) -> list[str] | None:
    counts = Counter((key, label) for key, label in zip(keys, labels, strict=True) if key)
    shared = {pair: count for pair, count in counts.items() if count > 1}
    if len(shared) < least or sum(shared.values()) < MIN_SHARED * len(keys):
        return None
    if max(shared.values()) > MAX_OF_ONE * len(keys):
        return None
    pairs = zip(keys, labels, strict=True)
    return [f"{label}/{key}" if (key, label) in shared else "" for key, label in pairs]


def _shared_folders(paths: Sequence[PurePosixPath], splits: Sequence[str]) -> list[str] | None:
    """Return the folder of each image that looks like a patient's; None if no such folder has two splits."""
    folders = [_lowest_id(path) for path in paths]
    pairs = {(folder, split) for folder, split in zip(folders, splits, strict=True) if folder}
    counts = Counter(folder for folder, _ in pairs)
    return folders if len(counts) >= MIN_BEGINNINGS and max(counts.values()) > 1 else None


def _lowest_id(path: PurePosixPath) -> str:
    """Return the name of the lowest folder on a path that looks like a patient's; "" if none does."""
    return next((part for part in reversed(path.parts[:-1]) if is_id(part)), "")


def _uneven(evidence: Evidence) -> Iterator[Problem]:
    """Yield the splits that whole groups made much smaller than asked for."""
    source = evidence.source
    shares = {"val": evidence.settings.val_fraction, "test": evidence.settings.test_fraction}
    sizes = Counter(evidence.scan.splits.values())
    small = [
        split
        for split in SPLITS[1:]
        if split not in (source.given or ()) and sizes[split] < MIN_SHARE * shares[split] * evidence.total
    ]
    if small and source.groups is not None:
        largest = max(Counter(source.groups.tolist()).values())
        yield from about(
            "groups_uneven",
            "warning",
            [f"{split} {sizes[split]:,}" for split in small],
            f"{' and '.join(small)} got less than half of the images asked for, as a group is never divided, "
            f"and the largest has {largest:,} of {len(source.targets):,} images. Check the column group, or "
            "give the splits yourself.",
        )
