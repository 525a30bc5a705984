"""How models do on the labelled images of a site: confusion, metrics, calibration and subgroups.

Every figure is at the decision that is stored in the bundle: nothing is fitted on these images. The report
names no image, no path and no patient, and hides small numbers (`records.evaluation`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pepr_edge.device.facts import facts
from pepr_edge.errors import BundleError, DataError, ImageError, MeasurementError, NoAnswerError
from pepr_edge.field.labelled import LabelledImages, class_targets, finding_targets, group_columns
from pepr_edge.field.predict import Classifier, Prediction
from pepr_edge.field.report_checksum import with_checksum
from pepr_edge.measure.bundle_model import model_file
from pepr_edge.measure.inference_process import InferenceProcess
from pepr_edge.records import (
    MAX_LABELS,
    MIN_CELL,
    CalibrationResult,
    Decision,
    Estimate,
    EvaluationReport,
    EvaluationResult,
    Figure,
    Manifest,
    Referred,
    SessionSettings,
)
from pepr_edge.run_dir.store import write_bytes, write_record
from pepr_edge.scoring.file_figures import all_figures, group_figures
from pepr_edge.scoring.intervals import exact_interval
from pepr_edge.scoring.metrics import confusion
from pepr_edge.scoring.operating_point import CALIBRATED
from pepr_edge.scoring.refer import REFER_FIGURES
from pepr_edge.scoring.rule import rule_of
from pepr_edge.scoring.subgroups import cell, figure, subgroups
from pepr_edge.signing import signatures
from pepr_edge.signing.key_files import Signer
from pepr_edge.tasks import Labels, Logits, Mask, calibrated, decide_by
from pepr_edge.untrusted.files import RECORD_BYTES, content
from pepr_edge.untrusted.shown import shown

# Images by true class and decision; None is hidden.
Matrix = tuple[tuple[int | None, ...], ...]
# Called with the number of the bundle and the number of its images that are done.
Progress = Callable[[int, int], None]

HIDDEN = (
    f"Numbers of fewer than {MIN_CELL} images are null, and groups of fewer are not named. A reader who "
    "knows the number of images may still work out a single hidden number from the others and the metrics."
)
NO_DECISION = (
    "The bundle stores no decision (version 0.1): the highest logit decides, and probabilities are not "
    "calibrated."
)


REFERRED_SHARE, ACCURACY_OF_OTHERS = REFER_FIGURES


class Subject(NamedTuple):
    """A bundle to be evaluated, with its runtime settings. `fallback`: its fallback instead."""

    folder: Path
    manifest: Manifest
    settings: SessionSettings
    fallback: bool = False


class Faults(NamedTuple):
    """Images without a figure: messages for the user on the site, never for a report."""

    unreadable: list[str]
    unanswered: list[str]
    bundles: list[str]


class _Answers(NamedTuple):
    """Logits of the images that have an answer, and the position of each in the list of images.

    `referrals`: the kind of the reason why an image is referred to a person, empty for those that are not.
    """

    logits: NDArray[np.float32]
    positions: NDArray[np.int64]
    referrals: NDArray[np.str_]
    unreadable: int
    unanswered: int


def evaluate(
    subjects: Sequence[Subject],
    images: LabelledImages,
    groups: Sequence[str],
    faults: Faults,
    progress: Progress | None = None,
) -> EvaluationReport:
    """Run each bundle on the images of a site.

    Args:
        subjects: the bundles.
        images: with their labels.
        groups: columns of the table by which results are given for subgroups, beside those of the bundle.
        faults: receives what went wrong; the other images and bundles go on.
        progress: called after each image.
    Raises:
        DataError: the labels or columns do not fit a bundle, or a package to read an image is missing.
    """
    # All before the first image is run.
    targets = [_targets(subject, images) for subject in subjects]
    columns = [group_columns(images, groups, _known_groups(subject)) for subject in subjects]
    results = []
    with InferenceProcess() as process:
        for number, subject in enumerate(subjects):
            try:
                classify = Classifier(
                    subject.folder, subject.manifest, subject.settings, process, subject.fallback
                )
                done = None if progress is None else partial(progress, number)
                answers = _answers(classify, images, faults, done)
                results.append(_result(subject, answers, targets[number], columns[number]))
            except (BundleError, MeasurementError) as error:
                faults.bundles.append(f"{shown(subject.folder.resolve().name)}: {error}")
    return with_checksum(EvaluationReport(device=facts(), results=tuple(results)))


def _known_groups(subject: Subject) -> list[str]:
    """Return the columns for which the bundle has results of subgroups at home."""
    return [column.column for column in subject.manifest.subgroups]


def _targets(subject: Subject, images: LabelledImages) -> Labels:
    """Return the labels of the images as a bundle numbers them."""
    names = subject.manifest.labels
    if len(names) > MAX_LABELS:
        raise DataError(
            f"{shown(subject.folder.resolve().name)}: {len(names):,} labels, expected at most {MAX_LABELS:,} "
            "for a report. Leave this bundle out."
        )
    rule = rule_of(subject.manifest.decision_of(subject.fallback), names)
    of_images = finding_targets if rule.kind == "multilabel" else class_targets
    return of_images(images, names)


def write(out: Path, report: EvaluationReport, signer: Signer | None = None) -> None:
    """Write a report, and its signature beside it if there is a signer.

    Args:
        out: the file; `bench.check_out` said that it may be replaced.
        report: with its checksum.
        signer: signs the file; None: nobody does.
    Raises:
        MeasurementError: it cannot be written.
    """
    path = out
    try:
        write_record(out, report)
        if signer is not None:
            path = signatures.signature_path(out)
            write_bytes(path, signatures.sign(content(out, RECORD_BYTES), signer, signatures.REPORT))
    except OSError as error:
        reason = error.strerror or error
        raise MeasurementError(
            f"{path}: cannot be written ({reason}). Check the path, its permissions and the free disk space."
        ) from None


def _answers(
    classify: Classifier, images: LabelledImages, faults: Faults, progress: Callable[[int], None] | None
) -> _Answers:
    """Run one model on all images.

    Raises:
        MeasurementError: too few images have an answer for a report that stands for no single patient.
    """
    logits = []
    positions = []
    referrals = []
    unreadable = []
    unanswered = []
    for position, path in enumerate(images.paths):
        try:
            prediction = classify(path)
            logits.append(prediction.logits[0])
            positions.append(position)
            referrals.append(_referral(prediction))
        except ImageError as error:
            unreadable.append(str(error))
        except NoAnswerError as error:
            unanswered.append(f"{shown(str(path))}: no answer: {error}")
        if progress is not None:
            progress(position + 1)
    for known, new in ((faults.unreadable, unreadable), (faults.unanswered, unanswered)):
        known += [message for message in new if message not in known]
    if len(logits) < MIN_CELL:
        raise MeasurementError(
            f"{len(logits)} images with an answer, expected at least {MIN_CELL}: figures of fewer would "
            "stand for single patients. Add labelled images."
        )
    return _Answers(
        np.stack(logits), np.array(positions), np.array(referrals), len(unreadable), len(unanswered)
    )


def _referral(prediction: Prediction) -> str:
    """Return the kind of the reason why an image is referred; empty if the model decides."""
    return "" if prediction.referral is None else prediction.referral.kind


def _result(
    subject: Subject, answers: _Answers, targets: Labels, columns: Mapping[str, Sequence[str]]
) -> EvaluationResult:
    manifest = subject.manifest
    names = manifest.labels
    labels = targets[answers.positions]
    stored = manifest.decision_of(subject.fallback)
    decision = stored or Decision(positive=names[1] if len(names) == 2 else None)
    rule = rule_of(decision, names)
    decisions = decide_by(answers.logits, rule)
    metrics = {
        name: figure(value) for name, value in all_figures(decision, answers.logits, labels, names).items()
    }
    referred = None
    if decision.refer is not None:
        metrics |= _figures_of_referring(answers, decisions == labels)
        referred = _referred(answers, decision, labels, names, metrics[REFERRED_SHARE])
    of_groups = {}
    for name, values in columns.items():
        of_groups[name] = [values[position] for position in answers.positions]

    def of_some(images: Mask) -> dict[str, Estimate | None]:
        return group_figures(
            decision, answers.logits[images], labels[images], names, manifest.performance_metric
        )

    return EvaluationResult(
        bundle=shown(subject.folder.resolve().name),
        artifact_sha256=manifest.files[model_file(subject.folder, manifest, subject.fallback)],
        runtime=subject.settings.runtime,
        fallback=subject.fallback,
        task="binary" if decision.positive is not None else rule.kind,
        labels=names,
        decision=stored,
        n=len(labels),
        unreadable=answers.unreadable,
        unanswered=answers.unanswered,
        metrics=metrics,
        confusion=_cells(confusion(decisions, labels, len(names))),
        calibration=_calibration(answers.logits, decisions, labels, decision, names, metrics),
        referred=referred,
        subgroups=subgroups(of_groups, of_some, manifest.performance_metric),
        notes=(HIDDEN,) if stored is not None else (HIDDEN, NO_DECISION),
    )


def _figures_of_referring(answers: _Answers, right: NDArray[np.bool_]) -> dict[str, Figure | None]:
    """Return the share of referred images, and the accuracy on the others, by their names in a manifest."""
    answered = answers.referrals == ""
    hits = (right if right.ndim == 1 else right.all(axis=1)) & answered
    counts = {
        REFERRED_SHARE: (int((~answered).sum()), len(answered)),
        ACCURACY_OF_OTHERS: (int(hits.sum()), int(answered.sum())),
    }
    return {name: _share(count, n) for name, (count, n) in counts.items()}


def _share(count: int, n: int) -> Figure | None:
    return Figure(value=count / n, ci=exact_interval(count, n)) if n >= MIN_CELL else None


def _referred(
    answers: _Answers, decision: Decision, labels: Labels, names: Sequence[str], share: Figure | None
) -> Referred:
    """Return how many images are referred and why, and how the model does on the others."""
    answered = answers.referrals == ""
    kinds, counts = np.unique(answers.referrals[~answered], return_counts=True)
    others: dict[str, Figure | None] = {}
    if answered.sum() >= MIN_CELL:
        figures = all_figures(decision, answers.logits[answered], labels[answered], names)
        others = {name: figure(value) for name, value in figures.items()}
    return Referred(
        n=cell(int((~answered).sum())),
        share=share,
        reasons={str(kind): cell(int(count)) for kind, count in zip(kinds, counts, strict=True)},
        metrics_of_others=others,
    )


def _cells(counts: NDArray[np.int64]) -> Matrix | tuple[Matrix, ...]:
    """Return a confusion as a report holds it."""
    if counts.ndim == 3:
        return tuple(_table(counts_of_label) for counts_of_label in counts)
    return _table(counts)


def _table(counts: NDArray[np.int64]) -> Matrix:
    return tuple(tuple(cell(count) for count in row) for row in counts.tolist())


def _calibration(
    logits: Logits,
    decisions: Labels,
    labels: Labels,
    decision: Decision,
    names: Sequence[str],
    metrics: Mapping[str, Figure | None],
) -> CalibrationResult:
    probabilities = calibrated(logits, rule_of(decision, names))
    if decisions.ndim == 2:
        chosen = np.where(decisions == 1, probabilities, 1 - probabilities)
    else:
        chosen = probabilities[np.arange(len(decisions)), decisions]
    return CalibrationResult(
        error=metrics.get(CALIBRATED),
        mean_probability=float(np.clip(chosen.mean(), 0, 1)),
        share_correct=float((decisions == labels).mean()),
    )
