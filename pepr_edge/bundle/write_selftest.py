"""The self-test of a bundle: images with large margins, and the logits of its model and fallback on them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pepr_edge.bundle import real_images
from pepr_edge.data import phantom
from pepr_edge.export.check import answers_of
from pepr_edge.measure import selftest
from pepr_edge.measure.settings import device_settings
from pepr_edge.records import Preprocess, SelfTestSpec, SessionSettings
from pepr_edge.run_dir.layout import MODEL
from pepr_edge.run_dir.reader import Results
from pepr_edge.run_dir.store import write_bytes
from pepr_edge.tasks import Rule, margin_by

FALLBACK = "fallback.onnx"
GENERATED_IMAGES = 64
# The generated images with the largest margins; these are stored.
SELFTEST_IMAGES = 16
# Below this a difference of logits is rounding.
MIN_TOLERANCE = 1e-4


def write_selftest(
    folder: Path,
    spec: Preprocess,
    settings: SessionSettings,
    has_fallback: bool,
    results: Results,
    rules: tuple[Rule, Rule],
) -> SelfTestSpec:
    """Write selftest.npz: images with large margins, and the outputs of model and fallback on them.

    The generated images come first, then real images of validation if the recipe allows any.

    Args:
        folder: the bundle.
        spec: how pixels become the input.
        settings: how the model was measured.
        has_fallback: the bundle holds a fallback, too.
        results: of the run.
        rules: by which the model and the fallback decide.
    """
    phantoms, _ = phantom.images(GENERATED_IMAGES, seed=0, size_px=spec.image_size_px)
    pixels = np.repeat(phantoms[..., None], spec.channels, axis=3)
    pool = real_images.image_pool(results, spec)
    if pool is not None:
        pixels = np.concatenate([pixels, pool])
    # This machine may lack the runtime that the model was measured with, if the run was copied here.
    outputs = answers_of(folder / MODEL, pixels, spec, device_settings(settings)[0])
    margins = margin_by(outputs.logits, rules[0])
    fallback_outputs = None
    if has_fallback:
        fallback_settings = SessionSettings(threads=settings.threads)
        fallback_outputs = answers_of(folder / FALLBACK, pixels, spec, fallback_settings)
        margins = np.minimum(margins, margin_by(fallback_outputs.logits, rules[1]))
    generated = indices_of_largest(margins[:GENERATED_IMAGES], SELFTEST_IMAGES)
    real = indices_of_largest(margins[GENERATED_IMAGES:], results.recipe.export.selftest_real_images)
    chosen = np.concatenate([generated, GENERATED_IMAGES + real])
    arrays = {"pixels": pixels[chosen], selftest.LOGITS: outputs.logits[chosen]}
    if outputs.novelty is not None:
        arrays[selftest.NOVELTY] = outputs.novelty[chosen]
    if fallback_outputs is not None:
        arrays[selftest.FALLBACK_LOGITS] = fallback_outputs.logits[chosen]
        if fallback_outputs.novelty is not None:
            arrays[selftest.FALLBACK_NOVELTY] = fallback_outputs.novelty[chosen]
    archive = io.BytesIO()
    np.savez_compressed(archive, **arrays)
    write_bytes(folder / selftest.FILE, archive.getvalue())
    return SelfTestSpec(n=len(chosen), tolerance=tolerance(margins[chosen]), real_images=len(real))


def indices_of_largest(values: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Return the indices of the `count` largest values, or of all if there are fewer, in ascending order."""
    return np.sort(np.argsort(-values)[:count])


def tolerance(margins: NDArray[np.float32]) -> float:
    """Return how far logits may differ on another device: half of the smallest margin.

    Within it no model of the bundle can change its decision on any of these images.

    Args:
        margins: the smaller one of model and fallback on each image of the self-test, shape (n,).
    """
    return max(float(margins.min()) / 2, MIN_TOLERANCE)
