"""What the figures of performance, score and energy over a life are drawn from."""

from __future__ import annotations

import pytest
import report_records as records

from pepr_edge.records import Ranking
from pepr_edge.report.figures import against_resources, on_isoclines
from pepr_edge.report.lifetime import over_patients

NAMES = ("resnet18d", "dla46_c", "ghostnet_100")


def with_answers(ranking: Ranking, joules: dict[str, float], method: str = "declared") -> Ranking:
    """The same ranking, the energy of an answer known of some."""
    rows = tuple(
        row.model_copy(
            update={
                "inference_energy_j": joules.get(row.architecture),
                "methods": {**row.methods, "inference_energy": method},
            }
        )
        for row in ranking.rows
    )
    return ranking.model_copy(update={"rows": rows})


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


def test_on_an_isocline_performance_and_resource_make_the_score() -> None:
    ranking = records.run(NAMES).ranking
    figure = on_isoclines(ranking)
    assert figure.data is not None
    scores = {(row.candidate, row.variant): row.pepr["edge"] for row in ranking.rows if row.rank}
    for candidate, variant, _, _, resource, performance, *_ in figure.data.rows:
        assert performance / (1 + resource) == pytest.approx(scores[candidate, variant])  # type: ignore[operator,index]


def test_without_a_weighted_resource_there_are_no_isoclines() -> None:
    run = records.run(NAMES, energy=False)
    assert on_isoclines(run.ranking).caption == "Not drawn: no model has a PePR edge score."


def test_energy_over_a_life_names_who_needs_the_least_and_from_where() -> None:
    # resnet18d is the cheapest to train (1200 J), and the dearest to ask.
    ranking = with_answers(records.run(NAMES).ranking, {"resnet18d": 1.0, "dla46_c": 0.25})
    figure = over_patients(ranking)
    assert "resnet18d@64" in figure.caption
    assert "up to 1,000 images" in figure.caption
    assert "from 1,000 images on" in figure.caption
    assert "Not drawn, since an energy of theirs is not known: 2." in figure.caption
    assert figure.data is not None
    first = next(row for row in figure.data.rows if str(row[0]).startswith("resnet18d@64"))
    assert first[1:] == (1.0, pytest.approx(1201 / 3600), True)


def test_energies_that_cannot_be_compared_are_not_drawn() -> None:
    ranking = records.run(NAMES).ranking
    assert over_patients(ranking).caption.startswith(
        "Not drawn: the energy of training or of an answer is not known."
    )
    mixed = with_answers(ranking, dict.fromkeys(NAMES, 1.0))
    rows = tuple(
        row.model_copy(update={"methods": {**row.methods, "inference_energy": "measured"}})
        if row.rank == 1
        else row
        for row in mixed.rows
    )
    assert over_patients(mixed.model_copy(update={"rows": rows})).caption == (
        "Not drawn: energies were obtained in different ways (declared, measured)."
    )
