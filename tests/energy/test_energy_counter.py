from __future__ import annotations

from pathlib import Path

import pytest

from pepr_edge.energy.counter import cpu_counter
from pepr_edge.energy.source import MeterSettings

RANGE_UJ = 65_532_610_987


def zone(root: Path, energy_uj: int) -> Path:
    """Write a package zone as the kernel shows it; return its counter."""
    folder = root / "intel-rapl:0"
    folder.mkdir()
    values = {"name": "package-0", "max_energy_range_uj": RANGE_UJ, "energy_uj": energy_uj}
    for name, value in values.items():
        (folder / name).write_text(f"{value}\n")
    return folder / "energy_uj"


def test_it_goes_up_across_a_wrap(tmp_path: Path) -> None:
    counter = zone(tmp_path, RANGE_UJ - 1_000_000)
    opened = cpu_counter(MeterSettings(None, powercap=tmp_path))
    assert opened is not None
    source, joules = opened
    assert "package-0 (0)" in source
    assert joules() == 0.0
    counter.write_text(str(RANGE_UJ - 500_000))
    assert joules() == pytest.approx(0.5)
    counter.write_text("250000")
    assert joules() == pytest.approx(1.25)


def test_after_a_failed_reading_the_count_is_unknown(tmp_path: Path) -> None:
    counter = zone(tmp_path, 1_000_000)
    opened = cpu_counter(MeterSettings(None, powercap=tmp_path))
    assert opened is not None
    counter.unlink()
    assert opened[1]() is None
    counter.write_text("2000000")
    assert opened[1]() is None


def test_a_machine_without_counters_has_none(tmp_path: Path) -> None:
    assert cpu_counter(MeterSettings(None, powercap=tmp_path)) is None
