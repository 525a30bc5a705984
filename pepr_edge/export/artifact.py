"""The record of an exported file: parity, quality and performance, measured on the file itself."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from pepr_edge.data import Dataset
from pepr_edge.errors import ExportError
from pepr_edge.export.check import Logits, answers_of, flips, logits_of, parity
from pepr_edge.export.novelty import MAX_IMAGES, add_novelty, fit_novelty
from pepr_edge.export.quality_gate import AGREEMENT_IMAGES, LogitPair, add_agreement, assess_quality
from pepr_edge.images.unlike import contrast
from pepr_edge.recipe import Recipe
from pepr_edge.records import (
    EVALUATED_SPLITS,
    Artifact,
    Form,
    Machine,
    Parity,
    Quality,
    SessionSettings,
    Split,
    TrainResult,
    VariantTrial,
)
from pepr_edge.run_dir.decisions import CONTRAST, NOVELTY
from pepr_edge.run_dir.store import atomic_writer, sha256_file, write_record
from pepr_edge.scoring.findings import fit_findings
from pepr_edge.scoring.intervals import estimates
from pepr_edge.scoring.rule import rule_of
from pepr_edge.tasks import Rule
from pepr_edge.untrusted import npz

MODEL, PREDICTIONS = "model.onnx", "predictions.npz"
# In predictions.npz: logits of the drawn training images, of the file and of PyTorch.
DRAWN = "drawn"
DRAWN_BEFORE = "drawn_before"


@dataclass(frozen=True)
class ExportSource:
    """A trained candidate, PyTorch's logits on "val" and "test", its dataset and its recipe."""

    trained: TrainResult
    expected: dict[str, Logits]
    data: Dataset
    recipe: Recipe

    def pixels(self, split: Split) -> NDArray[np.uint8]:
        """Return the images of a split, shape (n, px, px, channels)."""
        return self.data.splits[split][0]

    def labels(self, split: Split) -> NDArray[np.int64]:
        """Return the labels of a split, shape (n,)."""
        return np.asarray(self.data.splits[split][1])

    def calibration(self, max_images: int) -> NDArray[np.uint8]:
        """Return at most `max_images` training images for calibration, in a seeded random order."""
        pixels = self.pixels("train")
        order = np.random.default_rng(self.trained.seed).permutation(len(pixels))[:max_images]
        return np.asarray(pixels[order])

    def drawn(self) -> NDArray[np.uint8]:
        """Return drawn training images on which a file's decisions are compared, besides validation.

        They come from the end of the order whose first images are used for calibration.
        """
        pixels = self.pixels("train")
        count = max(0, AGREEMENT_IMAGES - len(self.pixels("val")))
        order = np.random.default_rng(self.trained.seed).permutation(len(pixels))[::-1]
        return np.asarray(pixels[order[:count]])

    @cached_property
    def rule(self) -> Rule:
        """How decisions of files are compared: those of findings at thresholds that fit PyTorch's answers."""
        kind = self.data.info.kind
        if kind != "multilabel":
            return Rule(kind=kind)
        decision = fit_findings(self.expected["val"], self.labels("val"), self.recipe.decision.target)
        return rule_of(decision, self.data.info.labels)

    def assess_quality(self, logits: Logits, settings: SessionSettings) -> Quality:
        """Assess the quality of a file by its validation logits, computed with these settings."""
        return assess_quality(
            logits,
            self.expected["val"],
            self.labels("val"),
            self.trained.performance_metric,
            self.recipe.export.keep_performance,
            settings,
            self.data.info.positive_index,
            self.rule,
        )


@dataclass(frozen=True)
class Origin:
    """How a file was made. `chosen`, `trials` and `chosen_on` are set if autotuning chose it.

    `form` and `form_note`: as in Artifact.
    """

    variant: str
    parity_tolerance: float
    exporter: str
    simplified: bool
    form: Form | None = None
    form_note: str = ""
    remedy: str | None = None
    notes: tuple[str, ...] = ()
    chosen: SessionSettings | None = None
    trials: tuple[VariantTrial, ...] = ()
    chosen_on: Machine | None = None


class _Measured(NamedTuple):
    """What a file answers: on both splits and on drawn training images, and what follows for its quality."""

    parity: Parity
    logits: dict[Split, Logits]
    labels: dict[Split, NDArray[np.int64]]
    novelty: dict[Split, NDArray[np.float32]]
    drawn: LogitPair
    quality: Quality


def write_artifact(
    source: ExportSource,
    origin: Origin,
    folder: Path,
    key: str,
    settings: SessionSettings,
    started_s: float,
    drawn_before: Logits | None,
) -> Artifact:
    """Measure the model.onnx of a folder, and write predictions.npz and export.json beside it.

    Args:
        source: the candidate.
        origin: how the file was made.
        folder: holds the file.
        key: of the artifact.
        settings: how the file is run. Quality and performance hold for the file under this runtime.
        started_s: when the work on this file began, by `time.perf_counter`.
        drawn_before: PyTorch's logits of the drawn training images; None if they are not known.
    Raises:
        ExportError, MeasurementError: the file does not run.
    """
    path = folder / MODEL
    no_novelty = _add_novelty(source, path)
    measured = _measure(source, origin.parity_tolerance, path, settings, drawn_before)
    _write_predictions(folder / PREDICTIONS, source, measured)
    artifact = _record(source, origin, path, key, measured, started_s).replace(no_novelty=no_novelty)
    write_record(folder / "export.json", artifact)
    return artifact


def _add_novelty(source: ExportSource, path: Path) -> str:
    """Add the second output if the recipe wants it. Return why it could not be added; empty if it could."""
    if source.recipe.decision.refer is None:
        return ""
    try:
        add_novelty(path, fit_novelty(source.calibration(MAX_IMAGES), source.trained.preprocess))
    except ExportError as fault:
        return str(fault)
    return ""


def _measure(
    source: ExportSource, tolerance: float, path: Path, settings: SessionSettings, drawn_before: Logits | None
) -> _Measured:
    """Run a file on all images that its record speaks of."""
    spec = source.trained.preprocess
    expected = source.expected["val"]
    agreement = parity(path, source.pixels("val"), expected, spec, tolerance, settings.threads)
    logits: dict[Split, Logits] = {}
    labels: dict[Split, NDArray[np.int64]] = {}
    novelty: dict[Split, NDArray[np.float32]] = {}
    for split in EVALUATED_SPLITS:
        answers = answers_of(path, source.pixels(split), spec, settings)
        logits[split] = answers.logits
        if answers.novelty is not None:
            novelty[split] = answers.novelty
        labels[split] = source.labels(split)
    drawn = _drawn_logits(source, path, settings, drawn_before)
    quality = source.assess_quality(logits["val"], settings)
    pair = LogitPair(logits["val"], expected)
    quality = add_agreement(quality, pair, drawn, source.rule)
    return _Measured(agreement, logits, labels, novelty, drawn, quality)


def _record(
    source: ExportSource, origin: Origin, path: Path, key: str, measured: _Measured, started_s: float
) -> Artifact:
    trained = source.trained
    quality = measured.quality
    info = source.data.info
    opset, producer = opset_and_producer(path)
    return Artifact(
        key=key,
        candidate=trained.candidate,
        variant=origin.variant,
        path=f"{path.parent.name}/{MODEL}",
        sha256=sha256_file(path),
        size_bytes=path.stat().st_size,
        opset=opset,
        exporter=origin.exporter,
        producer=producer,
        dynamic_batch=True,
        simplified=origin.simplified,
        form=origin.form,
        form_note=origin.form_note,
        quantised=origin.remedy,
        parity=measured.parity,
        flips=flips(measured.logits["test"], source.expected["test"], rule=source.rule),
        quality=quality,
        performance=estimates(
            measured.logits, measured.labels, trained.performance_metric, info.positive_index, info.kind
        ),
        positive=info.positive_index,
        performance_before=trained.performance,
        settings=origin.chosen,
        rungs=origin.trials,
        chosen_on=origin.chosen_on,
        notes=(*origin.notes, quality.note) if quality.note else origin.notes,
        duration_s=time.perf_counter() - started_s,
    )


def _drawn_logits(
    source: ExportSource, path: Path, settings: SessionSettings, before: Logits | None
) -> LogitPair:
    """Run a file on the drawn training images; on none if PyTorch's logits are not known or of others."""
    pixels = source.drawn()
    if before is None or len(before) != len(pixels) or len(pixels) == 0:
        none = source.expected["val"][:0]
        return LogitPair(none, none)
    return LogitPair(logits_of(path, pixels, source.trained.preprocess, settings), before)


def _write_predictions(path: Path, source: ExportSource, measured: _Measured) -> None:
    arrays: dict[str, NDArray[Any]] = {}
    for split in EVALUATED_SPLITS:
        arrays[split] = measured.logits[split]
        arrays[f"{split}_labels"] = measured.labels[split]
        if source.recipe.decision.refer is None:
            continue
        contrasts = [contrast(pixels) for pixels in source.pixels(split)]
        arrays[f"{split}_{CONTRAST}"] = np.array(contrasts, np.float32)
        if split in measured.novelty:
            arrays[f"{split}_{NOVELTY}"] = measured.novelty[split]
    arrays[DRAWN] = measured.drawn.own
    arrays[DRAWN_BEFORE] = measured.drawn.expected
    with atomic_writer(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_drawn(folder: Path) -> Logits | None:
    """Return PyTorch's logits of the drawn training images from an artifact's folder, None if not there."""
    with suppress(OSError, ValueError, KeyError):
        return np.asarray(npz.arrays(folder / PREDICTIONS, [DRAWN_BEFORE])[DRAWN_BEFORE], dtype=np.float32)
    return None


def opset_and_producer(path: Path) -> tuple[int, str]:
    """Return the opset and the producer of an ONNX file."""
    model = onnx.load(str(path), load_external_data=False)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return opset, f"{model.producer_name} {model.producer_version}".strip()
