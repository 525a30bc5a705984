"""Pictures with coarse and fine structure, a different one for each seed, and folders of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PX = 48


def pixels(seed: int, px: int = PX, *, colour: bool = False) -> NDArray[np.uint8]:
    """Return a picture, shape (px, px) or (px, px, 3)."""
    generator = np.random.default_rng(seed)
    planes = [_plane(generator, px) for _ in range(3 if colour else 1)]
    return np.stack(planes, axis=2) if colour else planes[0]


def picture(seed: int, px: int = PX, *, colour: bool = False) -> Image.Image:
    """Return a picture of mode L or RGB."""
    return Image.fromarray(pixels(seed, px, colour=colour))


def save(path: Path, seed: int, *, colour: bool = False) -> Path:
    """Write a picture to a file, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed, colour=colour).save(path)
    return path


def folder(root: Path, counts: Mapping[str, int], *, first_seed: int = 0) -> Path:
    """Write as many different pictures into each subfolder as `counts` says, and return the root."""
    seed = first_seed
    for name, count in counts.items():
        for number in range(count):
            save(root / name / f"{number:02}.png", seed)
            seed += 1
    return root


def _plane(generator: np.random.Generator, px: int) -> NDArray[np.uint8]:
    plane = np.zeros((px, px), np.float32)
    for cells, weight in ((3, 60), (7, 35), (16, 20)):
        noise = Image.fromarray(generator.standard_normal((cells, cells)).astype(np.float32))
        plane += weight * np.asarray(noise.resize((px, px), Image.Resampling.BICUBIC))
    return np.clip(128 + plane, 0, 255).astype(np.uint8)
