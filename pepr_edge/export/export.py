"""The export stage: TrainResult -> [Artifact]."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pepr_edge.data import Dataset
from pepr_edge.errors import ExportError
from pepr_edge.export.check import flips, onnx_logits, parity
from pepr_edge.export.onnx_file import export, facts
from pepr_edge.export.quantise import quantise
from pepr_edge.export.variants import Variant
from pepr_edge.intervals import estimates
from pepr_edge.preprocess import to_tensor
from pepr_edge.records import Artifact, Split, TrainResult
from pepr_edge.store import sha256_file, write_record

MODEL, PREDICTIONS = "model.onnx", "predictions.npz"
FP32_PARITY = 1e-3  # of the base file that all variants are made of, in standard deviations of the logits
SPLITS: tuple[Split, Split] = ("val", "test")


class Exporter:
    """Holds a candidate's float32 ONNX file open for the variants that are made of it."""

    def __init__(self, trained: TrainResult, expected: dict[str, NDArray[np.float32]], data: Dataset, threads: int) -> None:
        """Take what PyTorch said.

        Args:
            trained: the candidate as trained.
            expected: PyTorch's logits on "val" and "test".
            data: the images.
            threads: of the sessions that check.
        """
        self.trained, self.expected, self.data, self.threads = trained, expected, data, threads
        self._folder = tempfile.TemporaryDirectory()
        self.base = Path(self._folder.name) / MODEL
        self.name = ""

    def __enter__(self) -> Exporter:
        return self

    def __exit__(self, *fault: object) -> None:
        self._folder.cleanup()

    def make_base(self, module: object) -> None:
        """Write the float32 file from the module; raises ExportError where none is faithful."""
        candidate = self.trained.candidate
        self.name = export(module, candidate.in_channels, candidate.image_size_px, self.base, self._check_base)  # type: ignore[arg-type]

    def _check_base(self, path: Path) -> None:
        found = parity(path, self.data.splits["val"][0], self.expected["val"], self.trained.preprocess, FP32_PARITY, self.threads)
        if not found.passed:
            raise ExportError(f"its logits differ from PyTorch's by {found.max_abs_diff:.2g}, tolerance {found.tolerance:.2g}")

    def artifact(self, variant: Variant, folder: Path, key: str) -> Artifact:
        """Write one variant: model.onnx, predictions.npz and export.json in its folder.

        Raises:
            ExportError: this variant cannot be made.
        """
        start = time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / MODEL
        quantised = MAKERS[variant.precision](self, variant, path)
        spec, splits = self.trained.preprocess, self.data.splits
        found = parity(path, splits["val"][0], self.expected["val"], spec, variant.parity_tolerance, self.threads)
        logits = {split: onnx_logits(path, np.asarray(splits[split][0]), spec, self.threads) for split in SPLITS}
        labels = {split: np.asarray(splits[split][1]) for split in SPLITS}
        np.savez(folder / PREDICTIONS, **logits, **{f"{split}_labels": labels[split] for split in SPLITS})  # type: ignore[arg-type]
        opset, producer = facts(path)
        artifact = Artifact(
            key=key,
            candidate=self.trained.candidate,
            variant=variant.name,
            path=f"{variant.name}/{MODEL}",
            sha256=sha256_file(path),
            size_bytes=path.stat().st_size,
            opset=opset,
            exporter=self.name,
            producer=producer,
            dynamic_batch=True,
            quantised=quantised,
            parity=found,
            flips=flips(logits["test"], self.expected["test"]),
            performance=estimates(dict(logits), dict(labels), self.trained.performance_metric),
            performance_before=self.trained.performance,
            duration_s=time.perf_counter() - start,
        )
        write_record(folder / "export.json", artifact)
        return artifact


def _float32(exporter: Exporter, variant: Variant, path: Path) -> None:
    shutil.copyfile(exporter.base, path)


def _int8(exporter: Exporter, variant: Variant, path: Path) -> str:
    assert variant.quantise is not None  # the Variant's own validation
    pixels = exporter.data.splits["train"][0]
    count = min(variant.quantise.calibration_images, len(pixels))
    chosen = np.sort(np.random.default_rng(exporter.trained.seed).choice(len(pixels), size=count, replace=False))
    return quantise(exporter.base, path, to_tensor(pixels[chosen], exporter.trained.preprocess), variant.quantise)


MAKERS: dict[str, Callable[[Exporter, Variant, Path], str | None]] = {"float32": _float32, "int8": _int8}
