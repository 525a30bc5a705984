"""`pepr-edge bench` in tests: brief, on a device without interference."""

from __future__ import annotations

import pytest
import tiny_bundle

from pepr_edge.device import interference
from pepr_edge.field import bench as field_bench
from pepr_edge.records import Preprocessing, ThreadTiming, Throughput

EXTRAS = {
    "preprocessing": Preprocessing(median_s=0.0121, n=30, source_px=1024),
    "throughput": (
        Throughput(batch=1, images_per_s=290.0, n=9),
        Throughput(batch=16, images_per_s=310.4, n=9),
    ),
    "thread_sweep": tuple(
        ThreadTiming(threads=threads, p50_s=p50_s, n=9)
        for threads, p50_s in ((1, 0.1), (2, 0.071), (4, None))
    ),
}


def measure_undisturbed(patch: pytest.MonkeyPatch) -> None:
    """Measure briefly, on a device without interference."""
    tiny_bundle.measure_briefly(patch)
    for name, found in EXTRAS.items():
        patch.setattr(field_bench, name, lambda *_, found=found: found)
    for name in ("power", "other_programs", "heat", "frequency", "memory", "steal", "limit"):
        patch.setattr(interference, name, lambda *_: {})
