"""Files of the user, planted where pepr_edge writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

PRECIOUS = b"precious"


def plant(folder: Path, *names: str) -> dict[Path, bytes]:
    """Put files of the user into a folder; return their contents by path."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PRECIOUS + name.encode())
    return {folder / name: (folder / name).read_bytes() for name in names}


def plant_images(folder: Path) -> dict[Path, bytes]:
    """Write 24 images in folders of two classes; return their contents by path."""
    images = {}
    for label in ("benign", "malignant"):
        (folder / label).mkdir(parents=True)
        for number in range(12):
            path = folder / label / f"{number}.png"
            rng = np.random.default_rng(20 * number + len(label))
            Image.fromarray(rng.integers(0, 256, (48, 48), dtype=np.uint8)).save(path)
            images[path] = path.read_bytes()
    return images


def assert_kept(planted: dict[Path, bytes]) -> None:
    assert {path: path.read_bytes() if path.is_file() else None for path in planted} == planted


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
