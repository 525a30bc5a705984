"""Secondary metrics of `bench`: preprocessing, batches, other numbers of threads.

Each is measured briefly, after the timed loop and the memory pass; the model runs in a process of its own.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

import psutil
from PIL import Image

from pepr_edge.device.cpu import usable_cores
from pepr_edge.errors import MeasurementError
from pepr_edge.images.preprocess import load_tensor
from pepr_edge.measure.job import MeasurementJob, MeasurementRules
from pepr_edge.measure.process import measure_latency
from pepr_edge.records import (
    DeviceProfile,
    Preprocess,
    Preprocessing,
    SessionSettings,
    ThreadTiming,
    Throughput,
)

# Size of a typical radiograph.
SOURCE_PX = 1024
PREPROCESSING_RUNS = 30
BATCHES = (4, 16)
BRIEF = MeasurementRules(warmup_runs=2, warmup_s=0.2, queries=5, duration_s=1.0, cap_s=3.0)


def preprocessing(preprocess: Preprocess) -> Preprocessing | None:
    """Time the way from a JPEG file to the model's input; None if no temporary file can be written.

    It is the same code as in `predict`. The file is in the disk cache, so the disk is not measured.
    """
    durations_s = []
    with suppress(OSError), tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image.jpg")
        _picture().save(path, quality=90)
        for _ in range(PREPROCESSING_RUNS):
            begin = time.perf_counter()
            load_tensor([path], preprocess)
            durations_s.append(time.perf_counter() - begin)
        return Preprocessing(median_s=median(durations_s), n=len(durations_s), source_px=SOURCE_PX)
    return None


def _picture() -> Image.Image:
    """Return a grey image, neither flat nor noise: such files would decode too fast or too slowly."""
    generator = random.Random(0)
    coarse = Image.frombytes("L", (64, 64), bytes(generator.randrange(256) for _ in range(64 * 64)))
    return coarse.resize((SOURCE_PX, SOURCE_PX), Image.Resampling.BICUBIC)


def throughput(model: Path, measured: DeviceProfile) -> tuple[Throughput, ...]:
    """Measure images per second in batches. The first row, one image, is from the measured latency.

    It ends at the first batch that fails or for which memory is too small.
    """
    rows = [_throughput(1, measured.latencies_s)]
    # A model compiled for one image is opened for any number.
    settings = measured.settings.model_copy(update={"batch": None})
    for batch in BATCHES:
        if not _has_room(measured, batch):
            break
        latencies_s = _brief_latencies(model, settings, (batch, *measured.input_shape[1:]))
        if not latencies_s:
            break
        rows.append(_throughput(batch, latencies_s))
    return tuple(rows)


def _throughput(batch: int, latencies_s: Sequence[float]) -> Throughput:
    return Throughput(batch=batch, images_per_s=batch / max(median(latencies_s), 1e-9), n=len(latencies_s))


def _has_room(measured: DeviceProfile, batch: int) -> bool:
    """True if memory is likely to suffice: the part used after the model was loaded grows with the batch."""
    peak = measured.peak_memory_bytes
    loaded = measured.memory_stages_bytes.get("load")
    if peak is None or loaded is None:
        return True
    free = min(psutil.virtual_memory().available, measured.device.cgroup_memory_bytes or peak * 1000)
    return peak + (batch - 1) * (peak - loaded) < free


def thread_sweep(model: Path, measured: DeviceProfile) -> tuple[ThreadTiming, ...]:
    """Measure the latency of one image with 1, 2, 4 ... threads, up to the number of usable cores."""
    timings = []
    for threads in thread_counts(usable_cores()):
        settings = measured.settings.model_copy(update={"threads": threads})
        latencies_s = _brief_latencies(model, settings, measured.input_shape)
        p50_s = median(latencies_s) if latencies_s else None
        timings.append(ThreadTiming(threads=threads, p50_s=p50_s, n=len(latencies_s)))
    return tuple(timings)


def thread_counts(cores: int) -> list[int]:
    """Return the powers of two below `cores`, and `cores`."""
    counts = []
    count = 1
    while count < cores:
        counts.append(count)
        count *= 2
    return [*counts, cores]


def _brief_latencies(model: Path, settings: SessionSettings, shape: tuple[int, ...]) -> list[float]:
    """Measure for about a second, and return the latencies; none if the model cannot be run."""
    job = MeasurementJob("latency", str(model.absolute()), settings.model_dump(), shape, BRIEF)
    try:
        return measure_latency(job).latencies_s
    except MeasurementError:
        return []
