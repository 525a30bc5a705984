"""RAPL on copies of /sys/class/powercap: which zones are summed, wraps, and reasons not to use it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pepr_edge.energy import rapl
from pepr_edge.energy.meter import Meter, MeterSettings

INTEL_RANGE_UJ = 262_143_328_850
AMD_RANGE_UJ = 65_532_610_987


def zone(
    root: Path, number: str, name: str, energy_uj: int = 1_000_000, range_uj: int = INTEL_RANGE_UJ
) -> Path:
    """One zone as the kernel lists it; returns its counter."""
    folder = root / f"intel-rapl:{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    return folder / "energy_uj"


def settings(root: Path, **others: bool) -> MeterSettings:
    return MeterSettings(None, powercap=root, **others)


def laptop(root: Path) -> dict[str, Path]:
    """A package with its parts, dram, psys, and the same package by MMIO."""
    numbers = {"0": "package-0", "0:0": "core", "0:1": "uncore", "0:2": "dram", "1": "psys"}
    counters = {name: zone(root, number, name) for number, name in numbers.items()}
    mmio = root / "intel-rapl-mmio:0"
    mmio.mkdir()
    (mmio / "name").write_text("package-0\n")
    (root / "intel-rapl").mkdir()
    return counters


def test_package_and_dram_are_summed_and_their_parts_and_psys_are_not(tmp_path: Path) -> None:
    counters = laptop(tmp_path)
    with Meter(settings(tmp_path)) as open_meter:
        mark = open_meter.mark()
        counters["package-0"].write_text("6000000")
        counters["core"].write_text("4000000")
        counters["uncore"].write_text("2000000")
        counters["dram"].write_text("1500000")
        counters["psys"].write_text("9000000")
        use = open_meter.since(mark)
    assert use.energy.value == pytest.approx(5.5)
    assert use.energy.method == "measured"
    assert use.energy.source == "RAPL counters package-0 (0), dram (0:2)"


def test_sockets_are_summed(tmp_path: Path) -> None:
    first, second = zone(tmp_path, "0", "package-0"), zone(tmp_path, "1", "package-1")
    with Meter(settings(tmp_path)) as open_meter:
        mark = open_meter.mark()
        first.write_text("3000000")
        second.write_text("4000000")
        assert open_meter.since(mark).energy.value == pytest.approx(5.0)


def test_psys_alone_is_read(tmp_path: Path) -> None:
    counter = zone(tmp_path, "0", "psys")
    with Meter(settings(tmp_path)) as open_meter:
        mark = open_meter.mark()
        counter.write_text("1250000")
        energy = open_meter.since(mark).energy
    assert energy.value == pytest.approx(0.25)
    assert "psys" in energy.source


def test_a_wrap_between_two_readings_is_counted(tmp_path: Path) -> None:
    counter = zone(tmp_path, "0", "package-0", energy_uj=INTEL_RANGE_UJ - 2_000_000)
    with Meter(settings(tmp_path)) as open_meter:
        mark = open_meter.mark()
        counter.write_text("3000000")
        assert open_meter.since(mark).energy.value == pytest.approx(5.0)


def test_the_thread_catches_wraps_between_two_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rapl, "MAX_PERIOD_S", 0.01)
    counter = zone(tmp_path, "0", "package-0", energy_uj=500_000, range_uj=1_000_000)
    with Meter(settings(tmp_path)) as open_meter:
        mark = open_meter.mark()
        for energy_uj in (900_000, 100_000, 800_000, 200_000):
            # Renamed into place, so that the thread never reads a torn file.
            (tmp_path / "next").write_text(str(energy_uj))
            (tmp_path / "next").replace(counter)
            _wait_for_thread(open_meter, energy_uj)
        assert open_meter.since(mark).energy.value == pytest.approx(0.4 + 0.2 + 0.7 + 0.4)
    assert open_meter._thread is not None
    assert not open_meter._thread.is_alive()


def _wait_for_thread(open_meter: Meter, energy_uj: int) -> None:
    for _ in range(1000):
        if open_meter._parts[0].last.energies_uj == (energy_uj,):
            return
        time.sleep(0.002)
    pytest.fail("the thread never read the counter")


def test_a_reset_counter_is_not_a_wrap(tmp_path: Path) -> None:
    counter = zone(tmp_path, "0", "package-0", energy_uj=9_000_000)
    with Meter(settings(tmp_path)) as open_meter:
        mark = open_meter.mark()
        counter.write_text("10")
        energy = open_meter.since(mark).energy
        assert energy.value is None
        assert energy.method == "unavailable"
        assert "could not be read" in energy.source
        again = open_meter.mark()
        counter.write_text("1000010")
        assert open_meter.since(again).energy.value == pytest.approx(1.0)


def test_a_counter_that_does_not_move_measures_nothing(tmp_path: Path) -> None:
    zone(tmp_path, "0", "package-0")
    with Meter(settings(tmp_path)) as open_meter:
        energy = open_meter.since(open_meter.mark()).energy
    assert energy.value is None
    assert "did not move" in energy.source


def test_a_missing_counter_does_not_stop_the_work(tmp_path: Path) -> None:
    counter = zone(tmp_path, "0", "package-0")
    with Meter(settings(tmp_path)) as open_meter:
        mark = open_meter.mark()
        counter.unlink()
        assert open_meter.since(mark).energy.value is None


@given(st.lists(st.integers(0, AMD_RANGE_UJ - 1), min_size=1, max_size=40))
def test_steps_over_wraps_add_up(steps_uj: list[int]) -> None:
    handle = (rapl.Zone("package-0 (0)", Path("unused"), AMD_RANGE_UJ),)
    total_j = 0.0
    at_uj = 0
    for tick, step_uj in enumerate(steps_uj):
        next_uj = (at_uj + step_uj) % AMD_RANGE_UJ
        before = rapl.RaplReading(32.0 * tick, (at_uj,))
        now = rapl.RaplReading(32.0 * (tick + 1), (next_uj,))
        used_j = rapl.joules(handle, before, now)
        assert used_j is not None
        total_j += used_j
        at_uj = next_uj
    assert total_j == pytest.approx(sum(steps_uj) / 1e6)


def test_counters_are_read_often_enough_to_see_every_wrap(tmp_path: Path) -> None:
    zone(tmp_path, "0", "package-0", range_uj=AMD_RANGE_UJ)
    opened = rapl.start(settings(tmp_path), "cpu")
    assert opened.period_s is not None
    assert opened.period_s * rapl.MAX_ZONE_W <= AMD_RANGE_UJ / 1e6
    zone(tmp_path / "intel", "0", "package-0")
    assert rapl.start(settings(tmp_path / "intel"), "cpu").period_s == rapl.MAX_PERIOD_S


def test_root_only_counters_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone(tmp_path, "0", "package-0")
    read_text = Path.read_text

    def guarded(path: Path, *args: str, **kwargs: str) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read_text(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", guarded)
    reason = rapl.unavailable(settings(tmp_path), "cpu")
    assert reason is not None
    assert "root only: sudo chmod a+r" in reason


def test_reasons_for_not_using_it(tmp_path: Path) -> None:
    assert "no RAPL zone" in str(rapl.unavailable(settings(tmp_path / "missing"), "cpu"))
    zone(tmp_path, "0", "package-0", energy_uj=0)
    assert "stand at 0" in str(rapl.unavailable(settings(tmp_path), "cpu"))
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("torn")
    assert "cannot be read" in str(rapl.unavailable(settings(tmp_path), "cpu"))
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("5")
    assert rapl.unavailable(settings(tmp_path), "cpu") is None
    assert "other jobs" in str(rapl.unavailable(settings(tmp_path, exclusive=False), "cpu"))
    assert "not the GPU" in str(rapl.unavailable(settings(tmp_path), "gpu"))
    (tmp_path / "intel-rapl:0" / "max_energy_range_uj").write_text("0")
    assert "max_energy_range_uj = 0" in str(rapl.unavailable(settings(tmp_path), "cpu"))


def test_with_other_jobs_declared_watts_are_used(tmp_path: Path) -> None:
    zone(tmp_path, "0", "package-0")
    with Meter(MeterSettings(10.0, exclusive=False, powercap=tmp_path)) as open_meter:
        assert open_meter.since(open_meter.mark()).energy.method == "declared"


def test_a_source_that_raises_any_error_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone(tmp_path, "0", "package-0")

    def broken(*_: object) -> None:
        raise RuntimeError("driver on fire")

    monkeypatch.setattr(rapl, "start", broken)
    with Meter(settings(tmp_path)) as open_meter:
        energy = open_meter.since(open_meter.mark()).energy
    assert energy.value is None
    assert "driver on fire" in energy.source
