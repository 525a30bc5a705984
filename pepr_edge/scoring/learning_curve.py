"""The learning curve of a training: which epoch it keeps, and what it reaches without that choice."""

from __future__ import annotations

import math
from collections.abc import Sequence


def first_settled(epochs: int) -> int:
    """Return the first of the last quarter of the epochs, from 1.

    The one-cycle schedule is then below a quarter of its highest rate. At higher rates the weights still move
    from step to step: an epoch that is good on validation owes more of it to chance (docs/training.md).
    """
    return epochs - math.ceil(epochs / 4) + 1


def kept_performance(curve: Sequence[float], first_kept_epoch: int) -> float:
    """Return the validation performance of the epoch that a training keeps.

    Args:
        curve: after each epoch, at least one.
        first_kept_epoch: the best epoch from this one on is kept; before it is reached, the best so far.
    """
    return max(curve[first_kept_epoch - 1 :] or curve)


def unselected(curve: Sequence[float]) -> float:
    """Return the performance of a training without the choice of its best epoch.

    The highest of many epochs is too high: without any skill each of them is above chance now and then, and
    one of a hundred nearly always. The last epochs are not chosen by their performance: the last one, or the
    mean of the last quarter if that is higher.

    Args:
        curve: validation performance after each epoch, at least one.
    """
    last = curve[first_settled(len(curve)) - 1 :]
    return max(curve[-1], sum(last) / len(last))
