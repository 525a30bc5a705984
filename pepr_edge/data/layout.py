"""What the folders of a dataset mean: which are splits, which are classes, and which images are neither.

    split/class/*     class/split/*     class/*     site/class/*

The images of a class may be at any depth below it. Folders of masks, results of pepr_edge and images outside
class folders are left out, and said. Where the folders can mean two things, nothing is guessed: an error says
what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pepr_edge.data import levels
from pepr_edge.data.files import IMAGE_SUFFIXES
from pepr_edge.data.findings import MAX_EXAMPLES
from pepr_edge.data.names import (
    base_stem,
    companions,
    is_companion_folder,
    is_picture_folder,
    spelling_key,
    split_named,
)
from pepr_edge.data.tree import Folder
from pepr_edge.errors import DataError, DatasetError
from pepr_edge.records import Split
from pepr_edge.text.units import plural
from pepr_edge.untrusted.shown import shown


@dataclass(frozen=True)
class PlacedImage:
    """An image of a dataset, with the name of its class as the folder spells it."""

    path: Path
    label: str
    split: Split | None


@dataclass
class Findings:
    """What was left out, and what was decided."""

    outside: list[Path] = field(default_factory=list)
    companions: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    sites: list[str] = field(default_factory=list)
    groups: list[Path] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class Layout:
    """The images of a dataset. All of them have a split, or none has."""

    images: tuple[PlacedImage, ...]
    findings: Findings


def understand(root: Folder) -> Layout:
    """Return the images of a folder with their classes and splits.

    Raises:
        DataError: no class folders, an empty class, or folders that can mean two things.
    """
    findings = Findings()
    tables = _tables(root)
    findings.tables += [root.path / name for name in tables]
    root = _picture_root(root, findings)
    splits = _split_folders(root)
    if splits:
        return Layout(tuple(_of_splits(root, splits, findings)), findings)
    if _splits_are_below_classes(root):
        return Layout(tuple(_of_inner_splits(root, findings)), findings)
    findings.outside += [root.path / name for name in root.images]
    sites = levels.sites(root)
    if sites:
        findings.sites += [site.name for site in sites]
        images = [image for site in sites for image in _of_classes(site.folders, None, findings)]
        return Layout(tuple(images), findings)
    levels.check_two_levels(root)
    levels.check_split_prefixes(root)
    levels.check_deep_splits(root)
    findings.groups += levels.groups(root)
    images = list(_of_classes(root.folders, None, findings))
    if not images:
        raise _no_classes(root, tables)
    return Layout(tuple(images), findings)


def _picture_root(root: Folder, findings: Findings) -> Folder:
    """Go into the folder that holds all: `images` beside `masks`, or a single folder with splits."""
    folders = [folder for folder in root.folders if folder.has_images]
    pictures = [folder for folder in folders if is_picture_folder(folder.name)]
    masks = [folder for folder in folders if is_companion_folder(folder.name)]
    if len(pictures) == 1 and len(folders) == 1 + len(masks):
        findings.companions += [path for folder in masks for path in folder.all_images()]
        findings.outside += [root.path / name for name in root.images]
        return _picture_root(pictures[0], findings)
    if len(folders) == 1 and any(split_named(inner.name) == "train" for inner in folders[0].folders):
        findings.outside += [root.path / name for name in root.images]
        return folders[0]
    if len(folders) == 1 and _holds_all(folders[0], root):
        return _picture_root(folders[0], findings)
    return root


def _holds_all(folder: Folder, root: Folder) -> bool:
    """True if the only folder of a root is no class: it holds the classes, as after unpacking twice.

    Folders of views or patients within the only class are no classes.
    """
    inner = [child for child in folder.folders if child.has_images]
    if root.images or folder.images or not inner or split_named(folder.name):
        return False
    return len(inner) == 1 or not all(levels.is_no_class(child.name) for child in inner)


def _split_folders(root: Folder) -> dict[Split, Folder]:
    """Return the folder of each split; empty if the folders are classes."""
    named = {folder.name: split_named(folder.name) for folder in root.folders}
    known = [folder for folder in root.folders if named[folder.name]]
    unknown = [folder for folder in root.folders if not named[folder.name]]
    if not any(named[folder.name] == "train" for folder in known):
        if len({named[folder.name] for folder in known}) > 1 or (known and not unknown):
            names = ", ".join(shown(folder.name) for folder in known)
            raise DatasetError(
                "no_training_split",
                f"{root.path}: split folders {names} without train. Add train/class/images.",
            )
        return {}
    if len(known) == 1 and known[0].images and not known[0].folders:
        return {}  # a class with the name of a split, as in train, bus, car
    unknown = [folder for folder in unknown if folder.has_images]
    if unknown:
        raise DatasetError(
            "folder_beside_splits",
            f"{root.path}: folder {shown(unknown[0].name)!r} beside {shown(known[0].name)}, expected only "
            "train, val and test there. Move or remove it.",
            len(unknown),
            _names(folder.name for folder in unknown),
        )
    return _one_folder_each(root, known)


def _one_folder_each(root: Folder, folders: Sequence[Folder]) -> dict[Split, Folder]:
    by_split: dict[Split, Folder] = {}
    for folder in folders:
        split = split_named(folder.name)
        assert split is not None
        if split in by_split:
            raise DatasetError(
                "split_twice",
                f"{root.path}: both {shown(by_split[split].name)!r} and {shown(folder.name)!r} are the "
                f"{split} split, expected one folder. Merge or remove one.",
            )
        by_split[split] = folder
    return by_split


def _of_splits(root: Folder, splits: dict[Split, Folder], findings: Findings) -> Iterator[PlacedImage]:
    """Yield the images of split/class/*."""
    findings.outside += [root.path / name for name in root.images]
    classes: dict[Split, list[Folder]] = {}
    for split, split_folder in splits.items():
        folder = _split_root(split_folder, findings)
        findings.tables += [folder.path / name for name in _tables(folder)]
        images = list(_of_classes(folder.folders, split, findings)) if folder.folders else []
        if folder.images and not images:
            raise _split_without_classes(split, folder)
        findings.outside += [folder.path / name for name in folder.images]
        classes[split] = [inner for inner in folder.folders if inner.has_images]
        yield from images
    _check_same_classes(root, classes)


def _split_root(folder: Folder, findings: Findings) -> Folder:
    """Go into the folder that holds the classes of a split, as in test_set/test_set/class."""
    folder = _picture_root(folder, findings)
    inner = [child for child in folder.folders if child.has_images]
    if len(inner) == 1 and not folder.images and split_named(inner[0].name) == split_named(folder.name):
        return inner[0]
    return folder


def _check_same_classes(root: Folder, classes: Mapping[Split, Sequence[Folder]]) -> None:
    """Refuse a split that has classes, and none of those of training."""
    trained = {spelling_key(folder.name) for folder in classes["train"]}
    for split, folders in classes.items():
        if folders and not trained & {spelling_key(folder.name) for folder in folders}:
            raise DatasetError(
                "classes_differ_between_splits",
                f"{root.path}: {split} has the folders {', '.join(levels.folder_names(folders))}, and train "
                f"{', '.join(levels.folder_names(classes['train']))}, expected the same classes. Name the "
                "folders alike; images without a class can test nothing: move them away, and classify them "
                "with a finished model (pepr-edge predict).",
                len(folders),
                levels.folder_names(folders),
            )


def _splits_are_below_classes(root: Folder) -> bool:
    """True for class/split/*. Raises DatasetError if only some classes have splits."""
    inner = {folder.name: _split_names(folder) for folder in root.folders if folder.has_images}
    _check_inner_train(root, list(inner.values()))
    with_train = [name for name, names in inner.items() if "train" in names.values()]
    if not with_train or not any(len(set(names.values())) > 1 for names in inner.values()):
        return False
    for folder in root.folders:
        names = inner.get(folder.name)
        if names is not None and (folder.images or None in names.values() or not names):
            raise DatasetError(
                "splits_in_some_classes",
                f"{root.path}: {shown(with_train[0])!r} has split folders, and {shown(folder.name)!r} has "
                "images outside of split folders, expected class/split/* for all classes or for none. "
                "Move the images.",
            )
    return True


def _check_inner_train(root: Folder, inner: Sequence[dict[str, Split | None]]) -> None:
    """Refuse class/split/* without training images: val and test alone."""
    splits = {split for names in inner for split in names.values()}
    if len(splits) > 1 and splits <= {"val", "test"}:
        raise DatasetError(
            "no_training_split",
            f"{root.path}: split folders val and test in the classes, without train. Add class/train/images.",
        )


def _split_names(folder: Folder) -> dict[str, Split | None]:
    return {inner.name: split_named(inner.name) for inner in folder.folders if inner.has_images}


def _of_inner_splits(root: Folder, findings: Findings) -> Iterator[PlacedImage]:
    """Yield the images of class/split/*."""
    findings.outside += [root.path / name for name in root.images]
    for class_folder in root.folders:
        for split, folder in _one_folder_each(class_folder, class_folder.folders).items():
            for path in _class_images(folder, findings):
                yield PlacedImage(path, class_folder.name, split)


def _of_classes(folders: Iterable[Folder], split: Split | None, findings: Findings) -> Iterator[PlacedImage]:
    for folder in folders:
        if folder.is_only_own:
            continue
        for path in _class_images(folder, findings):
            yield PlacedImage(path, folder.name, split)


def _class_images(folder: Folder, findings: Findings) -> list[Path]:
    """Return the images of a class, without masks and other companions.

    Raises:
        DataError: there are none.
    """
    others = list(folder.all_others())
    images = list(_without_companions(folder, findings))
    if not images:
        content = f"no image among {len(others)} files" if others else "no files"
        raise DataError(
            f"{folder.path}: {content}, expected images ({' '.join(sorted(IMAGE_SUFFIXES))}). "
            "Add images, or remove the folder."
        )
    findings.others += others
    return images


def _without_companions(folder: Folder, findings: Findings) -> Iterator[Path]:
    accompany = companions(Path(name).stem for name in folder.images)
    for name in folder.images:
        if Path(name).stem in accompany:
            findings.companions.append(folder.path / name)
        else:
            yield folder.path / name
    for inner in folder.folders:
        if _is_masks(inner, folder):
            findings.companions += inner.all_images()
        else:
            yield from _without_companions(inner, findings)


def _is_masks(folder: Folder, parent: Folder) -> bool:
    """True if a folder holds the masks of pictures beside it: its name says so, and so do theirs."""
    if not is_companion_folder(folder.name):
        return False
    siblings = [sibling for sibling in parent.folders if sibling is not folder]
    if any(is_picture_folder(sibling.name) and sibling.has_images for sibling in siblings):
        return True
    beside = [Path(name) for name in parent.images]
    beside += [path for sibling in siblings for path in sibling.all_images()]
    owners = {base_stem(path.stem) for path in beside}
    stems = [base_stem(path.stem) for path in folder.all_images()]
    return bool(stems) and 2 * sum(stem in owners for stem in stems) >= len(stems)


def _split_without_classes(split: Split, folder: Folder) -> DatasetError:
    tables = _tables(folder)
    use = "Sort its images into folders of the classes"
    if tables:
        use += f", or, if {shown(tables[0])} lists the images with their classes, give that file instead"
    if split == "test":
        use += (
            "; without labels they can test nothing, but a finished model can classify them (pepr-edge "
            "predict): move the folder away"
        )
    return DatasetError(
        "split_without_classes",
        f"{folder.path}: {plural(len(folder.images), 'image')} without a class, expected {split}/class/*. "
        f"{use}.",
        len(folder.images),
        _names(f"{folder.name}/{name}" for name in folder.images),
    )


def _no_classes(root: Folder, tables: Sequence[str]) -> DatasetError:
    advice = "Put each class's images into a folder."
    if tables and root.images:
        advice = f"If {shown(tables[0])} lists the images with their classes, give that file instead."
    return DatasetError(
        "no_class_folders",
        f"{root.path}: no class folders, expected class/images or split/class/images. {advice}",
        len(root.images),
        _names(root.images),
    )


def _tables(folder: Folder) -> list[str]:
    return [name for name in folder.others if name.lower().endswith((".csv", ".tsv"))]


def _names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(shown(name) for name in names)[:MAX_EXAMPLES]
