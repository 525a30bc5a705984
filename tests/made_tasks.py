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
