from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from made_records import bench, entry, field_report, results

from pepr_edge.errors import ScoreError
from pepr_edge.ranking import rank
from pepr_edge.records import FieldReport, Method, Quantity
from pepr_edge.run_dir.reader import Results, VariantState


def with_energy(
    folder: Path, name: str, training_j: float, inference_j: float | None, method: Method = "measured"
) -> VariantState:
    trained = entry(folder, name, joules=training_j)
    assert trained.profile is not None
    energy = Quantity(value=inference_j, method=method if inference_j is not None else "unavailable")
    return replace(trained, profile=trained.profile.replace(energy_j_per_inference=energy))


def two(folder: Path) -> Results:
    return results(
        folder,
        with_energy(folder, "cheap to train", 100.0, 0.5),
        with_energy(folder, "cheap to run", 300.0, 0.1),
    )


def test_energy_per_image_and_the_cheapest_by_number_of_images(tmp_path: Path) -> None:
    ranking = rank(two(tmp_path), lifetime=1000)
    assert {row.architecture: row.lifetime_j_per_image for row in ranking.rows} == pytest.approx(
        {"cheap to train": 0.6, "cheap to run": 0.4}
    )
    assert ranking.lifetime is not None
    assert [(stretch.name, stretch.start, stretch.until) for stretch in ranking.lifetime.stretches] == [
        ("cheap to train@64 fp32", 1, pytest.approx(500)),
        ("cheap to run@64 fp32", pytest.approx(500), None),
    ]
    assert ranking.lifetime.methods == {"training": "measured", "inference": "measured"}
    assert rank(two(tmp_path / "again")).lifetime is None


def test_a_model_without_known_energy_is_left_out(tmp_path: Path) -> None:
    ranking = rank(
        results(
            tmp_path, with_energy(tmp_path, "known", 100.0, 0.5), with_energy(tmp_path, "unknown", 50.0, None)
        ),
        lifetime=10,
    )
    assert ranking.lifetime is not None
    assert ranking.lifetime.left_out == ("unknown@64 fp32",)
    assert [stretch.name for stretch in ranking.lifetime.stretches] == ["known@64 fp32"]
    assert {row.architecture: row.lifetime_j_per_image for row in ranking.rows} == {
        "known": 10.5,
        "unknown": None,
    }


def test_a_reason_is_given_if_no_energy_is_known(tmp_path: Path) -> None:
    ranking = rank(results(tmp_path, with_energy(tmp_path, "unknown", 50.0, None)), lifetime=10)
    assert ranking.lifetime is not None
    assert "declare the watts" in ranking.lifetime.reason


def test_measured_and_declared_inferences_are_not_compared(tmp_path: Path) -> None:
    ranking = rank(
        results(
            tmp_path,
            with_energy(tmp_path, "a", 100.0, 0.5),
            with_energy(tmp_path, "b", 100.0, 0.4, "declared"),
        ),
        lifetime=10,
    )
    assert ranking.lifetime is not None
    assert ranking.lifetime.stretches == ()
    assert "obtained in different ways (declared, measured)" in ranking.lifetime.reason
    assert all(row.lifetime_j_per_image is None for row in ranking.rows)


@pytest.mark.parametrize("images", [0, 0.5, -3])
def test_a_lifetime_below_one_image_is_refused(tmp_path: Path, images: float) -> None:
    with pytest.raises(ScoreError, match="expected a number >= 1"):
        rank(two(tmp_path), lifetime=images)


def test_the_energy_of_the_field_replaces_that_of_home(tmp_path: Path) -> None:
    made = [
        bench(name).model_copy(update={"energy_j_per_inference": 2.0, "energy_method": "declared"})
        for name in ("cheap to train", "cheap to run")
    ]
    ranking = rank(two(tmp_path), field={"clinic.json": field_report(*made)}, lifetime=100)
    assert {row.inference_energy_j for row in ranking.rows} == {2.0}
    assert ranking.lifetime is not None
    assert ranking.lifetime.methods["inference"] == "declared"
    without = rank(
        two(tmp_path / "again"),
        field={"clinic.json": field_report(bench("cheap to train"), bench("cheap to run"))},
        lifetime=100,
    )
    assert {row.inference_energy_j for row in without.rows} == {None}


def test_a_counter_and_an_estimate_have_no_worst_case(tmp_path: Path) -> None:
    def report(method: Method, first: float, second: float) -> FieldReport:
        energies = {"cheap to train": first, "cheap to run": second}
        made = [
            bench(name).model_copy(update={"energy_j_per_inference": j, "energy_method": method})
            for name, j in energies.items()
        ]
        return field_report(*made)

    reports = {"a.json": report("measured", 1.0, 5.0), "b.json": report("declared", 3.0, 2.0)}
    ranking = rank(two(tmp_path), field=reports, lifetime=100)
    assert {row.inference_energy_j for row in ranking.rows} == {None}
    assert {row.methods["inference_energy"] for row in ranking.rows} == {"declared and measured"}
    assert ranking.lifetime is not None
    assert ranking.lifetime.stretches == ()
