"""Made datasets whose labels are grades, or several findings an image; both can be learnt in a few epochs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")


def ordinal_npz(
    path: Path, counts: tuple[int, int, int] = (60, 30, 30), grades: int = 4, px: int = 28
) -> Path:
    """Grey images, the brighter, the higher the grade; as in RetinaMNIST, labels have shape (n, 1)."""
    rng = np.random.default_rng(0)
    arrays: dict[str, NDArray[np.uint8]] = {}
    for split, count in zip(SPLITS, counts, strict=True):
        labels = np.arange(count) % grades
        level = 60 + 140 * labels / (grades - 1)
        images = rng.normal(level[:, None, None], 12, (count, px, px)).clip(0, 255)
        arrays[f"{split}_images"] = images.astype(np.uint8)
        arrays[f"{split}_labels"] = labels[:, None].astype(np.uint8)
    np.savez(path, **arrays)
    return path


def multilabel_npz(
    path: Path, counts: tuple[int, int, int] = (80, 40, 40), findings: int = 3, px: int = 28
) -> Path:
    """Grey images with a bright square in a place of its own for each finding; labels (n, findings).

    The backgrounds differ, so that no two images are near copies.
    """
    rng = np.random.default_rng(0)
    side = int(np.ceil(np.sqrt(findings)))
    size = px // side
    arrays: dict[str, NDArray[np.uint8]] = {}
    for split, count in zip(SPLITS, counts, strict=True):
        labels = (rng.random((count, findings)) < 0.35).astype(np.uint8)
        labels[:findings] = np.eye(findings)  # each occurs
        images = rng.normal(90, 12, (count, px, px)).astype(np.float32)
        images += np.kron(rng.normal(0, 40, (count, px // 4, px // 4)), np.ones((4, 4))).astype(np.float32)
        for number in range(findings):
            row, column = divmod(number, side)
            place = slice(row * size, (row + 1) * size), slice(column * size, (column + 1) * size)
            images[:, place[0], place[1]] += 90 * labels[:, number, None, None]
        arrays[f"{split}_images"] = images.clip(0, 255).astype(np.uint8)
        arrays[f"{split}_labels"] = labels
    np.savez(path, **arrays)
    return path
