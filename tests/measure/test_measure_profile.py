from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_bundle

from pepr_edge.errors import MeasurementError
from pepr_edge.measure import profile as profile_module
from pepr_edge.measure import profile_record
from pepr_edge.measure.job import MeasurementRules
from pepr_edge.measure.profile import EnergyCounter, Progress, profile, share_done
from pepr_edge.records import DeviceProfile, Manifest, ProfileRequest, Quantity, SessionSettings

SHAPE = (1, 1, tiny_bundle.PX, tiny_bundle.PX)


def request(sha256: str, **changes: Any) -> ProfileRequest:
    values = {"settings": SessionSettings(), "rules": "quick", "input_shape": SHAPE, **changes}
    return ProfileRequest(sha256=sha256, **values)


def measure(
    bundle: Path,
    manifest: Manifest,
    progress: Progress | None = None,
    counter: EnergyCounter | None = None,
    **changes: Any,
) -> DeviceProfile:
    wanted = request(manifest.files["model.onnx"], **changes)
    return profile(bundle / "model.onnx", wanted, progress, counter=counter)


@pytest.mark.usefixtures("fast")
def test_a_profile_holds_the_measured_values(
    bundle: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile_module, "MEMORY_PASSES", profile_record.MEMORY_PASSES)
    steps: list[tuple[float, float]] = []
    measured = measure(
        bundle,
        manifest,
        watts_per_core=10.0,
        progress=lambda share, median_s: steps.append((share, median_s)),
    )
    assert DeviceProfile.model_validate_json(measured.model_dump_json()) == measured
    assert len(measured.latencies_s) >= tiny_bundle.FAST.queries
    assert measured.warmup_runs >= tiny_bundle.FAST.warmup_runs
    assert measured.provider_used == "CPUExecutionProvider"
    assert (measured.scenario, measured.paced_s, measured.rules) == ("single_stream", None, "quick")
    assert min(measured.import_s, measured.load_s, measured.first_s) > 0
    assert measured.peak_memory_bytes == measured.memory_stages_bytes["end"]
    assert sorted(measured.peak_memory_samples_bytes)[1] == measured.peak_memory_bytes
    assert len(measured.peak_memory_samples_bytes) == 3
    assert sum(measured.blocks) == len(measured.latencies_s)
    assert measured.ended_by is None
    assert measured.cpu_s_per_inference is not None
    assert measured.energy_j_per_inference.value == pytest.approx(10 * measured.cpu_s_per_inference)
    assert measured.energy_j_per_inference.method == "declared"
    assert measured.device.versions["onnxruntime"]
    assert steps[-1][0] == 1.0
    assert steps == sorted(steps, key=lambda step: step[0])


def count(*joules: float | None, provider: str = "cpu") -> Quantity:
    """Return the energy of one of ten inferences; `joules`: the counter at the start and after each block."""
    values = iter(joules)
    readings = profile_module._CounterReadings(EnergyCounter("RAPL", lambda: next(values)))
    readings.start()
    for _ in joules[1:]:
        readings.update()
    home = tiny_bundle.profile("0" * 64)
    settings = SessionSettings(provider=provider)  # type: ignore[arg-type]
    wanted = request(home.artifact_sha256, settings=settings, watts_per_core=5.0)
    return profile_record._energy(wanted, 0.002, readings.per_inference(10))


def test_a_counter_is_preferred_to_declared_watts() -> None:
    assert count(1.0, 3.0, 6.0) == Quantity(value=0.5, method="measured", source="RAPL")
    declared = Quantity(value=0.01, method="declared", source="5 W per core x CPU seconds")
    assert count(1.0, None) == count(None, 3.0) == count(1.0, 1.0) == declared
    assert count(1.0, 3.0, provider="cuda").method == "unavailable"


@pytest.mark.usefixtures("fast")
def test_the_counter_is_read_around_the_timed_loop(bundle: Path, manifest: Manifest) -> None:
    values = iter([100.0, 107.0, *[107.0] * 99])
    counter = EnergyCounter("RAPL", lambda: next(values))
    measured = measure(bundle, manifest, counter=counter, watts_per_core=5.0)
    assert measured.energy_j_per_inference == Quantity(
        value=7.0 / len(measured.latencies_s), method="measured", source="RAPL"
    )


@pytest.mark.usefixtures("fast")
def test_paced_load_costs_little_cpu(bundle: Path, manifest: Manifest) -> None:
    measured = measure(bundle, manifest, paced_s=0.005)
    assert (measured.scenario, measured.paced_s) == ("paced", 0.005)
    # It sleeps between images: a busy wait, or spinning, would take the whole pace.
    assert measured.cpu_s_per_inference is not None
    assert measured.cpu_s_per_inference < 0.0025
    assert measured.energy_j_per_inference.value is None
    assert measured.energy_j_per_inference.method == "unavailable"


def test_a_file_with_another_checksum_is_not_measured(bundle: Path) -> None:
    with pytest.raises(MeasurementError, match="altered"):
        profile(bundle / "model.onnx", request("0" * 64))


def test_a_missing_model_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"model\.onnx: no such file"):
        profile(tmp_path / "model.onnx", request("0" * 64))


def test_a_missing_provider_is_never_replaced(bundle: Path, manifest: Manifest) -> None:
    with pytest.raises(MeasurementError, match="CUDAExecutionProvider"):
        measure(bundle, manifest, settings=SessionSettings(provider="cuda"))


def test_a_pace_that_can_never_be_valid_is_refused(bundle: Path, manifest: Manifest) -> None:
    with pytest.raises(MeasurementError, match=r"--paced 1000: 1024 images .* 586 ms, .* --quick\."):
        measure(bundle, manifest, rules="full", paced_s=1.0)


def test_share_done_needs_both_minima_or_the_cap() -> None:
    rules = MeasurementRules(10, 2.0, 100, 10.0, 50.0)
    assert share_done(rules, 50, 10.0) == 0.5
    assert share_done(rules, 500, 5.0) == 0.5
    assert share_done(rules, 10, 40.0) == 0.8
    assert share_done(rules, 500, 60.0) == 1.0


@pytest.mark.slow
def test_quick_rules_for_real(bundle: Path, manifest: Manifest) -> None:
    measured = measure(bundle, manifest)
    assert sum(measured.latencies_s) <= 12
    assert len(measured.latencies_s) >= 128
    # Drift is a fault of this machine, anything else is ours.
    assert all(reason.startswith("drift") for reason in measured.validity.reasons)
