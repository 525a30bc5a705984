"""Images that `refer_rates.py` and `refer_light.py` give to bundles: own test images, and other kinds.

The models are trained on PneumoniaMNIST, so BreastMNIST shows another organ. Needs numpy and Pillow alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pepr_edge.data import phantom

MADE_IMAGES = 100
AIM_OTHERS = 0.95
AIM_OWN = 0.1
OWN = "own test images"
# The aim is for these kinds; the others are own images that were changed.
OTHERS = (
    "BreastMNIST",
    "phantom",
    "noise, 28 px",
    "noise, 224 px",
    "noise, Gaussian of any strength",
    "noise, coarse",
    "blank frames",
)


def pictures(own: NDArray[np.uint8], breast: Path) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield the name of each set and its images, shape (n, h, w) or (n, h, w, 3).

    Args:
        own: test images of the models, shape (n, h, w).
        breast: breastmnist.npz.
    """
    with np.load(breast) as archive:
        other = np.concatenate([archive[f"{split}_images"] for split in ("train", "val", "test")])
    rng = np.random.default_rng(0)
    n = MADE_IMAGES
    level = rng.uniform(40, 215, (n, 1, 1))
    weak = rng.normal(level, rng.uniform(5, 40, (n, 1, 1)), (n, 28, 28))
    yield OWN, own
    yield "BreastMNIST", other
    yield "phantom", phantom.images(n, 0)[0]
    yield "noise, 28 px", rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
    yield "noise, 224 px", rng.integers(0, 256, (n, 224, 224), dtype=np.uint8)
    yield "noise, Gaussian of any strength", np.clip(weak, 0, 255).astype(np.uint8)
    yield "noise, coarse", rng.integers(0, 256, (n, 7, 7), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    yield "blank frames", np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, 64, 64))
    yield "own test images in false colour", _false_colour(own[:n])
    yield "own test images upside down", own[:n, ::-1]
    yield "own test images, negative", 255 - own[:n]


def _false_colour(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.stack([images, 255 - images, images // 2], axis=-1)


def write(own: NDArray[np.uint8], breast: Path, folder: Path) -> dict[str, list[Path]]:
    """Write the images of `pictures` as files, and return the files of each set."""
    sets: dict[str, list[Path]] = {}
    for number, (name, images) in enumerate(pictures(own, breast)):
        sets[name] = []
        for index, pixels in enumerate(images):
            path = folder / f"{number}_{index}.png"
            Image.fromarray(np.ascontiguousarray(pixels)).save(path)
            sets[name].append(path)
    return sets
