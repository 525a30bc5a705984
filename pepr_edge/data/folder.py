"""An image folder: split/class/*, class/split/* or class/*, at any depth below the class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from pepr_edge.data import findings, layout
from pepr_edge.data import labels as label_names
from pepr_edge.data.files import read_images, stamp_files, tree_sha256
from pepr_edge.data.layout import Layout
from pepr_edge.data.names import one_spelling
from pepr_edge.data.source import (
    DataSettings,
    ImageSource,
    Indices,
    Stamp,
    check_labels,
    splits_by_name,
)
from pepr_edge.data.tree import Folder, read_tree
from pepr_edge.errors import ImageError
from pepr_edge.records import Problem
from pepr_edge.untrusted.paths import is_dir
from pepr_edge.untrusted.shown import shown

ACCEPTS: str = "a folder of images"
SUFFIXES: tuple[str, ...] = ()


def recognises(source: str) -> bool:
    """True if it is the path of a folder."""
    return is_dir(source)


def stamp(settings: DataSettings) -> Stamp:
    """Return name, size and time of every image file."""
    root = Path(settings.source)
    return stamp_files(root, [path.relative_to(root).as_posix() for path in read_tree(root).all_images()])


def open_source(settings: DataSettings) -> ImageSource:
    """List the images of a folder; class names are the sorted names of the folders.

    Raises:
        DataError: no class folders, an empty class, a duplicate split folder, splits beside classes, a link
            that leads back, or folders that can mean two things.
    """
    root = Path(settings.source)
    tree = read_tree(root)
    placed = layout.understand(tree)
    images = sorted((image.path.relative_to(root).as_posix(), image) for image in placed.images)
    chosen = one_spelling(image.label for _, image in images)
    labels = tuple(sorted(set(chosen.values())))
    check_labels(labels, str(root))
    names = [name for name, _ in images]
    splits = [image.split for _, image in images]

    def read(indices: Indices) -> Iterator[Image.Image | ImageError]:
        return read_images(root, names, indices)

    return ImageSource(
        name=shown(root.resolve().name),
        format="folder",
        sha256=tree_sha256(root, names),
        labels=labels,
        targets=np.array([labels.index(chosen[image.label]) for _, image in images], np.int64),
        read=read,
        given=splits_by_name(splits) if splits[0] else None,
        name_of=names.__getitem__,
        path_of=lambda index: root / names[index],
        problems=tuple(_problems(tree, placed, chosen)),
    )


def _problems(tree: Folder, placed: Layout, chosen: dict[str, str]) -> Iterator[Problem]:
    root = tree.path
    found = placed.findings
    yield from findings.outside_classes(found.outside, root)
    yield from label_names.problems(chosen)
    yield from findings.pooled_sites(found.sites)
    yield from findings.grouped_by_folder(found.groups, root)
    yield from findings.companions_left_out(found.companions, root)
    yield from findings.unused_tables(found.tables, root)
    yield from findings.own_results(list(tree.all_own()), root)
    yield from findings.other_files(found.others, root)
