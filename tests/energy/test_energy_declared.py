"""The declared source alone; with the meter, see test_energy_meter.py."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pepr_edge.energy import declared
from pepr_edge.energy.source import MeterSettings, Part

BUSY = "import time\nwhile time.process_time() < {seconds}: pass\n"


def settings(cpu: float | None = None, gpu: float | None = None) -> MeterSettings:
    return MeterSettings(watts_per_core=cpu, gpu_watts=gpu, uses_gpu=True)


@pytest.mark.parametrize(("part", "name"), [("cpu", "watts_per_core"), ("gpu", "gpu_watts")])
def test_only_watts_above_zero_can_be_used(part: Part, name: str) -> None:
    def reason(watts: float | None) -> str | None:
        return declared.unavailable(settings(**{part: watts}), part)

    assert reason(None) == f"{name} is not given"
    assert reason(0.0) == f"{name} = 0, expected more than 0"
    assert reason(-2.5) == f"{name} = -2.5, expected more than 0"
    assert reason(0.1) is None


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("cpu", "7.5 W per core x CPU seconds"),
        ("gpu", "60 W for the GPU x wall seconds"),
    ],
)
def test_each_part_has_its_own_watts_and_source(part: Part, source: str) -> None:
    opened = declared.start(settings(7.5, 60.0), part)
    assert (opened.method, opened.period_s) == ("declared", None)
    assert source in opened.source
    assert opened.handle == declared.Watts(part, 7.5 if part == "cpu" else 60.0)
    declared.stop(opened.handle)


@given(st.floats(0.1, 1000), st.floats(0, 1e6), st.floats(0, 1e6))
def test_joules_are_watts_times_seconds(watts: float, before: float, more: float) -> None:
    assert declared.joules(declared.Watts("cpu", watts), before, before + more) == pytest.approx(
        watts * more, abs=1e-6 * watts
    )


def test_sleep_counts_for_the_gpu_and_not_for_the_processor() -> None:
    handles = [declared.Watts("cpu", 1.0), declared.Watts("gpu", 1.0)]
    before = [declared.read(handle) for handle in handles]
    time.sleep(0.3)
    cpu_s, gpu_s = (
        declared.read(handle) - start  # type: ignore[operator]
        for handle, start in zip(handles, before, strict=True)
    )
    assert cpu_s < 0.2
    assert gpu_s >= 0.29


def test_cpu_seconds_grow_with_the_work_of_this_process() -> None:
    begin_s, own_s = declared.cpu_seconds(), time.process_time()
    while time.process_time() < own_s + 0.2:
        pass
    assert declared.cpu_seconds() - begin_s >= 0.199


def test_a_grandchild_is_counted_while_it_lives_and_after() -> None:
    """Such as a data loader's worker of a training in another process."""
    grandchild = BUSY.format(seconds=0.4) + "print(1, flush=True); input()"
    middle = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {grandchild!r}])"
    begin_s = declared.cpu_seconds()
    with subprocess.Popen(
        [sys.executable, "-c", middle], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert len(psutil.Process(child.pid).children()) == 1
        living_s = declared.cpu_seconds() - begin_s
        child.communicate(b"\n")
    assert living_s >= 0.35
    assert declared.cpu_seconds() - begin_s >= living_s - 0.05
