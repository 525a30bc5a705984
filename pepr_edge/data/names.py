"""What names of folders, columns and files say: splits, classes that differ in spelling only, companions."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pepr_edge.records import Split

_SPLIT_WORDS: dict[Split, frozenset[str]] = {
    "train": frozenset({"train", "training", "trn", "tr", "trainval"}),
    "val": frozenset(
        {
            "val",
            "valid",
            "validation",
            "validate",
            "validating",
            "dev",
            "devel",
            "development",
            "tune",
            "tuning",
        }
    ),
    "test": frozenset(
        {"test", "testing", "tst", "te", "ts", "holdout", "heldout", "eval", "evaluation", "evaluate"}
    ),
}
SPLIT_OF_WORD: dict[str, Split] = {word: split for split, words in _SPLIT_WORDS.items() for word in words}
# Words that say nothing: train_set, test-data, images_val, valid_folder.
_FILLERS = (
    "dataset", "datasets", "data", "subset", "set", "sets", "split", "splits", "images", "image", "imgs",
    "img", "folder", "files", "samples", "cases", "patients", "my",
)  # fmt: skip
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_LETTERS = re.compile(r"[^\W\d_]+")

# Suffixes and prefixes of the names of masks and other companions of a picture: x.png and x_mask.png.
_COMPANION_WORDS = (
    r"masks?|segmentations?|segmented|segs?|annotations?|annotated|annots?|groundtruth|ground[ _-]?truth|gt"
    r"|rois?|overlays?|contours?|heatmaps?|labels?|labelmap|outlines?|bbox|thumb(?:nail)?s?|preview"
)
_COMPANION_SUFFIX = re.compile(rf"[ _.-]+(?:{_COMPANION_WORDS})(?:[ _.-]*\d+)?$", re.IGNORECASE)
_COMPANION_PREFIX = re.compile(rf"^(?:{_COMPANION_WORDS})[ _.-]+(?=.)", re.IGNORECASE)
_COMPANION_FOLDER = re.compile(rf"^(?:{_COMPANION_WORDS})$", re.IGNORECASE)
_PICTURE_FOLDER = re.compile(
    r"^(?:images?|imgs?|pictures?|photos?|scans?|slices?|originals?|orig|raw|input|data|src|x)$",
    re.IGNORECASE,
)

_MISSING = frozenset({
    "nan", "na", "n/a", "#n/a", "<na>", "null", "?", "-", "undefined", "unlabeled", "unlabelled",
    "not labeled", "not labelled", "no label", "nolabel", "unannotated", "unsorted",
})  # fmt: skip
_NUMBER = re.compile(r"0*(\d+)(?:[.,]0+)?")
# Not the signs of "HER2-", "grade 1-2" and "1.5".
_SEPARATORS = re.compile(r"[\s_]+|(?<=[^\W\d_])-(?=\w)")


def words(name: str) -> list[str]:
    """Return the words of a name in small letters, as in "trainSet", "train_set" or "TRAIN-2"."""
    return _LETTERS.findall(_CAMEL.sub(" ", unicodedata.normalize("NFKC", name)).lower())


def split_named(name: str) -> Split | None:
    """Return the split that a name stands for, as in "Training", "test_set" or "01-valid"; else None."""
    plain = [_without_filler(word) for word in words(name)]
    word = "".join(word for word in plain if word not in _FILLERS)
    return SPLIT_OF_WORD.get(word)


def begins_with_split(name: str) -> Split | None:
    """Return the split that a name begins with, if more follows, as in "trainA" or "test_no"; else None."""
    first, *more = words(name) or [""]
    rest = [word for word in more if word not in _FILLERS]
    return SPLIT_OF_WORD.get(_without_filler(first)) if rest else None


def _without_filler(word: str) -> str:
    """Return "train" for "trainset"; words that are no split with a filler stay as they are."""
    for filler in _FILLERS:
        if word.removesuffix(filler) in SPLIT_OF_WORD:
            return word.removesuffix(filler)
    return word


def spelling_key(name: str) -> str:
    """Return what is the same for names that differ by case, spaces or Unicode form only."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def loose_key(name: str) -> str:
    """Return what is the same for names that also differ by signs, or by the form of a number (1, 01)."""
    number = _NUMBER.fullmatch(name.strip())
    return number[1] if number else _SEPARATORS.sub("", spelling_key(name).rstrip(".,:;"))


def looks_missing(label: str) -> bool:
    """True if a label is how programs write a value that is not there."""
    return spelling_key(label.replace("_", " ")) in _MISSING


def one_spelling(names: Iterable[str]) -> dict[str, str]:
    """Return for each name the spelling that stands for it: the most frequent one, then the first."""
    counts = Counter(names)
    chosen: dict[str, str] = {}
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        chosen.setdefault(spelling_key(name), unicodedata.normalize("NFC", " ".join(name.split())))
    return {name: chosen[spelling_key(name)] for name in counts}


def respelled(spellings: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Return the sets of names that stand for one class each, for those with more than one spelling."""
    sets: dict[str, list[str]] = {}
    for name, chosen in sorted(spellings.items()):
        sets.setdefault(chosen, []).append(name)
    return [tuple(names) for names in sets.values() if len(names) > 1]


def look_alike(labels: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the sets of labels that may be one class: they differ by signs or the form of a number only."""
    return _alike([(loose_key(label), label) for label in labels])


def same_numbers(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the sets of names that are the same number in several forms (7, 007, 7.0)."""
    keyed = []
    for name in names:
        number = _NUMBER.fullmatch(name)
        if number is not None:
            keyed.append((number[1], name))
    return _alike(keyed)


def _alike(keyed: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    sets: dict[str, list[str]] = {}
    for key, name in keyed:
        sets.setdefault(key, []).append(name)
    return [tuple(names) for names in sets.values() if len(names) > 1]


def companions(stems: Iterable[str]) -> set[str]:
    """Return the names, without suffix, of pictures that accompany another one of the same folder."""
    present = set(stems)
    plain = {stem.casefold() for stem in present}
    found = set()
    for stem in present:
        owners = {_COMPANION_SUFFIX.sub("", stem), _COMPANION_PREFIX.sub("", stem)} - {stem}
        if any(owner.casefold() in plain for owner in owners):
            found.add(stem)
    return found


def is_companion_folder(name: str) -> bool:
    """True if a folder is named as one of masks or other companions."""
    return _COMPANION_FOLDER.match(name.strip()) is not None


def is_picture_folder(name: str) -> bool:
    """True if a folder's name says only that pictures are in it."""
    return _PICTURE_FOLDER.match(name.strip()) is not None


def base_stem(stem: str) -> str:
    """Return the name that a picture and its companion have alike."""
    return _COMPANION_PREFIX.sub("", _COMPANION_SUFFIX.sub("", stem)).casefold()
