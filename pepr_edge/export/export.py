"""The export stage: TrainResult -> [Artifact]."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pepr_edge.errors import ExportError, MeasurementError
from pepr_edge.export.artifact import MODEL, ExportSource, Origin, write_artifact
from pepr_edge.export.check import (
    FP32_PARITY,
    PARITY_IMAGES,
    Logits,
    logits_of,
    max_difference,
    parity,
    parity_fault,
)
from pepr_edge.export.convert import convert
from pepr_edge.export.deployed_form import DeployedForm, export_deployed
from pepr_edge.export.onnx_file import Exported
from pepr_edge.export.prepare import PreparedModel
from pepr_edge.export.program import write_program
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.measure.runtimes.pytorch import PROGRAM
from pepr_edge.recipe.variants import Variant
from pepr_edge.records import Artifact, SessionSettings

BATCH = 64  # of PyTorch; its decisions do not depend on it


class Exporter:
    """Holds a candidate's float32 ONNX file open while its variants are made."""

    def __init__(self, source: ExportSource, threads: int) -> None:
        """Create a temporary folder for the float32 file.

        Args:
            source: the candidate, trained.
            threads: of the sessions that check the files.
        """
        self.source = source
        self.threads = threads
        self._open = ExitStack()
        self.base = Path(self._open.enter_context(tempfile.TemporaryDirectory())) / MODEL
        self._prepared = self._open.enter_context(PreparedModel(self.base))
        self.exported = Exported("", False)
        self.deployed: DeployedForm | None = None
        self.drawn: Logits | None = None  # PyTorch's, of the drawn training images

    def __enter__(self) -> Exporter:
        return self

    def __exit__(self, *fault: object) -> None:
        self._open.close()

    def make_base(self, module: nn.Module) -> None:
        """Write the float32 file of the module's deployed form.

        Args:
            module: as it was trained; it stays so.
        Raises:
            ExportError: no exporter's file agrees with PyTorch.
        """
        source = self.source
        self.drawn = self._run(module, source.drawn())
        images = to_tensor(source.pixels("val")[:PARITY_IMAGES], source.trained.preprocess)
        limit = max_difference(source.expected["val"], FP32_PARITY)
        self.deployed, self.exported = export_deployed(module, images, limit, self.base, self._check_base)
        if source.recipe.device.runtime == "pytorch":
            write_program(self.deployed.module, images, limit, self.base.parent)

    def _run(self, module: nn.Module, pixels: NDArray[np.uint8]) -> Logits:
        """Return PyTorch's logits of images, shape (n, classes)."""
        spec = self.source.trained.preprocess
        logits = [np.empty((0, self.source.trained.candidate.num_classes), np.float32)]
        module.eval()
        with torch.inference_mode():
            for start in range(0, len(pixels), BATCH):
                images = to_tensor(pixels[start : start + BATCH], spec)
                logits.append(module(torch.from_numpy(images)).numpy())
        return np.concatenate(logits)

    def _check_base(self, path: Path) -> None:
        source = self.source
        pixels = source.pixels("val")
        expected = source.expected["val"]
        result = parity(path, pixels, expected, source.trained.preprocess, FP32_PARITY, self.threads)
        fault = parity_fault(result)
        if fault is not None:
            raise ExportError(fault)

    def artifact(self, variant: Variant, folder: Path, key: str) -> Artifact:
        """Write one variant: model.onnx, predictions.npz and export.json in its folder.

        Raises:
            ExportError, MeasurementError: this variant cannot be made, or does not run.
        """
        started_s = time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True)
        assert self.deployed is not None  # `make_base` comes first
        made = convert(variant, self._prepared, folder / MODEL, self._images(variant), self._keeps_quality)
        program = self.base.with_name(PROGRAM)
        if program.is_file():
            shutil.copyfile(program, folder / PROGRAM)
        origin = Origin(
            variant=variant.name,
            parity_tolerance=variant.parity_tolerance,
            exporter=self.exported.exporter,
            simplified=self.exported.simplified,
            form=self.deployed.form,
            form_note=self.deployed.note,
            remedy=made.remedy,
            notes=made.notes,
        )
        return write_artifact(self.source, origin, folder, key, self._settings(), started_s, self.drawn)

    def _settings(self) -> SessionSettings:
        """Return the device's settings with threads of this machine, on which the logits do not depend."""
        settings = self.source.recipe.device.settings()
        threads = self.threads
        if settings.runtime != "onnxruntime":
            # Another runtime may refuse more threads than the recipe asks for.
            threads = min(threads, settings.threads)
        return settings.model_copy(update={"threads": threads})

    def _images(self, variant: Variant) -> NDArray[np.float32]:
        """Return the training images for calibration."""
        count = 0 if variant.quantise is None else variant.quantise.calibration_images
        return to_tensor(self.source.calibration(count), self.source.trained.preprocess)

    def _keeps_quality(self, path: Path) -> bool:
        """Return True if an unfinished file keeps the quality."""
        source = self.source
        settings = self._settings()
        try:
            logits = logits_of(path, source.pixels("val"), source.trained.preprocess, settings)
        except (ExportError, MeasurementError):
            return False
        return source.assess_quality(logits, settings).passed
