"""The few real images that a bundle tests itself on, where the recipe allows any: by default none leave with it.

The images of a run are deleted at its end. Those that the recipe gives away are kept in its directory, for whoever exports bundles later:
    selftest_images/<px>.npy    uint8, shape (n, px, px, channels), drawn from validation
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pepr_edge import data
from pepr_edge.errors import RunError
from pepr_edge.run_dir.layout import SELFTEST_IMAGES as FOLDER
from pepr_edge.run_dir.layout import pixels_folder
from pepr_edge.run_dir.owned import remove_owned, write_owned
from pepr_edge.run_dir.reader import Results

# From so many times the images wanted a model takes those that it decides most clearly.
CHOICE = 4


def choice(results: Results, px: int) -> NDArray[np.uint8] | None:
    """Images of a size to take the real ones from; None where the recipe allows none.

    Raises:
        RunError: the recipe allows some, and the run directory has none.
    """
    wanted = results.recipe.export.selftest_real_images
    if wanted == 0:
        kept_names = [f"{FOLDER}/{path.name}" for path in (results.folder / FOLDER).glob("*.npy")]
        remove_owned(results.folder, kept_names, _recognise)
        return None
    prepared, kept = pixels_folder(results.folder, px), results.folder / FOLDER / f"{px}.npy"
    if prepared.is_dir():
        pixels, _ = data.load(prepared).splits["val"]
        drawn = np.random.default_rng(results.recipe.seed).permutation(len(pixels))[: CHOICE * wanted]
        content = io.BytesIO()
        np.save(content, pixels[np.sort(drawn)])
        write_owned(results.folder, f"{FOLDER}/{px}.npy", content.getvalue(), _recognise)
    if not kept.is_file():
        raise RunError(
            f"{kept}: missing, and export.selftest_real_images = {wanted}. Run `pepr-edge run` with --fresh."
        )
    images: NDArray[np.uint8] = np.load(kept, allow_pickle=False)
    return images


def _recognise(path: Path) -> bool:
    """Version 0.1 kept no record of files: an array of pixels under a size's name is ours."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return path.stem.isdecimal() and array.dtype == np.uint8 and array.ndim == 4
