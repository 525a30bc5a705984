"""Declared arithmetic on real work, marks, and the sum of two figures."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pepr_edge.energy import declared
from pepr_edge.energy.meter import ORDER, SOURCES, Meter, MeterSettings, add
from pepr_edge.errors import MeasurementError
from pepr_edge.records import Method, Quantity

NOWHERE = Path("/nowhere")
BUSY = "import time\nwhile time.process_time() < {seconds}: pass\n"

METHODS: list[Method] = ["measured", "declared", "unavailable"]
QUANTITIES = st.builds(
    Quantity,
    value=st.none() | st.floats(0, 1e12, allow_nan=False),
    method=st.sampled_from(METHODS),
    source=st.sampled_from(["", "RAPL", "NVML", "10 W per core"]),
)


def work(cpu_s: float) -> None:
    end_s = time.process_time() + cpu_s
    while time.process_time() < end_s:
        pass


def test_declared_energy_is_watts_times_cpu_seconds() -> None:
    with Meter(MeterSettings(12.5, powercap=NOWHERE)) as meter:
        mark = meter.mark()
        work(0.3)
        use = meter.since(mark)
    assert use.energy.method == "declared"
    assert "12.5 W per core x CPU seconds" in use.energy.source
    assert 0.29 < use.cpu_s < 0.6
    assert use.duration_s > 0.28
    assert use.energy.value == pytest.approx(12.5 * use.cpu_s, rel=0.2)


def test_sleeping_takes_time_and_hardly_any_declared_energy() -> None:
    with Meter(MeterSettings(10.0, powercap=NOWHERE)) as meter:
        mark = meter.mark()
        time.sleep(0.2)
        use = meter.since(mark)
    assert use.duration_s >= 0.19
    assert use.energy.value is not None
    assert use.energy.value < 1.0


def test_children_that_ended_and_children_that_live_are_counted() -> None:
    begin_s = declared.cpu_seconds()
    subprocess.run([sys.executable, "-c", BUSY.format(seconds=0.3)], check=True)
    ended_s = declared.cpu_seconds() - begin_s
    assert 0.25 < ended_s < 1.5
    with subprocess.Popen(
        [sys.executable, "-c", BUSY.format(seconds=0.3) + "print('done', flush=True)\ninput()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        living_s = declared.cpu_seconds() - begin_s - ended_s
        child.communicate(b"\n")
    assert 0.25 < living_s < 1.5
    assert declared.cpu_seconds() - begin_s >= ended_s + living_s - 0.05


def test_without_any_source_the_reasons_are_named() -> None:
    with Meter(MeterSettings(None, uses_gpu=True, exclusive=False, powercap=NOWHERE)) as meter:
        use = meter.since(meter.mark())
    assert use.energy.value is None
    assert use.energy.method == "unavailable"
    assert "other jobs" in use.energy.source
    assert "watts_per_core is not given" in use.energy.source
    assert "gpu_watts is not given" in use.energy.source
    assert use.duration_s >= 0
    assert use.cpu_s >= 0


def test_watts_of_0_or_less_are_refused() -> None:
    assert "watts_per_core = -3" in str(declared.unavailable(MeterSettings(-3.0), "cpu"))
    assert "gpu_watts = 0" in str(declared.unavailable(MeterSettings(3.0, gpu_watts=0.0), "gpu"))


def test_decreasing_cpu_time_gives_no_energy() -> None:
    assert declared.joules(declared.Watts("cpu", 10.0), 5.0, 4.0) is None


def test_marks_may_overlap_and_add_up() -> None:
    with Meter(MeterSettings(10.0, powercap=NOWHERE)) as meter:
        whole = first = meter.mark()
        work(0.1)
        first_use = meter.since(first)
        second = meter.mark()
        work(0.1)
        second_use = meter.since(second)
        total = meter.since(whole)
    assert total.energy.value == pytest.approx(add(first_use.energy, second_use.energy).value, rel=0.2)
    assert total.duration_s >= first_use.duration_s + second_use.duration_s


def test_a_meter_is_used_while_open() -> None:
    meter = Meter(MeterSettings(10.0, powercap=NOWHERE))
    with pytest.raises(MeasurementError, match="not open"):
        meter.mark()
    with meter:
        mark = meter.mark()
    with pytest.raises(MeasurementError, match="not open"):
        meter.since(mark)


def test_errors_pass_through_and_the_meter_closes() -> None:
    with pytest.raises(ZeroDivisionError), Meter(MeterSettings(10.0, powercap=NOWHERE)) as meter:
        _ = 1 / 0
    with pytest.raises(MeasurementError):
        meter.mark()


def test_every_source_is_in_the_order_and_has_the_same_functions() -> None:
    assert set(ORDER["cpu"]) | set(ORDER["gpu"]) == set(SOURCES)
    for source in SOURCES.values():
        for name in ("unavailable", "start", "read", "joules", "stop"):
            assert callable(getattr(source, name))


@given(QUANTITIES, QUANTITIES)
def test_a_sum_never_claims_more_than_its_parts(a: Quantity, b: Quantity) -> None:
    total = add(a, b)
    methods = {a.method, b.method}
    if a.value is None or b.value is None or "unavailable" in methods:
        assert total.value is None
        assert total.method == "unavailable"
    else:
        assert total.value == a.value + b.value
        assert total.method == ("measured" if methods == {"measured"} else "declared")
    pieces = total.source.split("; ") if total.source else []
    assert len(pieces) == len(set(pieces))
    assert set(pieces) == {a.source, b.source} - {""}


@given(QUANTITIES, QUANTITIES, QUANTITIES)
def test_sums_do_not_depend_on_the_order(a: Quantity, b: Quantity, c: Quantity) -> None:
    total = add(add(a, b), c)
    other = add(c, add(b, a))
    assert total.method == other.method
    assert total.value == (None if other.value is None else pytest.approx(other.value))
    assert set(total.source.split("; ")) == set(other.source.split("; "))


@given(QUANTITIES)
def test_adding_a_figure_of_the_same_source_keeps_the_source(a: Quantity) -> None:
    assert add(a, a).source == a.source
