"""Early-stopping percentiles of a profile's raw latencies. To be replaced by the field's own."""

from __future__ import annotations

import math
from collections.abc import Sequence

CONFIDENCE = 0.99


def percentile(latencies_s: Sequence[float], p: float) -> float | None:
    """Early-stopping estimate of a latency percentile; None where there are too few samples."""
    n, total, t = len(latencies_s), 0.0, -1
    for k in range(n + 1):
        log = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(1 - p) + (n - k) * math.log(p)
        total += math.exp(log)
        if total > 1 - CONFIDENCE:
            break
        t = k
    return sorted(latencies_s)[n - t] if t >= 1 else None
