from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny_bundle

from pepr_edge.errors import MeasurementError
from pepr_edge.measure import secondary_metrics
from pepr_edge.measure.job import LatencyRun, MeasurementJob, Started
from pepr_edge.records import DeviceProfile, Manifest, Preprocess

STARTED = Started("CPUExecutionProvider", 0.1, 0.1, 0.1, 2, None)
MODEL = Path("model.onnx")


@pytest.fixture
def measured() -> DeviceProfile:
    return tiny_bundle.profile("0" * 64)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[MeasurementJob]:
    """Record the jobs of the worker; each image takes 1 ms in a batch of any size."""
    recorded: list[MeasurementJob] = []

    def measure(job: MeasurementJob) -> LatencyRun:
        recorded.append(job)
        return LatencyRun(STARTED, [0.0009, 0.001, 0.009], [3])

    monkeypatch.setattr(secondary_metrics, "measure_latency", measure)
    return recorded


def test_preprocessing_is_from_a_file_to_the_models_input(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secondary_metrics, "SOURCE_PX", 64)
    read: list[Path] = []
    real = secondary_metrics.load_tensor

    def load_tensor(files: list[Path], preprocess: Preprocess) -> object:
        read.extend(files)
        return real(files, preprocess)

    monkeypatch.setattr(secondary_metrics, "load_tensor", load_tensor)
    timing = secondary_metrics.preprocessing(manifest.preprocess)
    assert timing is not None
    assert (timing.n, timing.source_px, len(read)) == (30, 64, 30)
    assert 0 < timing.median_s < 1
    assert {path.suffix for path in read} == {".jpg"}
    assert not read[0].exists()


def test_throughput_of_one_image_is_from_the_latency_and_of_batches_is_measured(
    measured: DeviceProfile, jobs: list[MeasurementJob]
) -> None:
    one, four, sixteen = secondary_metrics.throughput(MODEL, measured)
    assert (one.batch, one.images_per_s, one.n) == (1, pytest.approx(1000.0), 128)
    assert (four.batch, four.images_per_s, four.n) == (4, pytest.approx(4000.0), 3)
    assert (sixteen.batch, sixteen.images_per_s) == (16, pytest.approx(16000.0))
    assert [job.input_shape[0] for job in jobs] == [4, 16]


def test_a_model_compiled_for_one_image_is_opened_for_any_number(
    measured: DeviceProfile, jobs: list[MeasurementJob]
) -> None:
    compiled = measured.model_copy(update={"settings": measured.settings.model_copy(update={"batch": 1})})
    secondary_metrics.throughput(MODEL, compiled)
    assert [job.settings["batch"] for job in jobs] == [None, None]


def test_a_batch_that_fails_or_has_no_room_is_left_out(
    measured: DeviceProfile, jobs: list[MeasurementJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        secondary_metrics.psutil, "virtual_memory", lambda: SimpleNamespace(available=100_000_000)
    )
    # 60 MB, and 10 more for each further image: four fit into 100 MB, sixteen do not.
    assert [row.batch for row in secondary_metrics.throughput(MODEL, measured)] == [1, 4]

    def fail(job: MeasurementJob) -> LatencyRun:
        raise MeasurementError("no")

    monkeypatch.setattr(secondary_metrics, "measure_latency", fail)
    assert [row.batch for row in secondary_metrics.throughput(MODEL, measured)] == [1]


def test_a_sweep_over_threads(
    measured: DeviceProfile, jobs: list[MeasurementJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secondary_metrics, "usable_cores", lambda: 6)
    timings = secondary_metrics.thread_sweep(MODEL, measured)
    assert [(timing.threads, timing.p50_s, timing.n) for timing in timings] == [
        (count, 0.001, 3) for count in (1, 2, 4, 6)
    ]
    assert [job.settings["threads"] for job in jobs] == [1, 2, 4, 6]


@pytest.mark.parametrize(
    ("cores", "counts"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (12, [1, 2, 4, 8, 12])]
)
def test_thread_counts(cores: int, counts: list[int]) -> None:
    assert secondary_metrics.thread_counts(cores) == counts


@pytest.mark.slow
def test_a_real_model_in_batches_and_with_threads(
    bundle: Path, measured: DeviceProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secondary_metrics, "BRIEF", tiny_bundle.FAST)
    assert [row.batch for row in secondary_metrics.throughput(bundle / "model.onnx", measured)] == [
        1,
        4,
        16,
    ]
    assert secondary_metrics.thread_sweep(bundle / "model.onnx", measured)[0].p50_s
