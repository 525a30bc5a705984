"""A bundle that refers images: the tiny bundle with the second output, trained on smooth grey images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tiny_bundle
from numpy.typing import NDArray
from PIL import Image

from pepr_edge.bundle.read import read_manifest
from pepr_edge.export.novelty import add_novelty, fit_novelty
from pepr_edge.measure import selftest
from pepr_edge.records import Decision, ImageLimits, Manifest, Refer, SessionSettings, TensorSpec

LIMITS = ImageLimits(min_contrast=5.0, colour="grey", min_side_px=8)
MAX_NOVELTY = 3.0


def smooth(n: int, seed: int = 0, px: int = tiny_bundle.PX) -> NDArray[np.uint8]:
    """Return images with a bright spot, shape (n, px, px, 1)."""
    rng = np.random.default_rng(seed)
    grid = np.arange(px) / px
    middle = rng.uniform(0.3, 0.7, (2, n, 1))
    distance = (grid - middle[0])[:, :, None] ** 2 + (grid - middle[1])[:, None, :] ** 2
    return (220 * np.exp(-distance / 0.1)).astype(np.uint8)[..., None]


def write(folder: Path, *, fallback: bool = False, **refer: Any) -> Path:
    """Write a bundle that refers images and passes its self-test; `refer` changes its limits."""
    tiny_bundle.write(folder, fallback=fallback)
    made = read_manifest(folder)
    whitening = fit_novelty(smooth(200), made.preprocess)
    with np.load(folder / "selftest.npz") as archive:
        arrays = dict(archive)
    for file, name in (("model.onnx", "novelty"), ("fallback.onnx", "fallback_novelty")):
        if (folder / file).is_file():
            add_novelty(folder / file, whitening)
            answers = selftest.file_answers(
                folder / file, SessionSettings(), arrays["pixels"], made.preprocess
            )
            arrays[name] = answers.novelty
    np.savez_compressed(folder / "selftest.npz", **arrays)
    values = {"asked": "refer_share = 0.1", "max_novelty": MAX_NOVELTY, "images": LIMITS} | refer
    decision = Decision(positive="pneumonia", refer=Refer(**values))

    def change(manifest: Manifest) -> Manifest:
        novelty = None if values["max_novelty"] is None else TensorSpec(name="novelty", shape=(-1, 1))
        changes: dict[str, Any] = {"decision": decision, "novelty": novelty}
        if manifest.fallback is not None:
            changes["fallback"] = manifest.fallback.model_copy(update={"decision": decision})
        return manifest.model_copy(update=changes)

    tiny_bundle.rewrite_manifest(folder, change)
    return folder


def image(path: Path, pixels: NDArray[np.uint8]) -> Path:
    """Write pixels of shape (h, w), (h, w, 1) or (h, w, 3) as a file."""
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(path)
    return path
