"""Classify image files with a bundle."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pepr_edge.images.preprocess import Loaded, load, to_tensor
from pepr_edge.images.unlike import unlike
from pepr_edge.measure.bundle_model import bundle_model
from pepr_edge.measure.inference_process import Answer, InferenceProcess
from pepr_edge.records import Manifest, SessionSettings
from pepr_edge.scoring.rule import rule_of
from pepr_edge.tasks import calibrated, decide_by
from pepr_edge.tasks.refer import confidence

# Label of an image on which the model names none of its findings.
NO_FINDING = "no finding"


class Referral(NamedTuple):
    """The reason why a person has to decide about an image.

    kind: "size", "blank", "colour", "novelty" or "confidence".
    reason: the same in words, to end a sentence with.
    """

    kind: str
    reason: str


@dataclass(frozen=True)
class Prediction:
    """The decision of a model about one image.

    label: that the model decides for; several findings are separated by commas.
    probabilities: of each label, calibrated if the bundle has a temperature.
    logits: output of the model, shape (1, classes).
    findings: the labels that the model names if an image may have several; None if it has one.
    referral: why a person has to decide in place of the model; None if the label is final.
    """

    label: str
    probabilities: dict[str, float]
    logits: NDArray[np.float32] = field(compare=False, repr=False)
    findings: tuple[str, ...] | None = None
    referral: Referral | None = None


class Classifier:
    """A bundle's model, loaded into a process that runs models.

    decision: temperature and threshold of the file in use; None for a bundle without.
    """

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
            settings: runtime, provider, threads and so on.
            process: runs the model.
            fallback: load the fallback in place of the model.
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
        loaded = load(image, self._manifest.preprocess)
        answer = self._process.answer(to_tensor(loaded.pixels[None], self._manifest.preprocess))
        return replace(self._prediction(answer.logits), referral=self._referral(loaded, answer))

    def _referral(self, loaded: Loaded, answer: Answer) -> Referral | None:
        """Return why a person is to decide about an image; None for a bundle that refers none."""
        refer = None if self.decision is None else self.decision.refer
        if refer is None:
            return None
        difference = unlike(loaded.image, loaded.pixels, refer.images)
        if difference is not None:
            return Referral(difference.kind, difference.reason)
        if answer.novelty is not None and refer.max_novelty is not None:
            novelty = float(answer.novelty[0])
            if novelty > refer.max_novelty:
                limits = f"novelty {novelty:.3g}, limit {refer.max_novelty:.3g}"
                return Referral("novelty", f"unlike the training images ({limits})")
        certainty = float(confidence(answer.logits, self._rule)[0])
        if refer.min_confidence is not None and certainty < refer.min_confidence:
            limits = f"{certainty:.3f}, limit {refer.min_confidence:.3f}"
            return Referral("confidence", f"not sure enough ({limits})")
        return None

    def _prediction(self, logits: NDArray[np.float32]) -> Prediction:
        """Return label and probabilities by the logits of one image, without a referral."""
        labels = self._manifest.labels
        probabilities = dict(zip(labels, calibrated(logits, self._rule)[0].tolist(), strict=True))
        decided = decide_by(logits, self._rule)[0]
        if self._manifest.kind == "multilabel":
            findings = tuple(label for label, named in zip(labels, decided.tolist(), strict=True) if named)
            return Prediction(", ".join(findings) or NO_FINDING, probabilities, logits, findings)
        return Prediction(labels[int(decided)], probabilities, logits)
