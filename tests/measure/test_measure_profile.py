from __future__ import annotations

from pathlib import Path

import pytest
import tiny_bundle

from pepr_edge.errors import MeasurementError
from pepr_edge.measure import profile as field_profile
from pepr_edge.measure.job import MeasurementRules
from pepr_edge.measure.profile import EnergyCounter, profile, share_done
from pepr_edge.records import DeviceProfile, Manifest, Quantity, SessionSettings

SHAPE = (1, 1, tiny_bundle.PX, tiny_bundle.PX)


def measure(bundle: Path, manifest: Manifest, **options: object) -> DeviceProfile:
    sha256 = manifest.files["model.onnx"]
    return profile(
        bundle / "model.onnx", sha256, SessionSettings(), input_shape=SHAPE, **{"rules": "quick", **options}
    )  # type: ignore[arg-type]


@pytest.mark.usefixtures("fast")
def test_a_profile_holds_what_was_measured(bundle: Path, manifest: Manifest) -> None:
    told: list[tuple[float, float]] = []
    found = measure(
        bundle, manifest, watts_per_core=10.0, progress=lambda share, median_s: told.append((share, median_s))
    )
    assert DeviceProfile.model_validate_json(found.model_dump_json()) == found
    assert len(found.latencies_s) >= tiny_bundle.FAST.queries
    assert found.warmup_runs >= tiny_bundle.FAST.warmup_runs
    assert found.provider_used == "CPUExecutionProvider"
    assert (found.scenario, found.paced_s, found.rules) == ("single_stream", None, "quick")
    assert min(found.import_s, found.load_s, found.first_s) > 0
    assert found.peak_memory_bytes == found.memory_stages_bytes["end"]
    assert found.cpu_s_per_inference is not None
    assert found.energy_j_per_inference.value == pytest.approx(10 * found.cpu_s_per_inference)
    assert found.energy_j_per_inference.method == "declared"
    assert found.device.versions["onnxruntime"]
    assert told[-1][0] == 1.0
    assert told == sorted(told, key=lambda step: step[0])


def count(*joules: float | None, provider: str = "cpu") -> Quantity:
    """Energy of one of ten inferences by a counter that said this at the start and then after each block."""
    said = iter(joules)
    energy = field_profile._Energy(EnergyCounter("RAPL", lambda: next(said)))
    energy.start()
    for _ in joules[1:]:
        energy.go_on()
    home = tiny_bundle.profile("0" * 64)
    settings = SessionSettings(provider=provider)  # type: ignore[arg-type]
    task = field_profile._Measurement(
        home.artifact_sha256, settings, "quick", SHAPE, 5.0, None, home.device, energy
    )
    return field_profile._energy(task, 10, 0.002)


def test_what_a_counter_says_comes_before_what_is_declared() -> None:
    assert count(1.0, 3.0, 6.0) == Quantity(value=0.5, method="measured", source="RAPL")
    declared = Quantity(value=0.01, method="declared", source="5 W per core x CPU seconds")
    assert count(1.0, None) == count(None, 3.0) == count(1.0, 1.0) == declared
    assert count(1.0, 3.0, provider="cuda").method == "unavailable"


@pytest.mark.usefixtures("fast")
def test_the_counter_is_read_around_the_timed_loop(bundle: Path, manifest: Manifest) -> None:
    said = iter([100.0, 107.0, *[107.0] * 99])
    found = measure(bundle, manifest, counter=EnergyCounter("RAPL", lambda: next(said)), watts_per_core=5.0)
    assert found.energy_j_per_inference == Quantity(
        value=7.0 / len(found.latencies_s), method="measured", source="RAPL"
    )


@pytest.mark.usefixtures("fast")
def test_paced_load_costs_little_cpu(bundle: Path, manifest: Manifest) -> None:
    found = measure(bundle, manifest, paced_s=0.005)
    assert (found.scenario, found.paced_s) == ("paced", 0.005)
    # Asleep between images: were it a busy wait, or spinning, it would be the pace itself.
    assert found.cpu_s_per_inference is not None
    assert found.cpu_s_per_inference < 0.0025
    assert found.energy_j_per_inference.value is None
    assert found.energy_j_per_inference.method == "unavailable"


def test_another_file_is_not_measured(bundle: Path) -> None:
    with pytest.raises(MeasurementError, match=r"the file was altered"):
        profile(bundle / "model.onnx", "0" * 64, SessionSettings(), rules="quick", input_shape=SHAPE)


def test_a_missing_model_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"model\.onnx: no such file"):
        profile(tmp_path / "model.onnx", "0" * 64, SessionSettings(), rules="quick", input_shape=SHAPE)


def test_a_provider_that_is_not_there_is_never_replaced(bundle: Path, manifest: Manifest) -> None:
    with pytest.raises(
        MeasurementError, match=r"'cuda' asked for, but onnxruntime has no CUDAExecutionProvider here"
    ):
        profile(
            bundle / "model.onnx",
            manifest.files["model.onnx"],
            SessionSettings(provider="cuda"),
            rules="quick",
            input_shape=SHAPE,
        )


def test_a_pace_that_can_never_be_valid_is_refused(bundle: Path, manifest: Manifest) -> None:
    with pytest.raises(
        MeasurementError, match=r"--paced 1000: 1024 images .* Give at most 586 ms, or use --quick\."
    ):
        measure(bundle, manifest, rules="full", paced_s=1.0)


def test_share_done_needs_both_minima_or_the_cap() -> None:
    rules = MeasurementRules(10, 2.0, 100, 10.0, 50.0)
    assert share_done(rules, 50, 10.0) == 0.5
    assert share_done(rules, 500, 5.0) == 0.5
    assert share_done(rules, 10, 40.0) == 0.8
    assert share_done(rules, 500, 60.0) == 1.0


@pytest.mark.slow
def test_quick_rules_for_real(bundle: Path, manifest: Manifest) -> None:
    found = measure(bundle, manifest)
    assert sum(found.latencies_s) <= 12
    assert len(found.latencies_s) >= 128
    # Drift is this machine's, everything else is ours.
    assert all(reason.startswith("drift") for reason in found.validity.reasons)
