"""Classify image files with a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pepr_edge.images.preprocess import load_tensor
from pepr_edge.measure.runtimes import RUNTIMES, Runtime
from pepr_edge.measure.selftest import file_of
from pepr_edge.records import Manifest, SessionSettings
from pepr_edge.scoring.metrics import softmax


@dataclass(frozen=True)
class Prediction:
    """The label decided for, and the probability of each label."""

    label: str
    probabilities: dict[str, float]


class Classifier:
    """A bundle's model, held open."""

    def __init__(
        self, bundle: Path, manifest: Manifest, settings: SessionSettings, fallback: bool = False
    ) -> None:
        """Load the model, or the fallback beside it.

        Raises:
            BundleError: it has no fallback.
            MeasurementError: it cannot be loaded here.
        """
        self._manifest = manifest
        self._runtime: Runtime = RUNTIMES[settings.runtime]
        self._session: Any = self._runtime.open(bundle / file_of(bundle, manifest, fallback), settings)

    def __call__(self, image: Path) -> Prediction:
        """Classify an image file.

        Raises:
            ImageError: it is missing, a folder, or no image that can be read.
            DataError: a DICOM file, and what is needed to read it is not installed.
        """
        logits = self._runtime.run(self._session, load_tensor([image], self._manifest.preprocess))
        probabilities = dict(zip(self._manifest.labels, softmax(logits)[0].tolist(), strict=True))
        return Prediction(self._manifest.labels[int(logits[0].argmax())], probabilities)
