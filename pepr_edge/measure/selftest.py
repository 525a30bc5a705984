"""A bundle's self-test: run its images on this device, and compare with the expected logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import BundleError
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.measure.bundle_model import BundleModel, bundle_model
from pepr_edge.measure.inference_process import InferenceProcess
from pepr_edge.measure.runtimes import RUNTIMES, Runtime
from pepr_edge.records import Manifest, Preprocess, SelfTestResult, SessionSettings
from pepr_edge.scoring.rule import rule_of
from pepr_edge.tasks import agree_by
from pepr_edge.untrusted import npz

FILE = "selftest.npz"
PIXELS = "pixels"
LOGITS = "logits"
FALLBACK_LOGITS = "fallback_logits"
NOVELTY = "novelty"
FALLBACK_NOVELTY = "fallback_novelty"
# A novelty this near to its limit, as a share of it, may lie on either side of it on another device.
NOVELTY_MARGIN = 0.1


class Answers(NamedTuple):
    """Logits of images, shape (n, classes), and their novelty, shape (n,); None without that output."""

    logits: NDArray[np.float32]
    novelty: NDArray[np.float32] | None


def session_answers(
    runtime: Runtime, session: Any, pixels: NDArray[np.uint8], preprocess: Preprocess
) -> Answers:
    """Return what an open model answers on images, run one at a time as on the device.

    Args:
        runtime: the module that opened `session`.
        session: an open model.
        pixels: uint8, shape (n, image_size_px, image_size_px, channels), n >= 1.
        preprocess: how pixels become the input.
    """
    answers = [
        runtime.run_all(session, to_tensor(pixels[index : index + 1], preprocess))
        for index in range(len(pixels))
    ]
    logits = np.concatenate([answer[0] for answer in answers])
    if len(answers[0]) == 1:
        return Answers(logits, None)
    return Answers(logits, np.concatenate([answer[1] for answer in answers])[:, 0])


def file_answers(
    model: Path, settings: SessionSettings, pixels: NDArray[np.uint8], preprocess: Preprocess
) -> Answers:
    """Return what a model file answers on images, run one at a time as on the device.

    onnxruntime reports a file that it cannot run. Other runtimes were seen to end the process, so they get a
    process of their own.

    Args:
        model: the file.
        settings: how to run the runtime.
        pixels: as for `session_answers`.
        preprocess: how pixels become the input.
    Raises:
        MeasurementError: the file cannot be run with these settings.
    """
    if settings.runtime == "onnxruntime":
        runtime = RUNTIMES[settings.runtime]
        return session_answers(runtime, runtime.open(model, settings), pixels, preprocess)
    from pepr_edge.measure.model_process import ModelProcess

    shape = (1, preprocess.channels, preprocess.image_size_px, preprocess.image_size_px)
    with ModelProcess(model, settings, shape) as process:
        return process.answers(pixels, preprocess)


def run(
    bundle: Path,
    manifest: Manifest,
    settings: SessionSettings,
    fallback: bool = False,
    process: InferenceProcess | None = None,
) -> SelfTestResult:
    """Run a bundle's self-test. It passes if every decision agrees, the logits are within the tolerance, and,
    of a model with the second output, the same images are unlike the training images.

    Args:
        bundle: the folder.
        manifest: its manifest.
        settings: how to run the runtime.
        fallback: test the float32 file beside the model instead of the model.
        process: runs the model; None: a process for this test alone.
    Raises:
        BundleError: selftest.npz does not match the manifest, or there is no fallback.
        MeasurementError: the model cannot be run here, or gives no finite logits for one of the images.
    """
    model = bundle_model(bundle, manifest, settings, fallback)
    spec = manifest.selftest
    if fallback and manifest.fallback is not None:
        spec = manifest.fallback.selftest
    rule = rule_of(manifest.decision_of(fallback), manifest.labels)
    test = _read(bundle / FILE, manifest, spec.n, fallback)
    pixels, expected = test.pixels, test.expected
    if process is None:
        with InferenceProcess() as own_process:
            actual = _answers(own_process, model, pixels, manifest.preprocess)
    else:
        actual = _answers(process, model, pixels, manifest.preprocess)
    agreeing = int(agree_by(actual.logits, expected.logits, rule).sum())
    max_abs_diff = float(np.abs(actual.logits - expected.logits).max())
    novelty_agrees = _novelty_agrees(actual, expected, manifest, fallback)
    return SelfTestResult(
        passed=agreeing == len(pixels) and max_abs_diff <= spec.tolerance and novelty_agrees is not False,
        decisions_agree=agreeing == len(pixels),
        agreeing=agreeing,
        max_abs_diff=max_abs_diff,
        tolerance=spec.tolerance,
        n=len(pixels),
        novelty_agrees=novelty_agrees,
    )


def _answers(
    process: InferenceProcess, model: BundleModel, pixels: NDArray[np.uint8], preprocess: Preprocess
) -> Answers:
    """Return the answers on images, run one at a time as on the device."""
    process.open(model)
    answers = [process.answer(to_tensor(pixels[n : n + 1], preprocess)) for n in range(len(pixels))]
    logits = np.concatenate([answer.logits for answer in answers])
    novelty = [answer.novelty for answer in answers if answer.novelty is not None]
    return Answers(logits, np.concatenate(novelty) if novelty else None)


def _novelty_agrees(actual: Answers, expected: Answers, manifest: Manifest, fallback: bool) -> bool | None:
    """True if the same images lie beyond the limit as at home; None for a model without this output."""
    decision = manifest.decision_of(fallback)
    if decision is None or decision.refer is None or decision.refer.max_novelty is None:
        return None
    limit = decision.refer.max_novelty
    assert actual.novelty is not None  # the process refuses a model without it
    assert expected.novelty is not None
    is_near = np.abs(expected.novelty - limit) <= NOVELTY_MARGIN * limit
    return bool((is_near | ((actual.novelty > limit) == (expected.novelty > limit))).all())


class _SelfTest(NamedTuple):
    """The images of a self-test, and what is expected on them."""

    pixels: NDArray[np.uint8]
    expected: Answers


def _read(path: Path, manifest: Manifest, n: int, fallback: bool) -> _SelfTest:
    """Return the images of a self-test, and what is expected of the model or its fallback."""
    px = manifest.preprocess.image_size_px
    has_novelty = manifest.has_novelty(fallback)
    logits_name = FALLBACK_LOGITS if fallback else LOGITS
    novelty_name = FALLBACK_NOVELTY if fallback else NOVELTY
    names = [PIXELS, logits_name, novelty_name] if has_novelty else [PIXELS, logits_name]
    expected = f"expected {' and '.join(f'`{name}`' for name in names)}. Copy the bundle again."
    novelty = None
    try:
        with npz.opened(path) as archive:
            pixels = npz.read(archive, PIXELS, (n, px, px, manifest.preprocess.channels), np.uint8)
            logits = npz.read(archive, logits_name, (n, len(manifest.labels)), np.float32)
            if has_novelty:
                novelty = npz.read(archive, novelty_name, (n,), np.float32)
    except KeyError:
        raise BundleError(f"{path}: not a self-test, {expected}") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: not a self-test ({error}), {expected}") from None
    if n < 1:
        raise BundleError(f"{path}: no images, expected at least one. Copy the bundle again.")
    if not np.isfinite(logits).all():
        raise BundleError(f"{path}: infinite logits, expected finite ones. Copy the bundle again.")
    if novelty is not None and not np.isfinite(novelty).all():
        raise BundleError(f"{path}: infinite novelty, expected finite numbers. Copy the bundle again.")
    return _SelfTest(pixels, Answers(logits, novelty))
