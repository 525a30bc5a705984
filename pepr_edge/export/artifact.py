"""The record of an exported file: parity, quality and performance, measured on the file itself."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from pepr_edge.data import Dataset
from pepr_edge.export.check import Logits, flips, logits_of, parity
from pepr_edge.export.quality_gate import assess_quality
from pepr_edge.recipe import Recipe
from pepr_edge.records import Artifact, Machine, Quality, SessionSettings, Split, TrainResult, VariantTrial
from pepr_edge.run_dir.store import atomic_writer, sha256_file, write_record
from pepr_edge.scoring.intervals import estimates

MODEL, PREDICTIONS = "model.onnx", "predictions.npz"
SPLITS: tuple[Split, Split] = ("val", "test")


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

    def assess_quality(self, logits: Logits, settings: SessionSettings) -> Quality:
        """Assess the quality of a file by its validation logits, computed with these settings."""
        return assess_quality(
            logits,
            self.expected["val"],
            self.labels("val"),
            self.trained.performance_metric,
            self.recipe.export.keep_performance,
            settings,
        )


@dataclass(frozen=True)
class Origin:
    """How a file was made. `chosen`, `trials` and `chosen_on` are set if autotuning chose it."""

    variant: str
    parity_tolerance: float
    exporter: str
    simplified: bool
    remedy: str | None = None
    notes: tuple[str, ...] = ()
    chosen: SessionSettings | None = None
    trials: tuple[VariantTrial, ...] = ()
    chosen_on: Machine | None = None


def write_artifact(
    source: ExportSource,
    origin: Origin,
    folder: Path,
    key: str,
    settings: SessionSettings,
    started_s: float,
) -> Artifact:
    """Measure the model.onnx of a folder, and write predictions.npz and export.json beside it.

    Args:
        source: the candidate.
        origin: how the file was made.
        folder: holds the file.
        key: of the artifact.
        settings: how the file is run. Quality and performance hold for the file under this runtime.
        started_s: when the work on this file began, by `time.perf_counter`.
    Raises:
        ExportError, MeasurementError: the file does not run.
    """
    trained = source.trained
    path = folder / MODEL
    agreement = parity(
        path,
        source.pixels("val"),
        source.expected["val"],
        trained.preprocess,
        origin.parity_tolerance,
        settings.threads,
    )
    logits: dict[Split, Logits] = {}
    labels: dict[Split, NDArray[np.int64]] = {}
    for split in SPLITS:
        logits[split] = logits_of(path, source.pixels(split), trained.preprocess, settings)
        labels[split] = source.labels(split)
    label_arrays = {f"{split}_labels": labels[split] for split in SPLITS}
    with atomic_writer(folder / PREDICTIONS) as file:
        np.savez(file, **logits, **label_arrays)  # type: ignore[arg-type]
    opset, producer = opset_and_producer(path)
    artifact = Artifact(
        key=key,
        candidate=trained.candidate,
        variant=origin.variant,
        path=f"{folder.name}/{MODEL}",
        sha256=sha256_file(path),
        size_bytes=path.stat().st_size,
        opset=opset,
        exporter=origin.exporter,
        producer=producer,
        dynamic_batch=True,
        simplified=origin.simplified,
        quantised=origin.remedy,
        parity=agreement,
        flips=flips(logits["test"], source.expected["test"]),
        quality=source.assess_quality(logits["val"], settings),
        performance=estimates(logits, labels, trained.performance_metric),
        performance_before=trained.performance,
        settings=origin.chosen,
        rungs=origin.trials,
        chosen_on=origin.chosen_on,
        notes=origin.notes,
        duration_s=time.perf_counter() - started_s,
    )
    write_record(folder / "export.json", artifact)
    return artifact


def opset_and_producer(path: Path) -> tuple[int, str]:
    """Return the opset and the producer of an ONNX file."""
    model = onnx.load(str(path), load_external_data=False)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return opset, f"{model.producer_name} {model.producer_version}".strip()
