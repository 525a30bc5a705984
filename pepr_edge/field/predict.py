"""Classify image files with a bundle."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pepr_edge.images.preprocess import load_tensor
from pepr_edge.measure.bundle_model import bundle_model
from pepr_edge.measure.inference_process import InferenceProcess
from pepr_edge.records import Manifest, SessionSettings
from pepr_edge.scoring.rule import rule_of
from pepr_edge.tasks import calibrated, decide_by

# The label of an image for which none of several findings is named.
NO_FINDING = "no finding"


@dataclass(frozen=True)
class Prediction:
    """The label that the model decides for, and the probability of each label, calibrated if it can be.

    `findings` are all labels that it names, if an image may have several; None if it has one.
    `logits` are the model's own, shape (1, classes).
    """

    label: str
    probabilities: dict[str, float]
    logits: NDArray[np.float32] = field(compare=False, repr=False)
    findings: tuple[str, ...] | None = None


class Classifier:
    """A bundle's model, held open in a process that runs models. `decision`: that of its file."""

    def __init__(
        self,
        bundle: Path,
        manifest: Manifest,
        settings: SessionSettings,
        process: InferenceProcess,
        fallback: bool = False,
    ) -> None:
        """Load the model, or the fallback beside it.

        Args:
            bundle: the folder.
            manifest: its manifest.
            settings: how to run the runtime.
            process: runs the model.
            fallback: use the fallback.
        Raises:
            BundleError: the bundle has no fallback.
            MeasurementError: the model cannot be loaded here, or does not fit the manifest.
        """
        self._manifest = manifest
        self._process = process
        self.decision = manifest.decision_of(fallback)
        self._rule = rule_of(self.decision, manifest.labels)
        process.open(bundle_model(bundle, manifest, settings, fallback))

    def __call__(self, image: Path) -> Prediction:
        """Classify an image file.

        Raises:
            ImageError: the file is missing, a folder, or not a readable image.
            DataError: a DICOM file, and the packages to read it are not installed.
            NoAnswerError: the model gives no finite logits for this image.
        """
        logits = self._process.logits(load_tensor([image], self._manifest.preprocess))
        labels = self._manifest.labels
        probabilities = dict(zip(labels, calibrated(logits, self._rule)[0].tolist(), strict=True))
        decided = decide_by(logits, self._rule)[0]
        if self._manifest.kind == "multilabel":
            findings = tuple(label for label, named in zip(labels, decided.tolist(), strict=True) if named)
            return Prediction(", ".join(findings) or NO_FINDING, probabilities, logits, findings)
        return Prediction(labels[int(decided)], probabilities, logits)
