from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import bench, entry, field_report, results

from pepr_edge.ranking import rank
from pepr_edge.ranking.field import ABSENT, device_classes, worst_case
from pepr_edge.records import FieldReport, Ranking, RankingRow, SelfTestResult
from pepr_edge.report.terminal import devices_table
from pepr_edge.run_dir.reader import Results

MIB = 2**20
NAMES = ("small", "middle", "large")
ONE = "made cpu (x86_64, 2 cores, 4 GiB, 1 thread)"
TWO = "made cpu (x86_64, 2 cores, 4 GiB, 2 threads)"
FAILED = SelfTestResult(passed=False, decisions_agree=False, max_abs_diff=1.0, tolerance=0.1, n=4)


def three(folder: Path) -> Results:
    """Accuracies 0.8, 0.9 and 0.95 for 100, 200 and 400 J. The order at home: small, middle, large."""
    return results(
        folder,
        entry(folder, "small", right=160, joules=100.0, latency_s=0.01, memory_bytes=200 * MIB),
        entry(folder, "middle", right=180, joules=200.0, latency_s=0.02, memory_bytes=300 * MIB),
        entry(folder, "large", right=190, joules=400.0, latency_s=0.05, memory_bytes=400 * MIB),
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return three(tmp_path_factory.mktemp("run"))


def all_three(
    latency_s: float = 0.01, mib: int = 100, *, cpu: str = "made cpu", emulated: bool = False
) -> FieldReport:
    return field_report(*(bench(name, latency_s, mib * MIB) for name in NAMES), cpu=cpu, emulated=emulated)


def row_of(ranking: Ranking, name: str) -> RankingRow:
    return next(row for row in ranking.rows if row.architecture == name)


def one_and_two_threads() -> dict[str, FieldReport]:
    return {
        "1.json": field_report(
            bench("small", 0.040, 200 * MIB),
            bench("middle", 0.012, 210 * MIB),
            bench("large", 0.040, 260 * MIB),
        ),
        "2.json": field_report(
            bench("small", 0.008, 220 * MIB, threads=2),
            bench("middle", 0.010, 300 * MIB, threads=2),
            bench("large", 0.009, 280 * MIB, threads=2),
        ),
    }


def test_one_machine_with_one_and_with_two_threads_ranks_as_computed_by_hand(run: Results) -> None:
    """PePR edge = P / (1 + (E + L + W) / 3), each of E, L and W scaled to [0, 1] over the three models.

    E is the same everywhere: small (100 - 100) / 300 = 0, middle (200 - 100) / 300 = 1/3, large 1.

                                         small  middle  large
    1 thread:   L from 12 to 40 ms       1      0       1
                W from 200 to 260 MiB    0      1/6     1
    2 threads:  L from 8 to 10 ms        0      1       1/2
                W from 220 to 300 MiB    0      1       3/4
    worst case: L from 12 to 40 ms       1      0       1
                W from 220 to 300 MiB    0      1       3/4
    """
    home = rank(run)
    assert [row.architecture for row in home.rows] == ["small", "middle", "large"]
    reports = one_and_two_threads()
    alone = {
        "1.json": {"middle": 0.9 / (1 + 1 / 6), "small": 0.8 / (1 + 1 / 3), "large": 0.95 / 2},
        "2.json": {"small": 0.8, "large": 0.95 / 1.75, "middle": 0.9 / (1 + 7 / 9)},
    }
    for name, scores in alone.items():
        ranking = rank(run, field={name: reports[name]})
        assert [row.architecture for row in ranking.rows] == list(scores)
        assert [row.pepr["edge"] for row in ranking.rows] == pytest.approx(list(scores.values()))
    ranking = rank(run, field=reports)
    assert [(row.rank, row.architecture) for row in ranking.rows] == [
        (1, "middle"),
        (2, "small"),
        (3, "large"),
    ]
    # By the formulas above: 0.9 / (1 + 4/9), 0.8 / (1 + 1/3), 0.95 / (1 + 11/12).
    assert [row.pepr["edge"] for row in ranking.rows] == pytest.approx([0.6230769, 0.6, 0.4956522], abs=1e-7)
    assert [row.resources["latency"] for row in ranking.rows] == [0.012, 0.040, 0.040]
    assert [row.resources["peak_memory"] for row in ranking.rows] == [300 * MIB, 220 * MIB, 280 * MIB]
    assert ranking.device == f"{ONE}, {TWO}"
    first, second, worst = ranking.devices
    assert (first.device, first.reports, first.winner, first.latency_s) == (
        ONE,
        ("1.json",),
        "middle@64 fp32",
        0.012,
    )
    assert first.moved == ("middle@64 fp32 rises from 2 to 1", "small@64 fp32 falls from 1 to 2")
    assert (second.device, second.winner, second.home_winner) == (TWO, "small@64 fp32", "small@64 fp32")
    assert second.moved == ("large@64 fp32 rises from 3 to 2", "middle@64 fp32 falls from 2 to 3")
    assert (worst.device, worst.reports, worst.winner) == (
        "worst case",
        ("1.json", "2.json"),
        "middle@64 fp32",
    )
    assert (worst.latency_s, worst.peak_memory_bytes, worst.moved) == (0.012, 300 * MIB, first.moved)
    assert devices_table(ranking).splitlines() == [
        "On the devices:",
        f"  {ONE}: middle@64 fp32, 12.0 ms at p90, 210 MiB peak",
        "    - middle@64 fp32 rises from 2 to 1",
        "    - small@64 fp32 falls from 1 to 2",
        f"  {TWO}: small@64 fp32, 8.00 ms at p90, 220 MiB peak; the",
        "      winner as at home",
        "    - large@64 fp32 rises from 3 to 2",
        "    - middle@64 fp32 falls from 2 to 3",
        "  worst case: middle@64 fp32, 12.0 ms at p90, 300 MiB peak",
        "    - middle@64 fp32 rises from 2 to 1",
        "    - small@64 fp32 falls from 1 to 2",
    ]


def test_an_artifact_absent_from_the_field_moves_no_other(run: Results) -> None:
    """By hand, of small and middle alone, E, L and W are 0 and 1 at home and there: 0.8 against 0.9 / 2."""
    same = field_report(bench("small", 0.01, 200 * MIB), bench("middle", 0.02, 300 * MIB))
    (device,) = rank(run, field={"same.json": same}).devices
    assert device.winner == device.home_winner == "small@64 fp32"
    assert [sentence.partition(":")[0] for sentence in device.moved] == ["large@64 fp32 has no rank here"]


def test_a_smaller_set_is_compared_with_the_same_set_at_home(run: Results) -> None:
    """Of middle and large alone, middle wins at home with 0.9 against 0.95 / 2, and there too: no rise."""
    same = field_report(bench("middle", 0.02, 300 * MIB), bench("large", 0.05, 400 * MIB))
    (device,) = rank(run, field={"same.json": same}).devices
    assert (device.winner, device.home_winner) == ("middle@64 fp32", "small@64 fp32")
    assert [sentence.partition(":")[0] for sentence in device.moved] == ["small@64 fp32 has no rank here"]


def test_a_report_with_the_values_of_home_changes_nothing(run: Results) -> None:
    same = field_report(
        bench("small", 0.01, 200 * MIB), bench("middle", 0.02, 300 * MIB), bench("large", 0.05, 400 * MIB)
    )
    home, ranking = rank(run), rank(run, field={"same.json": same})
    (device,) = ranking.devices
    assert (device.winner, device.moved, home.devices) == (device.home_winner, (), ())
    assert "ranks as at home" in " ".join(devices_table(ranking).split())
    assert devices_table(home) == ""
    untouched = {"device": "", "measured_on": (), "devices": (), "rows": ()}
    assert ranking.model_copy(update=untouched) == home.model_copy(update=untouched)
    # The energy of an inference was not measured at home, nor there.
    assert [row.model_copy(update={"methods": {}}) for row in ranking.rows] == [
        row.model_copy(update={"methods": {}}) for row in home.rows
    ]


def test_a_class_counts_by_its_median_and_classes_by_the_worst(run: Results) -> None:
    like = {
        f"{number}.json": all_three(latency_s, mib)
        for number, (latency_s, mib) in enumerate(((0.01, 100), (0.09, 300), (0.02, 120)))
    }
    ranking = rank(run, field=like)
    assert {(row.resources["latency"], row.resources["peak_memory"]) for row in ranking.rows} == {
        (0.02, 120 * MIB)
    }
    (device,) = ranking.devices
    assert device.reports == ("0.json", "1.json", "2.json")
    ranking = rank(run, field=like | {"other": all_three(0.015, 200, cpu="other")})
    assert {(row.resources["latency"], row.resources["peak_memory"]) for row in ranking.rows} == {
        (0.02, 200 * MIB)
    }
    assert [device.device.partition(" (")[0] for device in ranking.devices] == [
        "made cpu",
        "other",
        "worst case",
    ]


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ({}, 1),
        ({"memory_bytes": int(3.7 * 2**30)}, 1),
        ({"temperature_c": 80.0, "os": "Linux 6.9"}, 1),
        ({"memory_bytes": 2 << 30}, 2),
        ({"memory_bytes": None}, 2),
        ({"cores": 4}, 2),
        ({"gpu": "T4, 535.1, 15360 MiB"}, 2),
        ({"architecture": "aarch64"}, 2),
    ],
)
def test_which_devices_are_one_class(run: Results, change: dict[str, object], kinds: int) -> None:
    reports = {"a": field_report(bench("small", 0.1)), "b": field_report(bench("small", 0.2), **change)}  # type: ignore[arg-type]
    assert len(device_classes(reports, run)) == kinds


def test_bundles_measured_one_by_one_are_of_one_class(run: Results) -> None:
    reports = {name: field_report(bench(name, 0.1 * number)) for number, name in enumerate(NAMES, start=1)}
    ranking = rank(run, field=reports)
    assert len(ranking.devices) == 1
    assert {row.rank for row in ranking.rows} == {1, 2, 3}
    # Another runtime, if a user chose it, makes another class.
    again = rank(
        run, field={"a": all_three(), "b": field_report(*(bench(name, runtime="openvino") for name in NAMES))}
    )
    assert [device.device for device in again.devices] == [ONE, ONE.replace(")", ", openvino)"), "worst case"]


def test_an_emulated_machine_counts_for_memory_and_self_test_but_not_latency(run: Results) -> None:
    emulated = field_report(
        bench("small", 9.0, 900 * MIB),
        bench("middle", 9.0, 10 * MIB),
        bench("large", 9.0, selftest=FAILED),
        emulated=True,
    )
    alone = rank(run, field={"qemu.json": emulated})
    assert {row.architecture: row.resources["latency"] for row in alone.rows} == {
        "small": 0.01,
        "middle": 0.02,
        "large": 0.05,
    }
    assert row_of(alone, "small").resources["peak_memory"] == 900 * MIB
    assert "self-test failed" in row_of(alone, "large").reason
    assert "qemu.json" in row_of(alone, "large").reason
    (warning,) = row_of(alone, "small").warnings
    assert "home" in warning
    assert ONE.replace(")", ", emulated)") in warning
    (device,) = alone.devices
    assert device.moved[-1].startswith("large@64 fp32")
    assert row_of(alone, "large").reason in device.moved[-1]

    both = rank(run, field={"qemu.json": emulated, "real.json": all_three(0.03, 100)})
    assert {row.resources["latency"] for row in both.rows if row.rank} == {0.03}
    assert {row.architecture: row.resources["peak_memory"] for row in both.rows if row.rank} == {
        "small": 900 * MIB,
        "middle": 100 * MIB,
    }
    assert row_of(both, "large").rank is None
    assert row_of(both, "small").warnings == ()


def test_an_artifact_absent_from_an_emulated_machine_keeps_its_rank(run: Results) -> None:
    ranking = rank(run, field={"qemu": field_report(bench("small"), emulated=True), "real": all_three()})
    assert all(row.rank for row in ranking.rows)
    alone = rank(run, field={"qemu": field_report(bench("small"), emulated=True)})
    assert {row.reason for row in alone.rows} == {"", ABSENT}


def test_paced_load_counts_for_memory_but_not_latency(run: Results) -> None:
    paced = [bench(name, 5.0, 800 * MIB, scenario="paced", paced_s=10.0) for name in NAMES]
    ranking = rank(run, field={"a": all_three(0.03), "b": field_report(*paced)})
    assert {(row.resources["latency"], row.resources["peak_memory"]) for row in ranking.rows} == {
        (0.03, 450 * MIB)
    }
    alone = rank(run, field={"b": field_report(*paced)})
    assert {(row.rank, row.reason) for row in alone.rows} == {(None, "no score: latency not measured")}


def test_warnings_of_the_field_replace_those_of_home(tmp_path: Path) -> None:
    made = entry(tmp_path, "small")
    assert made.profile is not None
    busy = made.profile.model_copy(update={"load_before": 9.0})
    run = results(tmp_path, replace(made, profile=busy))
    assert "load 9 on 2 cores" in rank(run).rows[0].warnings[0]
    report = field_report(bench("small", warnings=("on battery: plug in and run again",)))
    assert rank(run, field={"a.json": report}).rows[0].warnings == (
        "in the field (a.json): on battery: plug in and run again",
    )


def test_more_than_five_changes_are_counted(run: Results) -> None:
    ranking = rank(run, field=one_and_two_threads())
    many = ranking.devices[0].model_copy(update={"moved": tuple(f"change {number}" for number in range(8))})
    lines = devices_table(ranking.model_copy(update={"devices": (many,)})).splitlines()
    assert lines[-2:] == ["    - change 4", "    - and 3 more"]
    lost = many.model_copy(update={"winner": None, "latency_s": None, "moved": ()})
    assert (
        devices_table(ranking.model_copy(update={"devices": (lost,)})).splitlines()[1]
        == f"  {ONE}: none to deploy"
    )


REPORTS = st.lists(
    st.builds(
        lambda figures, cpu, emulated: field_report(
            *(bench(name, latency_s, mib * MIB, valid=valid) for name, latency_s, mib, valid in figures),
            cpu=cpu,
            emulated=emulated,
        ),
        st.lists(
            st.tuples(st.sampled_from(NAMES), st.floats(1e-4, 1.0), st.integers(1, 999), st.booleans()),
            min_size=1,
            max_size=4,
        ),
        st.sampled_from("AB"),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=20, deadline=None)
@given(reports=REPORTS, data=st.data())
def test_the_order_of_the_reports_does_not_matter(
    run: Results, reports: list[FieldReport], data: st.DataObject
) -> None:
    named = [(f"{number}.json", report) for number, report in enumerate(reports)]
    shuffled = data.draw(st.permutations(named))
    classes = device_classes(dict(named), run)
    assert device_classes(dict(shuffled), run) == classes
    worst = worst_case(classes)
    assert worst_case(classes[::-1]).keys() == worst.keys()
    for sha256, measurement in worst_case(classes[::-1]).items():
        assert measurement.figures == worst[sha256].figures
    for device in classes:
        for sha256, measurement in device.measurements.items():
            for name, figure in measurement.figures.items():
                value = worst[sha256].figures[name].value
                assert value is None or figure.value is None or value >= figure.value


def test_browsers_are_a_class_of_their_own_with_the_memory_of_home(run: Results) -> None:
    page = {"runtime": "onnxruntime-web", "provider_used": "wasm", "threads": 1}
    in_browser = field_report(*(bench(name, 0.03, None, **page) for name in NAMES), cpu="Chrome on Android")
    ranking = rank(run, field={"page.json": in_browser, "bench.json": all_three()})
    assert [device.device for device in ranking.devices][:2] == [
        "Chrome on Android (x86_64, 2 cores, 4 GiB, 1 thread, onnxruntime-web, wasm)",
        ONE,
    ]
    alone = rank(run, field={"page.json": in_browser})
    assert [row.rank for row in alone.rows] == [1, 2, 3]
    assert row_of(alone, "large").resources["peak_memory"] == 400 * MIB
    assert "memory is that of home" in "".join(row_of(alone, "large").warnings)
    on_gpu = [bench(name, 0.02, None, **{**page, "provider_used": "webgpu"}) for name in NAMES]
    both = rank(
        run, field={"page.json": in_browser, "gpu.json": field_report(*on_gpu, cpu="Chrome on Android")}
    )
    assert len(both.devices) == 3  # and the worst case
