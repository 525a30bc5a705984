"""A search in the report and in the terminal."""

from __future__ import annotations

from dataclasses import replace

import report_records as records

from pepr_edge.records import CostEstimate, RankingRow, SearchedCandidate, SearchLog, Verdict
from pepr_edge.report.html import render
from pepr_edge.report.search_section import search_table, spent_and_saved
from pepr_edge.report.terminal import MAX_PRUNED, ranking_table
from pepr_edge.text.tables import WIDTH


def candidate(
    name: str, verdict: Verdict, reason: str, epochs: int = 0, full_j: float | None = 7200.0
) -> SearchedCandidate:
    estimate = CostEstimate(
        variant="fp32", resources={"latency": 0.004}, methods={"latency": "measured"}, size_bytes=1
    )
    return SearchedCandidate(
        candidate=name,
        verdict=verdict,
        reason=reason,
        r=0.25,
        epochs=epochs,
        spent_j=360.0 * epochs,
        full_j=full_j,
        prospects=(estimate,),
    )


LOG = SearchLog(
    key="k",
    policy="bounded",
    candidates=(
        candidate("small@64", "finished", "fully trained", 3),
        candidate("middle@64", "dropped", "after epoch 1: chance <b>0.002</b>", 1),
        candidate("large@64", "rejected", "fp32 latency at p90 4 ms, budget 2 ms", 0, None),
    ),
    stopped="no candidate is left",
    spent_j=1440.0,
    saved_j=36000.0,
)


def test_the_table_has_the_outcome_of_each_candidate_and_the_energy_saved() -> None:
    table = search_table(LOG)
    assert [row[1].text for row in table.rows] == ["fully trained", "stopped", "rejected before training"]
    assert [row[4].text for row in table.rows] == ["4.00 ms"] * 3
    assert table.rows[2][6].kind == "missing"
    assert table.dimmed == {1, 2}
    for part in ("bounded", "3 candidates, 2 started and 1", "0.400 Wh spent", "10.0 Wh saved", LOG.stopped):
        assert part in table.caption


def test_unknown_energy_is_not_in_the_caption() -> None:
    assert "saved" not in search_table(LOG.model_copy(update={"spent_j": None, "saved_j": None})).caption


def test_the_figure_separates_energy_spent_from_energy_saved() -> None:
    figure = spent_and_saved(LOG)
    assert figure.data is not None
    assert figure.data.rows == (("small@64", 0.3, 0.0, "fully trained"), ("middle@64", 0.1, 1.9, "stopped"))
    assert "not known: 1 candidate." in figure.caption
    unknown = spent_and_saved(LOG.model_copy(update={"candidates": LOG.candidates[2:]}))
    assert unknown.svg == ""
    assert "not known" in unknown.caption


def test_the_page_has_a_section_on_a_search_if_there_was_one() -> None:
    report = records.report_input(records.run(architectures=()))
    assert 'id="search"' not in render(report)
    page = render(replace(report, search=LOG))
    assert 'id="search"' in page
    assert 'id="figure-spared"' in page
    assert 'href="#search"' in page
    assert "chance &lt;b&gt;0.002&lt;/b&gt;" in page


def test_the_terminal_names_each_pruned_candidate_once_and_counts_the_rest() -> None:
    rows = [
        RankingRow(
            rank=None,
            candidate=f"net{n}@64",
            architecture=f"net{n}",
            variant=variant,
            status="dropped",
            reason=f"its bound is 0.{n}",
        )
        for n in range(MAX_PRUNED + 30)
        for variant in ("fp32", "int8_static")
    ]
    lines = ranking_table(records.rank(rows)).splitlines()
    assert sum("its bound is" in line for line in lines) == MAX_PRUNED
    assert any("and 30 more" in line for line in lines)
    assert all(len(line) <= WIDTH for line in lines)
