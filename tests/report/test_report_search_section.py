"""A search in the report and in the terminal."""

from __future__ import annotations

import report_records as records

from pepr_edge.records import CostEstimate, RankingRow, SearchedCandidate, SearchLog, Verdict
from pepr_edge.report.html import ReportInput, render
from pepr_edge.report.search_section import search_table, spent_and_saved
from pepr_edge.report.terminal import DROPPED_SHOWN, ranking_table
from pepr_edge.text.tables import WIDTH


def one(
    name: str, verdict: Verdict, reason: str, epochs: int = 0, full_j: float | None = 7200.0
) -> SearchedCandidate:
    ahead = CostEstimate(
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
        prospects=(ahead,),
    )


LOG = SearchLog(
    key="k",
    policy="bounded",
    candidates=(
        one("small@64", "finished", "trained to its end", 3),
        one("middle@64", "dropped", "after epoch 1: chance <b>0.002</b>", 1),
        one("large@64", "rejected", "before its training: fp32 latency at p90 4 ms, budget 2 ms", 0, None),
    ),
    stopped="no candidate is left that may win",
    spent_j=1440.0,
    saved_j=36000.0,
)


def test_the_table_says_what_became_of_each_candidate_and_what_was_saved() -> None:
    table = search_table(LOG)
    assert [row[1].text for row in table.rows] == ["trained to its end", "given up", "rejected by the device"]
    assert [row[4].text for row in table.rows] == ["4.00 ms"] * 3
    assert table.rows[2][6].kind == "missing"
    assert table.dimmed == {1, 2}
    assert table.caption == (
        "Policy bounded: of 3 candidates 2 begun, 1 trained to the end. 0.400 Wh spent on training, cost probes included; "
        "about 10.0 Wh saved, as the probes estimate. It stopped: no candidate is left that may win."
    )


def test_where_the_energy_is_not_known_nothing_is_said_of_it() -> None:
    assert "saved" not in search_table(LOG.model_copy(update={"spent_j": None, "saved_j": None})).caption


def test_the_figure_parts_what_was_spent_from_what_was_saved() -> None:
    figure = spent_and_saved(LOG)
    assert figure.data is not None
    assert figure.data.rows == (
        ("small@64", 0.3, 0.0, "trained to its end"),
        ("middle@64", 0.1, 1.9, "given up"),
    )
    assert "Not drawn, since one of the two is not known: 1." in figure.caption
    nothing = spent_and_saved(LOG.model_copy(update={"candidates": LOG.candidates[2:]}))
    assert (nothing.svg, nothing.caption) == ("", "Not drawn: the energy of the trainings is not known.")


def test_the_page_has_a_section_on_a_search_if_there_was_one() -> None:
    run = records.run(architectures=())
    plain = ReportInput(
        "title",
        run.ranking.device,
        run.budgets,
        run.data,
        run.ranking,
        run.trained,
        run.artifacts,
        run.profiles,
        run.failures,
    )
    assert 'id="search"' not in render(plain)
    page = render(ReportInput(**{**vars(plain), "search": LOG}))
    assert 'id="search"' in page
    assert 'id="figure-spared"' in page
    assert 'href="#search"' in page
    assert "chance &lt;b&gt;0.002&lt;/b&gt;" in page


def test_the_terminal_names_each_spared_candidate_once_and_not_all_of_many() -> None:
    rows = [
        RankingRow(
            rank=None,
            candidate=f"net{n}@64",
            architecture=f"net{n}",
            variant=variant,
            status="dropped",
            reason=f"its bound is 0.{n}",
        )
        for n in range(DROPPED_SHOWN + 30)
        for variant in ("fp32", "int8_static")
    ]
    lines = ranking_table(records.rank(rows)).splitlines()
    assert sum("not trained to its end: its bound is" in line for line in lines) == DROPPED_SHOWN
    assert "  and 30 more that were not trained to their end: ranking.json and report.html say why" in lines
    assert all(len(line) <= WIDTH for line in lines)
