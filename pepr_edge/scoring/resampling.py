"""What all metrics share: types, chunks of resamples, and means of values that may be undefined."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pepr_edge.tasks import DEFAULT_TASK, Labels, Logits, TaskKind

Floats = NDArray[np.float64]
# How often each image was drawn. Shape (resamples, n) for callers; (n, resamples) inside metrics, where sums
# are faster.
Counts = NDArray[np.integer[Any]]
# Compute a metric of fixed images for each resample: counts (n, resamples) -> values (resamples,).
Resampler = Callable[[Counts], Floats]
BINS = 15  # of the expected calibration error, as in Guo et al. 2017
CHUNK_CELLS = 2**18  # images times resamples in one chunk: small enough for a processor's cache


class View(NamedTuple):
    """How labels are looked at: the class number of the positive of two classes, and the kind of task."""

    positive: int = 1
    kind: TaskKind = DEFAULT_TASK


Prepare = Callable[[Logits, Labels, View], Resampler]


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """Return part / whole, NaN where the whole is 0."""
    found = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    np.divide(part, whole, out=found, where=whole > 0)
    return found


def mean_defined(values: Floats) -> Floats:
    """Return the mean over the first axis of the values that are not NaN; NaN if all are."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=0), defined.sum(axis=0))


def chunks(resamples: int, n: int) -> Iterator[slice]:
    """Split resamples of n images into chunks that are processed one after the other."""
    step = max(32, CHUNK_CELLS // max(n, 1))
    return (slice(start, min(start + step, resamples)) for start in range(0, resamples, step))
