"""What a bench measures beside the latency of one image: preprocessing, several images at once, other numbers of threads.

Each comes after the timed loop and the memory pass, for a moment, and those of the model in a process of their own.
"""

from __future__ import annotations

import random
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

import psutil
from PIL import Image

from pepr_edge.device.cpu import usable_cores
from pepr_edge.errors import MeasurementError
from pepr_edge.images.preprocess import load_tensor
from pepr_edge.measure.job import LatencyRun, MeasurementJob, MeasurementRules
from pepr_edge.measure.process import measure_latency
from pepr_edge.records import (
    DeviceProfile,
    Preprocess,
    Preprocessing,
    SessionSettings,
    ThreadTiming,
    Throughput,
)

# About the size of a radiograph as it is sent.
SOURCE_PX, PREPROCESSING_RUNS = 1024, 30
BATCHES = (4, 16)
BRIEF = MeasurementRules(warmup_runs=2, warmup_s=0.2, queries=5, duration_s=1.0, cap_s=3.0)


def preprocessing(spec: Preprocess) -> Preprocessing | None:
    """From a JPEG file to the model's input, as `predict` does it; None where no temporary file can be written.

    The file has been read before: no disk is measured.
    """
    with suppress(OSError):
        return _preprocessing(spec)
    return None


def _preprocessing(spec: Preprocess) -> Preprocessing:
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image.jpg")
        _picture().save(path, quality=90)
        for _ in range(PREPROCESSING_RUNS):
            begin = time.perf_counter()
            load_tensor([path], spec)
            taken.append(time.perf_counter() - begin)
    return Preprocessing(median_s=median(taken), n=len(taken), source_px=SOURCE_PX)


def _picture() -> Image.Image:
    """Grey, neither flat nor noise: such a file would be decoded too fast or too slowly."""
    draw = random.Random(0)
    coarse = Image.frombytes("L", (64, 64), bytes(draw.randrange(256) for _ in range(64 * 64)))
    return coarse.resize((SOURCE_PX, SOURCE_PX), Image.Resampling.BICUBIC)


def throughput(model: Path, measured: DeviceProfile) -> tuple[Throughput, ...]:
    """Images per second in batches; that of one image is the latency's. A batch that fails, or has no room in memory, is left out."""
    found = [_throughput(1, measured.latencies_s)]
    for batch in BATCHES:
        if not _has_room(measured, batch):
            break
        # One that was compiled for one image is opened for any number.
        run = _run(
            model, measured.settings.model_copy(update={"batch": None}), (batch, *measured.input_shape[1:])
        )
        if run is None:
            break
        found.append(_throughput(batch, run.latencies_s))
    return tuple(found)


def _throughput(batch: int, latencies_s: tuple[float, ...] | list[float]) -> Throughput:
    return Throughput(batch=batch, images_per_s=batch / max(median(latencies_s), 1e-9), n=len(latencies_s))


def _has_room(measured: DeviceProfile, batch: int) -> bool:
    """Whether memory is likely to be enough: what grew after the model was loaded grows with the batch."""
    peak, loaded = measured.peak_memory_bytes, measured.memory_stages_bytes.get("load")
    if peak is None or loaded is None:
        return True
    left = min(psutil.virtual_memory().available, measured.device.cgroup_memory_bytes or peak * 1000)
    return peak + (batch - 1) * (peak - loaded) < left


def thread_sweep(model: Path, measured: DeviceProfile) -> tuple[ThreadTiming, ...]:
    """Latency of one image with 1, 2, 4 ... threads, and with as many as there are usable cores."""
    found = []
    for threads in thread_counts(usable_cores()):
        run = _run(model, measured.settings.model_copy(update={"threads": threads}), measured.input_shape)
        timing = ThreadTiming(threads=threads, p50_s=None, n=0)
        found.append(
            timing
            if run is None
            else ThreadTiming(threads=threads, p50_s=median(run.latencies_s), n=len(run.latencies_s))
        )
    return tuple(found)


def thread_counts(cores: int) -> list[int]:
    """Powers of two below `cores`, and `cores`."""
    return [*(1 << power for power in range(cores.bit_length()) if 1 << power < cores), cores]


def _run(model: Path, settings: SessionSettings, shape: tuple[int, ...]) -> LatencyRun | None:
    """A moment of it; None where it cannot be run so."""
    try:
        return measure_latency(
            MeasurementJob("latency", str(model.absolute()), settings.model_dump(), shape, BRIEF, None)
        )
    except MeasurementError:
        return None
