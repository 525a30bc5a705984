"""Real images for the self-test of a bundle, if the recipe allows any. By default a bundle holds none.

A run deletes its prepared images at its end. The images that the recipe allows are copied to the run
directory, so that bundles can be exported later:
    selftest_images/<px>.npy    uint8, shape (n, px, px, channels), drawn from validation
                                <px>-<filter>.npy if they are not resized by the bilinear filter
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pepr_edge import data
from pepr_edge.errors import RunError
from pepr_edge.records import Preprocess
from pepr_edge.run_dir.layout import PIXELS, pixels_folder
from pepr_edge.run_dir.layout import SELFTEST_IMAGES as FOLDER
from pepr_edge.run_dir.owned import owned_names, remove_owned, write_owned
from pepr_edge.run_dir.reader import Results
from pepr_edge.untrusted import npz
from pepr_edge.untrusted.files import RECORD_BYTES
from pepr_edge.untrusted.shown import one_line

# A model takes its self-test images from this many times the number wanted: those with the largest margin.
POOL_FACTOR = 4


def image_pool(results: Results, spec: Preprocess) -> NDArray[np.uint8] | None:
    """Return real images, as a model takes them, for its self-test; None if the recipe allows none.

    Images that an earlier recipe allowed are deleted from the run directory.

    Raises:
        RunError: the recipe allows real images, and the run directory has none.
    """
    wanted = results.recipe.export.selftest_real_images
    folder = results.folder / FOLDER
    if wanted == 0:
        remove_owned(results.folder, owned_names(results.folder, f"{FOLDER}/"))
        return None
    prepared = pixels_folder(results.folder, spec.image_size_px, spec.interpolation)
    name = f"{prepared.name.removeprefix(PIXELS)}.npy"
    if prepared.is_dir():
        pixels, _ = data.load(prepared).splits["val"]
        order = np.random.default_rng(results.recipe.seed).permutation(len(pixels))
        drawn = np.sort(order[: POOL_FACTOR * wanted])
        content = io.BytesIO()
        np.save(content, pixels[drawn])
        write_owned(results.folder, f"{FOLDER}/{name}", content.getvalue(), _recognise)
    stored = folder / name
    if not stored.is_file():
        raise RunError(
            f"{stored}: missing, and export.selftest_real_images = {wanted}. "
            "Run `pepr-edge run` with --fresh."
        )
    try:
        images: NDArray[np.uint8] = npz.array(stored, RECORD_BYTES)
    except (OSError, ValueError) as fault:
        raise RunError(
            f"{stored}: cannot be read ({one_line(fault)}). Delete it and run the recipe again."
        ) from None
    return images


def _recognise(path: Path) -> bool:
    """True if a file is an array of pixels named by its size: version 0.1 kept no record of files."""
    array = npz.array(path, RECORD_BYTES)
    return path.stem.partition("-")[0].isdecimal() and array.dtype == np.uint8 and array.ndim == 4
