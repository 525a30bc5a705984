"""Tests of whether a classifier is better than chance, and than a classifier that looks at no image."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pepr_edge.tasks import Decisions, Labels, Mask

# Up to this number of images the null distribution is drawn; with more images it is close to normal.
MAX_PERMUTED_IMAGES = 1000
PERMUTATIONS = 999
# Standard errors from chance within which drawing is worth its time; outside the answer is clear.
UNCLEAR = (0.5, 5.0)


def sign_test(wins: int, losses: int) -> float:
    """Return the one-sided p-value of at least this many wins if wins and losses are equally likely.

    Source: exact binomial test.
    """
    n = wins + losses
    if n == 0:
        return 1.0
    # In logarithms: with thousands of images 2**n does not fit into a float.
    log_constant = math.lgamma(n + 1) - n * math.log(2)
    terms = [
        math.exp(log_constant - math.lgamma(k + 1) - math.lgamma(n - k + 1))
        for k in range(min(wins, losses) + 1)
    ]
    tail = min(1.0, sum(terms))  # P(X <= min(wins, losses))
    if wins >= losses:
        return tail
    # P(X >= wins) with wins < losses: all but the terms below `wins`.
    return min(1.0, 1.0 - tail + terms[-1])


def paired_test(correct: Mask, others: Mask) -> float:
    """Return the one-sided p-value of a classifier being correct more often than another, on the same images.

    Args:
        correct, others: True for each image that was decided correctly, shape (n,).
    Source: McNemar 1947, exact binomial form.
    """
    return sign_test(int((correct & ~others).sum()), int((others & ~correct).sum()))


def above_chance(decisions: Decisions, labels: Labels, by_distance: bool = False) -> float:
    """Return the one-sided p-value of a balanced accuracy above that of decisions that ignore the image.

    With `by_distance` the classes are grades, and the squared number of grades between decision and label
    takes the place of balanced accuracy.

    Labels are permuted among the images. The distribution is taken as normal, with its exact mean and
    variance, if there are more than MAX_PERMUTED_IMAGES images or the answer is clear.

    Args:
        decisions, labels: class numbers, shape (n,). With fewer than two classes in the labels it is 1.
    Source: Hoeffding 1951, for the variance of a permutation statistic.
    """
    present, labels = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        return 1.0
    weights = 1.0 / (np.bincount(labels) * len(present))
    position = np.full(int(max(decisions.max(), present.max())) + 1, -1)
    position[present] = np.arange(len(present))
    if by_distance:
        known, decided = np.unique(decisions, return_inverse=True)
        score = -((known[:, None] - present[None, :]).astype(np.float64) ** 2)
    else:
        decided = position[decisions] + 1  # 0: a class without images, never correct
        score = np.vstack([np.zeros(len(present)), np.diag(weights)])
    observed = float(score[decided, labels].sum())
    z = _standardised(observed, decided, labels, score)
    if len(labels) > MAX_PERMUTED_IMAGES or not UNCLEAR[0] < z < UNCLEAR[1]:
        return 0.5 * math.erfc(z / math.sqrt(2))
    rng = np.random.default_rng(0)
    shuffled = rng.permuted(np.tile(labels, (PERMUTATIONS, 1)), axis=1)
    drawn = score[decided, shuffled].sum(axis=1)
    reached = np.count_nonzero(drawn >= observed - 1e-12)
    return float((1 + reached) / (1 + PERMUTATIONS))


def _standardised(
    observed: float, decided: NDArray[np.intp], labels: NDArray[np.intp], score: NDArray[np.float64]
) -> float:
    """Return by how many standard errors a summed score is above that of permuted labels.

    Args:
        observed: the sum.
        decided, labels: of each image, shape (n,): row and column of its score.
        score: shape (decisions, labels).
    """
    n = len(labels)
    of_decisions = np.bincount(decided, minlength=score.shape[0])
    of_labels = np.bincount(labels, minlength=score.shape[1])
    row_mean = score @ of_labels / n
    column_mean = of_decisions @ score / n
    mean = of_decisions @ row_mean
    centred = score - row_mean[:, None] - column_mean[None, :] + mean / n
    variance = float(of_decisions @ centred**2 @ of_labels) / (n - 1)
    if variance <= 1e-12:
        return -math.inf  # it always makes the same decision
    return (observed - float(mean)) / math.sqrt(variance)
