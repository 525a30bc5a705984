"""What is known of a file that leaves: parity, quality and performance, measured on the file itself and written beside it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from pepr_edge.data import Dataset
from pepr_edge.export.check import Logits, flips, logits_of, parity
from pepr_edge.export.quality_gate import judge
from pepr_edge.recipe import Recipe
from pepr_edge.records import Artifact, Machine, Quality, SessionSettings, Split, TrainResult, VariantTrial
from pepr_edge.run_dir.store import sha256_file, write_record, written
from pepr_edge.scoring.intervals import estimates

MODEL, PREDICTIONS = "model.onnx", "predictions.npz"
SPLITS: tuple[Split, Split] = ("val", "test")


@dataclass(frozen=True)
class ExportSource:
    """A trained candidate, PyTorch's logits on "val" and "test", and the images that it is checked on."""

    trained: TrainResult
    expected: dict[str, Logits]
    data: Dataset
    recipe: Recipe

    def pixels(self, split: Split) -> NDArray[np.uint8]:
        """Images of a split, shape (n, px, px, channels)."""
        return self.data.splits[split][0]

    def calibration(self, most: int) -> NDArray[np.uint8]:
        """So many training images that ranges may be taken from, at most: the first of an order by chance, in which classes are mixed."""
        pixels = self.pixels("train")
        order = np.random.default_rng(self.trained.seed).permutation(len(pixels))[:most]
        return np.asarray(pixels[order])

    def labels(self, split: Split) -> NDArray[np.int64]:
        """Their labels, shape (n,)."""
        return np.asarray(self.data.splits[split][1])

    def judge(self, logits: Logits, settings: SessionSettings) -> Quality:
        """Whether a file that gives these logits on validation, run so, keeps enough of the candidate's performance."""
        keep = self.recipe.export.keep_performance
        return judge(
            logits, self.expected["val"], self.labels("val"), self.trained.performance_metric, keep, settings
        )


@dataclass(frozen=True)
class Origin:
    """How a file came to be. `chosen`, `rungs` and `chosen_on` are those of a ladder, if it chose this file."""

    variant: str
    parity_tolerance: float
    exporter: str
    simplified: bool
    remedy: str | None = None
    notes: tuple[str, ...] = ()
    chosen: SessionSettings | None = None
    rungs: tuple[VariantTrial, ...] = ()
    chosen_on: Machine | None = None


def write_artifact(
    source: ExportSource, origin: Origin, folder: Path, key: str, run_with: SessionSettings, begun_s: float
) -> Artifact:
    """Measure the model.onnx of a folder and write predictions.npz and export.json beside it.

    Args:
        source: the candidate.
        origin: how the file came to be.
        folder: holds the file.
        key: of the artifact.
        run_with: how the file is run: its figures are of the file under its runtime, not of the file alone.
        begun_s: when the making began, on the clock of `time.perf_counter`.
    Raises:
        ExportError, MeasurementError: the file does not run.
    """
    trained, path = source.trained, folder / MODEL
    found = parity(
        path,
        source.pixels("val"),
        source.expected["val"],
        trained.preprocess,
        origin.parity_tolerance,
        run_with.threads,
    )
    logits = {split: logits_of(path, source.pixels(split), trained.preprocess, run_with) for split in SPLITS}
    labels = {split: source.labels(split) for split in SPLITS}
    with written(folder / PREDICTIONS) as file:
        np.savez(file, **logits, **{f"{split}_labels": labels[split] for split in SPLITS})  # type: ignore[arg-type]
    opset, producer = facts(path)
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
        parity=found,
        flips=flips(logits["test"], source.expected["test"]),
        quality=source.judge(logits["val"], run_with),
        performance=estimates(dict(logits), dict(labels), trained.performance_metric),
        performance_before=trained.performance,
        settings=origin.chosen,
        rungs=origin.rungs,
        chosen_on=origin.chosen_on,
        notes=origin.notes,
        duration_s=time.perf_counter() - begun_s,
    )
    write_record(folder / "export.json", artifact)
    return artifact


def facts(path: Path) -> tuple[int, str]:
    """Opset and producer of an ONNX file."""
    model = onnx.load(str(path), load_external_data=False)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return opset, f"{model.producer_name} {model.producer_version}".strip()
