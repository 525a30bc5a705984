from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny_bundle

from pepr_edge.errors import MeasurementError
from pepr_edge.measure import secondary_metrics
from pepr_edge.measure.job import LatencyRun, MeasurementJob, Started
from pepr_edge.records import DeviceProfile, Manifest

STARTED = Started("CPUExecutionProvider", 0.1, 0.1, 0.1, 2, None)
MODEL = Path("model.onnx")


@pytest.fixture
def measured() -> DeviceProfile:
    return tiny_bundle.profile("0" * 64)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[MeasurementJob]:
    """What the child is asked to do; each image takes 1 ms, whatever the batch."""
    asked: list[MeasurementJob] = []

    def measure(job: MeasurementJob) -> LatencyRun:
        asked.append(job)
        return LatencyRun(STARTED, [0.0009, 0.001, 0.009])

    monkeypatch.setattr(secondary_metrics, "measure_latency", measure)
    return asked


def test_preprocessing_is_from_a_file_to_the_models_input(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secondary_metrics, "SOURCE_PX", 64)
    given: list[Path] = []
    real = secondary_metrics.load_tensor
    monkeypatch.setattr(
        secondary_metrics, "load_tensor", lambda files, spec: (given.extend(files), real(files, spec))[1]
    )
    found = secondary_metrics.preprocessing(manifest.preprocess)
    assert (found.n, found.source_px, len(given)) == (30, 64, 30)
    assert 0 < found.median_s < 0.1
    assert {path.suffix for path in given} == {".jpg"}
    assert not given[0].exists()


def test_throughput_of_one_is_the_latencys_and_of_more_is_measured(
    measured: DeviceProfile, jobs: list[MeasurementJob]
) -> None:
    one, four, sixteen = secondary_metrics.throughput(MODEL, measured)
    assert (one.batch, one.images_per_s, one.n) == (1, pytest.approx(1000.0), 128)
    assert (four.batch, four.images_per_s, four.n) == (4, pytest.approx(4000.0), 3)
    assert (sixteen.batch, sixteen.images_per_s) == (16, pytest.approx(16000.0))
    assert [job.input_shape[0] for job in jobs] == [4, 16]


def test_a_model_that_was_compiled_for_one_image_is_opened_for_any(
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
    assert [given.batch for given in secondary_metrics.throughput(MODEL, measured)] == [1, 4]

    def fail(job: MeasurementJob) -> LatencyRun:
        raise MeasurementError("no")

    monkeypatch.setattr(secondary_metrics, "measure_latency", fail)
    assert [given.batch for given in secondary_metrics.throughput(MODEL, measured)] == [1]


def test_a_sweep_over_threads(
    measured: DeviceProfile, jobs: list[MeasurementJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secondary_metrics, "usable_cores", lambda: 6)
    found = secondary_metrics.thread_sweep(MODEL, measured)
    assert [(timing.threads, timing.p50_s, timing.n) for timing in found] == [
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
    assert [given.batch for given in secondary_metrics.throughput(bundle / "model.onnx", measured)] == [
        1,
        4,
        16,
    ]
    assert secondary_metrics.thread_sweep(bundle / "model.onnx", measured)[0].p50_s
