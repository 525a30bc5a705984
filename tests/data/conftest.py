from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def draw() -> Callable[..., np.ndarray]:
    """Write a random image, a different one for each seed, and return its pixels."""

    def make(
        path: Path, seed: int = 0, *, size: tuple[int, int] = (12, 10), colour: bool = False
    ) -> np.ndarray:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3) if colour else size, dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return pixels

    return make


@pytest.fixture
def image_folder(tmp_path: Path, draw: Callable[..., np.ndarray]) -> Path:
    """class/*: 12 of cat, 8 of dog, all different."""
    root = tmp_path / "pets"
    for number in range(20):
        draw(root / ("cat" if number < 12 else "dog") / f"{number:02}.png", number)
    return root
