"""Limits beyond which an image is referred to a person: fitted on validation, and the figures at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pepr_edge.records import Decision, Estimate, ImageLimits, Refer, Split
from pepr_edge.scoring.intervals import exact_interval
from pepr_edge.scoring.rule import rule_of
from pepr_edge.tasks import Labels, Logits, Mask, Rule, decide_by
from pepr_edge.tasks.refer import (
    confidence,
    error_limit,
    referable,
    risk_by_coverage,
    share_limit,
    upper_limit,
)

Floats = NDArray[np.floating]
ReferKind = Literal["blank", "novelty", "confidence"]

# Of the images that may be referred, the share for being unlike the training images: what a model says of
# those means nothing, while an unsure decision comes with its probability.
NOVELTY_PART = 0.8
# The share of validation images for being unlike, where the recipe limits the error alone.
NOVELTY_SHARE = 0.05
# An image with less than this share of the contrast of flat validation images is blank. A few of these may be
# blank themselves.
BLANK_PART = 0.5
FLAT_QUANTILE = 0.01
# The figures: share of referred images, and accuracy on the others.
REFER_FIGURES = ("referred_share", "accuracy_if_answered")


class Observed(NamedTuple):
    """What is known of the images of a split, each of shape (n, ...); None: not measured.

    `contrast` is that of the pixels which the model sees, see `pepr_edge.images.unlike`.
    """

    logits: Logits
    labels: Labels
    novelty: Floats | None
    contrast: Floats | None


def fit_refer(
    decision: Decision,
    validation: Observed,
    names: Sequence[str],
    share: float | None,
    max_error: float | None,
    images: ImageLimits | None = None,
    no_novelty: str = "",
) -> Refer:
    """Fit the limits: first novelty, then confidence on what is left.

    Args:
        decision: of the file, fitted.
        validation: the file's answers, n >= 1.
        names: of the classes.
        share: of images like these that may be referred, with 95 % confidence (see `referable`); None: as
            many as keep `max_error`.
        max_error: share of wrong decisions among the images that are answered.
        images: what the training images have in common; the contrast is added.
        no_novelty: why the file has no novelty; empty if it has.
    """
    asked = f"refer_share = {share:g}" if share is not None else f"max_error = {max_error:g}"
    limits = images or ImageLimits()
    if validation.contrast is not None:
        flat = float(np.quantile(validation.contrast, FLAT_QUANTILE))
        limits = limits.replace(min_contrast=BLANK_PART * flat)
    n = len(validation.logits)
    allowed = 0
    if share is not None:
        allowed = referable(share, n, 1 if validation.novelty is None else 2) or 0
    max_novelty = None
    if validation.novelty is not None:
        unlike = int(NOVELTY_SHARE * n) if share is None else int(NOVELTY_PART * allowed)
        max_novelty = upper_limit(validation.novelty.astype(np.float64), unlike)
    refer = Refer(asked=asked, max_novelty=max_novelty, no_novelty=no_novelty, images=limits)
    rule = rule_of(decision, names)
    sure = confidence(validation.logits, rule)
    others = reasons(decision.replace(refer=refer), validation, names) != ""
    if share is not None:
        limit = share_limit(sure, others, allowed)
    else:
        assert max_error is not None  # the recipe has one of both
        wrong = ~_correct(validation.logits, validation.labels, rule)
        limit = error_limit(sure, wrong, others, max_error)
    return refer.replace(min_confidence=limit)


def reasons(decision: Decision, observed: Observed, names: Sequence[str]) -> NDArray[np.str_]:
    """Return why each image is referred, one of ReferKind, shape (n,); empty for those that are not."""
    found = np.full(len(observed.logits), "", dtype="<U10")
    refer = decision.refer
    if refer is None:
        return found
    if refer.min_confidence is not None:
        found[confidence(observed.logits, rule_of(decision, names)) < refer.min_confidence] = "confidence"
    if refer.max_novelty is not None and observed.novelty is not None:
        found[observed.novelty > refer.max_novelty] = "novelty"
    if observed.contrast is not None:
        found[observed.contrast < refer.images.min_contrast] = "blank"
    return found


def at_refer(
    decision: Decision, observed: Mapping[Split, Observed], names: Sequence[str]
) -> dict[str, Estimate]:
    """Return the figures of referred images: `<name>` on test and `val_<name>` on validation.

    The accuracy on the other images is absent if there are none. Intervals are exact (Clopper and Pearson).
    """
    figures: dict[str, Estimate] = {}
    rule = rule_of(decision, names)
    for split, of_split in observed.items():
        answered = reasons(decision, of_split, names) == ""
        hits = _correct(of_split.logits, of_split.labels, rule) & answered
        counts = ((int((~answered).sum()), len(answered)), (int(hits.sum()), int(answered.sum())))
        for name, (count, n) in zip(REFER_FIGURES, counts, strict=True):
            if n:
                estimate = Estimate(value=count / n, ci=exact_interval(count, n), split=split, n=n)
                figures[name if split == "test" else f"{split}_{name}"] = estimate
    return figures


def _correct(logits: Logits, labels: Labels, rule: Rule) -> Mask:
    """True for each image of which everything is decided as its label says, shape (n,)."""
    same = decide_by(logits, rule) == labels
    return np.asarray(same.all(axis=1) if same.ndim == 2 else same)


def coverage_curve(
    decision: Decision, observed: Observed, names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of answered images, and the share of wrong decisions among them, each shape (n,).

    The surest decisions are answered first, and those on images unlike the training images last.
    """
    rule = rule_of(decision, names)
    sure = confidence(observed.logits, rule)
    unlike = np.isin(reasons(decision, observed, names), ("blank", "novelty"))
    wrong = ~_correct(observed.logits, observed.labels, rule)
    risk = risk_by_coverage(sure - unlike, wrong)
    return np.arange(1, len(risk) + 1) / len(risk), risk
