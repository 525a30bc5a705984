"""The self-test of a bundle: images with large margins, and the logits of each of its models for them."""

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
# Images in a self-test: those with the largest margins of the generated ones.
SELFTEST_IMAGES = 16
GENERATED_IMAGES = 64
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
    """Write selftest.npz: images with large margins, and what each model of the bundle answers on them.

    The generated images come first, then real images of validation if the recipe allows any. `rules`: how the
    model decides, and its fallback.
    """
    phantoms, _ = phantom.images(GENERATED_IMAGES, seed=0, size_px=spec.image_size_px)
    pixels = np.repeat(phantoms[..., None], spec.channels, axis=3)
    pool = real_images.image_pool(results, spec)
    if pool is not None:
        pixels = np.concatenate([pixels, pool])
    # This machine may lack the runtime that the model was measured with, if the run was copied here.
    answers = {
        selftest.LOGITS: answers_of(folder / MODEL, pixels, spec, device_settings(settings)[0]),
    }
    if has_fallback:
        fallback_settings = SessionSettings(threads=settings.threads)
        answers[selftest.FALLBACK_LOGITS] = answers_of(folder / FALLBACK, pixels, spec, fallback_settings)
    logits = {name: answer.logits for name, answer in answers.items()}
    # Without a fallback there are logits of the model alone.
    rule_by_name = dict(zip(logits, rules, strict=False))
    margins = np.min([margin_by(values, rule_by_name[name]) for name, values in logits.items()], axis=0)
    generated = indices_of_largest(margins[:GENERATED_IMAGES], SELFTEST_IMAGES)
    real = indices_of_largest(margins[GENERATED_IMAGES:], results.recipe.export.selftest_real_images)
    chosen = np.concatenate([generated, GENERATED_IMAGES + real])
    arrays = {name: values[chosen] for name, values in logits.items()}
    names = (selftest.NOVELTY, selftest.FALLBACK_NOVELTY)
    for answer, novelty in zip(answers.values(), names, strict=False):
        if answer.novelty is not None:
            arrays[novelty] = answer.novelty[chosen]
    archive = io.BytesIO()
    np.savez_compressed(archive, pixels=pixels[chosen], **arrays)
    write_bytes(folder / selftest.FILE, archive.getvalue())
    return SelfTestSpec(n=len(chosen), tolerance=tolerance(margins[chosen]), real_images=len(real))


def indices_of_largest(values: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Return the indices of the `count` largest values, or of all if there are fewer, in ascending order."""
    return np.sort(np.argsort(-values)[:count])


def tolerance(margins: NDArray[np.float32]) -> float:
    """Return how far logits may differ on another device: half of the smallest margin.

    Within it no model of the bundle can change its decision on any of these images.

    Args:
        margins: on the self-test's images, of the model with the smallest, shape (n,).
    """
    return max(float(margins.min()) / 2, MIN_TOLERANCE)
