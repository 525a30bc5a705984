"""The export stage: TrainResult -> [Artifact]."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from pepr_edge.errors import ExportError, MeasurementError
from pepr_edge.export.artifact import MODEL, ExportSource, Origin, write_artifact
from pepr_edge.export.check import logits_of, parity
from pepr_edge.export.convert import convert
from pepr_edge.export.onnx_file import Exported, export
from pepr_edge.export.prepare import Prepared
from pepr_edge.export.program import write_program
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.measure.runtimes.pytorch import PROGRAM
from pepr_edge.recipe.variants import Variant
from pepr_edge.records import Artifact, SessionSettings

FP32_PARITY = 1e-3  # of the base file that all variants are made of, in standard deviations of the logits


class Exporter:
    """Holds a candidate's float32 ONNX file open for the variants that are made of it."""

    def __init__(self, source: ExportSource, threads: int) -> None:
        """Take the candidate as trained; `threads` are those of the sessions that check."""
        self.source, self.threads = source, threads
        self._open = ExitStack()
        self.base = Path(self._open.enter_context(tempfile.TemporaryDirectory())) / MODEL
        self._prepared = self._open.enter_context(Prepared(self.base))
        self.exported = Exported("", False)

    def __enter__(self) -> Exporter:
        return self

    def __exit__(self, *fault: object) -> None:
        self._open.close()

    def make_base(self, module: nn.Module) -> None:
        """Write the float32 file from the module; raises ExportError where none is faithful."""
        candidate = self.source.trained.candidate
        self.exported = export(
            module, candidate.in_channels, candidate.image_size_px, self.base, self._check_base
        )
        if self.source.recipe.device.runtime == "pytorch":
            write_program(module, candidate.in_channels, candidate.image_size_px, self.base.parent)

    def _check_base(self, path: Path) -> None:
        pixels, expected = self.source.pixels("val"), self.source.expected["val"]
        found = parity(path, pixels, expected, self.source.trained.preprocess, FP32_PARITY, self.threads)
        if not found.passed:
            raise ExportError(
                f"its logits differ from PyTorch's by {found.max_abs_diff:.2g}, tolerance {found.tolerance:.2g}"
            )

    def artifact(self, variant: Variant, folder: Path, key: str) -> Artifact:
        """Write one variant: model.onnx, predictions.npz and export.json in its folder.

        Raises:
            ExportError, MeasurementError: this variant cannot be made, or does not run.
        """
        begin = time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True)
        made = convert(variant, self._prepared, folder / MODEL, self._images(variant), self._accept)
        program = self.base.with_name(PROGRAM)
        if program.is_file():
            shutil.copyfile(program, folder / PROGRAM)
        origin = Origin(
            variant=variant.name,
            parity_tolerance=variant.parity_tolerance,
            exporter=self.exported.exporter,
            simplified=self.exported.simplified,
            remedy=made.remedy,
            notes=made.notes,
        )
        return write_artifact(self.source, origin, folder, key, self._settings(), begin)

    def _settings(self) -> SessionSettings:
        """As on the device, but with all the threads that there are here: what it answers does not depend on them."""
        return self.source.recipe.device.settings().model_copy(update={"threads": self.threads})

    def _images(self, variant: Variant) -> NDArray[np.float32]:
        """Training images to calibrate on."""
        count = 0 if variant.quantise is None else variant.quantise.calibration_images
        return to_tensor(self.source.calibration(count), self.source.trained.preprocess)

    def _accept(self, path: Path) -> bool:
        """Whether a file that is still being made keeps its quality."""
        source, settings = self.source, self._settings()
        try:
            logits = logits_of(path, source.pixels("val"), source.trained.preprocess, settings)
        except (ExportError, MeasurementError):
            return False
        return source.judge(logits, settings).passed
