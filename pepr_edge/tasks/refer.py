"""When an image is referred to a person: how sure a decision is, and the limits. Needs numpy alone."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pepr_edge.tasks.decision import Floats, Rule, calibrated, decide_by
from pepr_edge.tasks.task import Logits, Mask

# Beyond this, a probability is 0 or 1 in floating point.
MAX_LOG_ODDS = 700.0
# The probability that more images are referred than the recipe says, of images like those of validation.
MISS = 0.05


def confidence(logits: Logits, rule: Rule) -> Floats:
    """Return how sure each decision is, shape (n,).

    It is the calibrated probability of the class that the rule decides for. With a threshold, the odds of the
    positive class are first divided by the threshold's odds, so that an image at the threshold has 0.5. Of
    several findings, it is that of the least sure one.
    """
    probabilities = calibrated(logits, rule)
    if rule.kind == "multilabel":
        thresholds = np.array(rule.thresholds or (0.5,))
        return np.asarray(_sure(probabilities, thresholds).min(axis=1))
    if rule.threshold is not None:
        return np.asarray(_sure(probabilities[:, rule.positive], np.array(rule.threshold)))
    decided = decide_by(logits, rule)
    return np.asarray(probabilities[np.arange(len(logits)), decided])


def _sure(probability: Floats, threshold: Floats) -> Floats:
    """Return the probability of the decision, with the odds divided by those of the threshold.

    1 where a threshold of 0 or 1 gives one answer for all images.
    """
    with np.errstate(divide="ignore"):
        odds = np.clip(np.log(probability) - np.log1p(-probability), -MAX_LOG_ODDS, MAX_LOG_ODDS)
        border = np.log(threshold) - np.log1p(-threshold)
    border = np.where(np.isfinite(border), border, -np.inf)
    return np.asarray(1 / (1 + np.exp(-np.abs(odds - border))))


def referable(share: float, n: int, limits: int) -> int | None:
    """Return how many validation images may be referred, so that at most `share` of all such images are.

    At limits that refer k of n images, the share of all such images is distributed as
    Beta(k + limits, n + 1 - k - limits) or lower, however they are distributed: each limit lies in the gap
    between two images and so may refer one gap more. It is above `share` with a probability of at most 5 %.

    Args:
        share: in (0, 1).
        n: validation images.
        limits: how many limits are fitted one after the other.
    Returns:
        None if n images are too few to show it even if none of them is referred.
    Source: Wilks 1941, Determination of sample sizes for setting tolerance limits; Tukey 1947, Non-parametric
    estimation II, for limits that are fitted on what others have left.
    """
    if n * math.log1p(-share) > math.log(MISS):
        return None
    k = np.arange(n + 1)
    ways = math.lgamma(n + 1) - np.array([math.lgamma(i + 1) + math.lgamma(n - i + 1) for i in k.tolist()])
    at_most = np.exp(ways + k * math.log(share) + (n - k) * math.log1p(-share)).cumsum()
    return max(0, int((at_most <= MISS).sum()) - limits)


def fewest_images(share: float) -> int:
    """Return how many validation images `referable` needs."""
    return math.ceil(math.log(MISS) / math.log1p(-share))


def upper_limit(values: Floats, max_above: int) -> float:
    """Return the limit that at most `max_above` values exceed, in the middle of its gap.

    Args:
        values: finite, shape (n,), n >= 1.
        max_above: fewer than n.
    """
    ordered = np.sort(values)[::-1]
    if max_above == 0:
        return float(ordered[0])
    return float((ordered[max_above - 1] + ordered[max_above]) / 2)


def share_limit(sure: Floats, referred: Mask, max_referred: int) -> float | None:
    """Return the lowest confidence that is answered, if at most `max_referred` images are to be referred.

    Args:
        sure: confidence of the decisions, shape (n,).
        referred: images that are referred for another reason.
        max_referred: these included.
    Returns:
        None if no more image may be referred.
    """
    more = max_referred - int(referred.sum())
    others = sure[~referred]
    if more < 1 or len(others) == 0:
        return None
    return -upper_limit(-others, min(more, len(others) - 1))


def error_limit(sure: Floats, wrong: Mask, referred: Mask, max_error: float) -> float | None:
    """Return the lowest confidence at which the share of wrong decisions is at most `max_error`.

    If no confidence reaches it, the one with the lowest share; of equal shares that with the most answers.

    Args:
        sure: confidence of the decisions, shape (n,).
        wrong: images whose decision is not their label.
        referred: images that are referred for another reason.
        max_error: of the images that are answered.
    Returns:
        None if all images may be answered.
    """
    risk = risk_by_coverage(sure[~referred], wrong[~referred])
    others = np.sort(sure[~referred])[::-1]
    if len(others) == 0 or risk[-1] <= max_error:
        return None
    # Images of equal confidence are answered together.
    ends = np.append(others[1:] < others[:-1], True)
    allowed = np.flatnonzero(ends & (risk <= max_error))
    if len(allowed) == 0:
        allowed = np.flatnonzero(ends & (risk == risk[ends].min()))
    last = int(allowed[-1])
    if last + 1 == len(others):
        return None
    return float((others[last] + others[last + 1]) / 2)


def risk_by_coverage(sure: Floats, wrong: Mask) -> NDArray[np.float64]:
    """Return the share of wrong decisions among the k surest images, for k = 1 to n, shape (n,).

    Images of equal confidence have no order; those with a wrong decision come first, which is never too
    good.
    Source: El-Yaniv and Wiener 2010, On the foundations of noise-free selective classification.
    """
    order = np.lexsort((~wrong, -sure))
    return np.cumsum(wrong[order]) / np.arange(1, len(sure) + 1)
