"""Data and captions of the figures of performance, score and energy over a lifetime."""

from __future__ import annotations

import pytest
import report_records as records

from pepr_edge.records import Ranking, RankingRow
from pepr_edge.report.figures import against_resources, on_isoclines
from pepr_edge.report.lifetime import over_patients

NAMES = ("resnet18d", "dla46_c", "ghostnet_100")


def with_inference_energy(ranking: Ranking, joules: dict[str, float]) -> Ranking:
    """Return the ranking with the energy of a prediction for some architectures."""
    rows = []
    for row in ranking.rows:
        energy_j = joules.get(row.architecture)
        methods = {**row.methods, "inference_energy": "declared"}
        rows.append(row.model_copy(update={"inference_energy_j": energy_j, "methods": methods}))
    return ranking.model_copy(update={"rows": tuple(rows)})


def measured(row: RankingRow) -> RankingRow:
    return row.model_copy(update={"methods": {**row.methods, "inference_energy": "measured"}})


def test_the_points_of_a_plot_are_those_of_the_ranking() -> None:
    run = records.run(NAMES, budgets={"latency_p90_s": 0.0013})
    figure = against_resources(run.ranking, run.data, run.budgets)[0]
    assert figure.data is not None
    assert figure.data.header[4:8] == ("latency_p90_ms", "validation_accuracy", "ci_low", "ci_high")
    rows = {(row.candidate, row.variant): row for row in run.ranking.rows if row.performance is not None}
    assert len(figure.data.rows) == len(rows)
    for candidate, variant, rank, status, x, y, low, high, front in figure.data.rows:
        row = rows[candidate, variant]  # type: ignore[index]
        assert (rank, status, y, (low, high)) == (row.rank, row.status, row.performance, row.performance_ci)
        assert x == pytest.approx(1e3 * (row.resources["latency"] or 0))
        assert not (front and row.rank is None)
    assert any(row[-1] for row in figure.data.rows)


def test_on_an_isocline_performance_and_resource_give_the_score() -> None:
    ranking = records.run(NAMES).ranking
    figure = on_isoclines(ranking)
    assert figure.data is not None
    scores = {(row.candidate, row.variant): row.pepr["edge"] for row in ranking.rows if row.rank}
    for candidate, variant, _, _, resource, performance, *_ in figure.data.rows:
        assert performance / (1 + resource) == pytest.approx(scores[candidate, variant])  # type: ignore[operator,index]


def test_without_a_weighted_resource_there_are_no_isoclines() -> None:
    figure = on_isoclines(records.run(NAMES, energy=False).ranking)
    assert figure.picture is None
    assert "PePR edge" in figure.caption


def test_energy_over_a_lifetime_names_the_cheapest_models() -> None:
    # resnet18d is the cheapest to train (1200 J), and needs most for a prediction.
    ranking = with_inference_energy(records.run(NAMES).ranking, {"resnet18d": 1.0, "dla46_c": 0.25})
    figure = over_patients(ranking)
    assert "resnet18d@64" in figure.caption
    assert "up to 1,000 images" in figure.caption
    assert "from 1,000 images on" in figure.caption
    assert "not known: 2 models" in figure.caption
    assert figure.data is not None
    first = next(row for row in figure.data.rows if str(row[0]).startswith("resnet18d@64"))
    assert first[1:] == (1.0, pytest.approx(1201 / 3600), True)


def test_energies_that_cannot_be_compared_are_not_drawn() -> None:
    ranking = records.run(NAMES).ranking
    unknown = over_patients(ranking)
    assert unknown.picture is None
    assert "is not known" in unknown.caption
    known = with_inference_energy(ranking, dict.fromkeys(NAMES, 1.0))
    rows = tuple(measured(row) if row.rank == 1 else row for row in known.rows)
    mixed = over_patients(known.model_copy(update={"rows": rows}))
    assert mixed.picture is None
    assert "(declared, measured)" in mixed.caption
