"""The ranking by measurements of the field, beside those of home."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_records import bench, entry, field_report, results
from three_models import MIB, names, row_of, three

from pepr_edge.ranking import rank


def test_field_reports_replace_measurements_of_home(tmp_path: Path) -> None:
    made = three(tmp_path)
    report = field_report(
        bench("small", 0.3, 500 * MIB),
        bench("middle", 0.1, 100 * MIB),
        bench("large", 0.2, 200 * MIB),
        cpu="Atom",
    )
    ranking = rank(made, field={"clinic.json": report})
    assert ranking.device == "Atom (x86_64, 2 cores, 4 GiB, 1 thread)"
    measured = {
        row.architecture: (row.resources["latency"], row.resources["peak_memory"]) for row in ranking.rows
    }
    assert measured == {"small": (0.3, 500 * MIB), "middle": (0.1, 100 * MIB), "large": (0.2, 200 * MIB)}
    assert (ranking.bounds["latency"].lo, ranking.bounds["latency"].hi) == (0.1, 0.3)
    assert names(ranking) == ["middle", "large", "small"]
    # Training was at home.
    assert row_of(ranking, "middle").resources["train_energy"] == 200.0


def test_the_worst_of_several_devices_counts_in_any_order(tmp_path: Path) -> None:
    made = three(tmp_path)
    fast = field_report(*(bench(name, 0.1, 300 * MIB) for name in ("small", "middle", "large")), cpu="A")
    slow = field_report(*(bench(name, 0.2, 250 * MIB) for name in ("small", "middle", "large")), cpu="B")
    for reports in ({"a": fast, "b": slow}, {"b": slow, "a": fast}):
        ranking = rank(made, field=reports)
        assert {(row.resources["latency"], row.resources["peak_memory"]) for row in ranking.rows} == {
            (0.2, 300 * MIB)
        }
    assert ranking.device == "A (x86_64, 2 cores, 4 GiB, 1 thread), B (x86_64, 2 cores, 4 GiB, 1 thread)"


def test_the_worst_of_one_report_counts_too(tmp_path: Path) -> None:
    report = field_report(
        bench("small", 0.3), bench("small", 0.1), *(bench(name, 0.2) for name in ("middle", "large"))
    )
    assert row_of(rank(three(tmp_path), field={"a": report}), "small").resources["latency"] == 0.3


@pytest.mark.parametrize("order", [("first", "second"), ("second", "first")])
def test_an_artifact_not_measured_on_every_device_has_no_score(
    tmp_path: Path, order: tuple[str, str]
) -> None:
    reports = {
        "first": field_report(bench("small"), bench("middle"), bench("large"), cpu="A"),
        "second": field_report(bench("small"), bench("large", samples=20), cpu="B"),
    }
    ranking = rank(three(tmp_path), field={name: reports[name] for name in order})
    assert [(row.architecture, row.rank) for row in ranking.rows if row.rank] == [("small", 1)]
    large = row_of(ranking, "large")
    assert (large.resources["latency"], large.methods["latency"]) == (None, "unavailable")
    assert large.reason == "no score: latency not measured"
    assert "not measured on B (x86_64, 2 cores, 4 GiB, 1 thread)" in row_of(ranking, "middle").reason


def test_memory_that_only_the_field_measured_counts(tmp_path: Path) -> None:
    made = results(tmp_path, entry(tmp_path, "small", memory_bytes=None), entry(tmp_path, "large"))
    ranking = rank(
        made,
        field={"a": field_report(bench("small", memory_bytes=5 * MIB), bench("large", memory_bytes=9 * MIB))},
    )
    assert {row.rank for row in ranking.rows} == {1, 2}
    assert row_of(ranking, "small").methods["peak_memory"] == "measured"
    assert ranking.bounds["peak_memory"].hi == 9 * MIB


def test_budgets_apply_in_the_field(tmp_path: Path) -> None:
    made = three(tmp_path, "[budgets]\nlatency_p90_ms = 60\n")
    assert all(row.status == "ok" for row in rank(made).rows)
    report = field_report(bench("small", 0.05), bench("middle", 0.07))
    ranking = rank(made, field={"a": report})
    assert {row.architecture: row.status for row in ranking.rows} == {
        "small": "ok",
        "middle": "over_budget",
        "large": "failed",
    }
    assert "not measured in the field" in row_of(ranking, "large").reason


def test_an_invalid_field_measurement_affects_only_its_artifact(tmp_path: Path) -> None:
    report = field_report(bench("small", valid=False), bench("middle"), bench("large"))
    ranking = rank(three(tmp_path), field={"clinic.json": report})
    row = row_of(ranking, "small")
    assert (row.rank, row.status) == (None, "failed")
    assert row.reason == "its measurement in the field (clinic.json) is INVALID: drift: made"
    assert {row.architecture for row in ranking.rows if row.rank} == {"middle", "large"}


def test_a_foreign_bundle_beside_ours_is_ignored(tmp_path: Path) -> None:
    ranking = rank(three(tmp_path), field={"a": field_report(bench("foreign"), bench("small"))})
    assert len(ranking.rows) == 3
    assert row_of(ranking, "small").rank == 1
