"""The quality gate: is an exported file as good as its model in float32, as far as the images can show?

A file is rejected if validation shows that it loses more than the threshold allows. It passes without a note
if enough of its decisions agree with float32's; otherwise it passes with a note.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pepr_edge.export.check import FP32_PARITY, MIN_SPREAD, Logits, flips
from pepr_edge.records import Agreement, Quality, SessionSettings
from pepr_edge.scoring.intervals import estimate, resample_counts
from pepr_edge.scoring.metrics import metric, resampled
from pepr_edge.scoring.resampling import Counts
from pepr_edge.tasks import DEFAULT_TASK, Rule, TaskKind, agree_by, task_of
from pepr_edge.text.units import percent

# Reported, not part of the gate: int8 may keep every decision and still degrade the probabilities.
REPORTED = ("accuracy", "auroc", "expected_calibration_error")
# A share that is below the threshold only because of rounding passes.
ROUNDING = 1e-9
CONFIDENCE = 0.95  # of all limits here, which are one-sided
# Agreement is looked at on all validation images, filled up to this number with training images. An agreement
# of 99 % is then shown if at most 4 decisions differ, as with 99.9 % of true agreement in 99.6 % of cases.
AGREEMENT_IMAGES = 1000


class KeptShare(NamedTuple):
    """The share of its model's performance that a file keeps, and the upper 95 % limit of the true share."""

    value: float
    upper: float


class LogitPair(NamedTuple):
    """Logits of a file, and of PyTorch in float32, for the same images, each of shape (n, classes)."""

    own: Logits
    expected: Logits


def assess_quality(
    logits: Logits,
    before: Logits,
    labels: NDArray[np.int64],
    performance: str,
    threshold: float,
    settings: SessionSettings,
    positive: int = 1,
    rule: Rule | None = None,
) -> Quality:
    """Judge by labels whether a file loses performance against its model. See `add_agreement` for the rest.

    Args:
        logits: of the file on validation, run as on the device, shape (n, classes).
        before: of PyTorch in float32, shape (n, classes).
        labels: shape (n,).
        performance: the metric that the ranking uses.
        threshold: the smallest accepted share of the model's own value, for this metric and the task's gate
            metric. The file is rejected if the upper 95 % limit of a share is below it.
        settings: how the file was run.
        positive: class number of the positive of two classes.
        rule: how decisions are compared, and the kind of task.
    Source: MLPerf Inference, the 99 % rule for accuracy after quantisation.
    """
    resamples: dict[bool, Counts] = {}
    kind = (rule or Rule()).kind
    gated = dict.fromkeys((performance, task_of(kind).GATE_METRIC))
    shares = {}
    for name in gated:
        share = kept_share(name, logits, before, labels, resamples, positive, kind)
        if share is not None:
            shares[name] = share
    estimates = {}
    reported = [name for name in REPORTED if name in task_of(kind).METRICS]
    for name in dict.fromkeys((*gated, *reported)):
        value = estimate(name, logits, labels, "val", resamples, positive, kind)
        if value is not None:
            estimates[name] = value
    reason = _loss(shares, threshold, len(labels))
    return Quality(
        settings=settings,
        threshold=threshold,
        performance=estimates,
        kept={name: share.value for name, share in shares.items()},
        kept_upper={name: share.upper for name, share in shares.items()},
        flips=flips(logits, before, "val", rule),
        passed=not reason,
        reason=reason,
    )


def is_lost(share: KeptShare, threshold: float) -> bool:
    """True if a loss beyond the threshold is shown."""
    return share.upper < threshold - ROUNDING


def _loss(shares: dict[str, KeptShare], threshold: float, images: int) -> str:
    lost = [
        f"{name} is {percent(share.value, 1)} of float32's "
        f"(with 95 % confidence at most {percent(share.upper, 1)})"
        for name, share in shares.items()
        if is_lost(share, threshold)
    ]
    if not lost:
        return ""
    return f"{' and '.join(lost)} on {images} validation images, expected at least {percent(threshold, 1)}"


def kept_share(
    name: str,
    logits: Logits,
    before: Logits,
    labels: NDArray[np.int64],
    resamples: dict[bool, Counts],
    positive: int = 1,
    kind: TaskKind = DEFAULT_TASK,
) -> KeptShare | None:
    """Return the kept share of a metric, None if it is not defined on these images.

    The limit is that of a paired bootstrap: file and model are resampled together. In simulation at 78 and
    100 images it was nearer to its level than a binomial test of the lost and gained decisions.

    Args:
        name: the metric.
        logits, before: of the file and of its model, shape (n, classes).
        labels: shape (n,).
        resamples: cache of the resamples of these labels, shared between metrics.
        positive: class number of the positive of two classes.
        kind: of task.
    """
    of_images = metric(name, positive, kind)
    value = _share(np.array([of_images(logits, labels)]), np.array([of_images(before, labels)]))[0]
    if math.isnan(value):
        return None
    # From all images, not within classes: there the only image of a class would be in every resample, and its
    # loss would look certain. `estimate` finds such resamples under True.
    if True not in resamples:
        resamples[True] = resample_counts(np.zeros(len(labels), np.int64))
    counts = resamples[True]
    drawn = _share(
        resampled(name, logits, labels, counts, positive, kind),
        resampled(name, before, labels, counts, positive, kind),
    )
    defined = drawn[~np.isnan(drawn)]
    upper = float(np.quantile(defined, CONFIDENCE)) if len(defined) else 1.0
    return KeptShare(float(value), max(float(value), upper))


def _share(values: NDArray[np.float64], model_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return file / model: NaN if either is undefined, 1 where the model itself has 0."""
    shares = np.where(np.isnan(values), np.nan, 1.0)
    shares[np.isnan(model_values)] = np.nan
    # The smallest value of a metric other than 0 is far above this: dividing by less could overflow.
    np.divide(values, model_values, out=shares, where=model_values > ROUNDING)
    return shares


def add_agreement(
    quality: Quality, validation: LogitPair, training: LogitPair, rule: Rule | None = None
) -> Quality:
    """Complete a judgement by the agreement of decisions with float32, for which no labels are needed.

    The agreement is shown if its lower 95 % limit is at least the threshold, or if all logits are the same up
    to rounding: the file then computes what the model does. Otherwise a file that passed has a note.

    Args:
        quality: the judgement by labels.
        validation: of all validation images.
        training: of drawn training images, maybe of none.
        rule: how decisions are compared.
    """
    found = agreement(validation, training, rule)
    shown = found.low >= quality.threshold - ROUNDING or _is_same(validation, training)
    note = "" if shown or not quality.passed else _note(found, quality.threshold)
    return quality.replace(agreement=found, shown=shown, note=note)


def agreement(validation: LogitPair, training: LogitPair, rule: Rule | None = None) -> Agreement:
    """Count the decisions that differ; see `add_agreement`.

    A model knows its training images, so a file may change fewer decisions there. If it clearly does, only
    the validation images count.
    """
    on_validation = _changed(validation, rule or Rule())
    on_training = _changed(training, rule or Rule())
    n_validation = len(validation.own)
    n_training = len(training.own)
    comparable = more_often(on_validation, n_validation, on_training, n_training) >= 1 - CONFIDENCE
    count = on_validation + on_training if comparable else on_validation
    n = n_validation + n_training if comparable else n_validation
    return Agreement(
        validation_flips=on_validation,
        validation_images=n_validation,
        training_flips=on_training,
        training_images=n_training,
        comparable=comparable,
        low=lower_limit(n - count, n),
    )


def _changed(pair: LogitPair, rule: Rule) -> int:
    return len(pair.own) - int(agree_by(pair.own, pair.expected, rule).sum())


def _is_same(*pairs: LogitPair) -> bool:
    """True if the logits differ from the model's by no more than those of a float32 file may."""
    own = np.concatenate([pair.own for pair in pairs]).astype(np.float64)
    expected = np.concatenate([pair.expected for pair in pairs]).astype(np.float64)
    limit = FP32_PARITY * max(float(expected.std()), MIN_SPREAD)
    return bool(np.abs(own - expected).max() <= limit)


def _note(found: Agreement, threshold: float) -> str:
    low = math.floor(1000 * found.low) / 10
    text = (
        f"that it keeps {percent(threshold, 1)} of float32's decisions could not be shown on "
        f"{found.images} images: {found.flips} differ, so with 95 % confidence at least {low:.1f} % agree"
    )
    if found.comparable:
        return text
    return f"{text}; training images do not count, since it changes fewer decisions on them"


def lower_limit(successes: int, n: int) -> float:
    """One-sided 95 % lower limit of a proportion. Source: Clopper and Pearson 1934."""
    failures = n - successes
    if successes == 0:
        return 0.0
    k = np.arange(failures + 1)
    ways = _log_choose(n, k)
    # Bisection: the more likely a failure, the less likely so few of them.
    low = failures / n
    high = 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if middle == high:
            break
        at_most = np.exp(ways + k * math.log(middle) + (n - k) * math.log1p(-middle)).sum()
        if at_most > 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return 1.0 - high


def more_often(count: int, n: int, other_count: int, other_n: int) -> float:
    """One-sided p-value that a first group has this many hits or more, if both groups are alike.

    Source: Fisher's exact test.
    """
    hits = count + other_count
    k = np.arange(count, min(hits, n) + 1)
    logs = _log_choose(n, k) + _log_choose(other_n, hits - k) - _log_choose(n + other_n, np.array([hits]))
    return min(1.0, float(np.exp(logs).sum()))


def _log_choose(n: int, k: NDArray[np.integer]) -> NDArray[np.float64]:
    """Logarithm of the binomial coefficients; minus infinity where k > n."""
    valid = np.minimum(k, n)
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in valid.tolist()]
    return np.where(k > n, -np.inf, np.array(logs))
