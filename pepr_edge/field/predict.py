"""Classify image files with a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pepr_edge.images.preprocess import load_tensor
from pepr_edge.measure.runtimes import RUNTIMES, Runtime
from pepr_edge.measure.selftest import model_file
from pepr_edge.records import Manifest, SessionSettings
from pepr_edge.tasks import task_of


@dataclass(frozen=True)
class Prediction:
    """The label that the model decides for, and the probability of each label."""

    label: str
    probabilities: dict[str, float]


class Classifier:
    """A bundle's model, held open."""

    def __init__(
        self, bundle: Path, manifest: Manifest, settings: SessionSettings, fallback: bool = False
    ) -> None:
        """Load the model, or the fallback beside it.

        Raises:
            BundleError: the bundle has no fallback.
            MeasurementError: the model cannot be loaded here.
        """
        self._manifest = manifest
        self._runtime: Runtime = RUNTIMES[settings.runtime]
        self._session: Any = self._runtime.open(bundle / model_file(bundle, manifest, fallback), settings)

    def __call__(self, image: Path) -> Prediction:
        """Classify an image file.

        Raises:
            ImageError: the file is missing, a folder, or not a readable image.
            DataError: a DICOM file, and the packages to read it are not installed.
        """
        logits = self._runtime.run(self._session, load_tensor([image], self._manifest.preprocess))
        task = task_of()
        probabilities = dict(zip(self._manifest.labels, task.probabilities(logits)[0].tolist(), strict=True))
        return Prediction(self._manifest.labels[int(task.decide(logits)[0])], probabilities)
