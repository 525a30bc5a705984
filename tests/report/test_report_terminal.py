"""The ranking's table in a terminal."""

from __future__ import annotations

import pytest
import report_records as records

from pepr_edge.records import RankingRow
from pepr_edge.report.terminal import ranking_table
from pepr_edge.text.tables import WIDTH

LONG = "a_very_long_architecture_name_that_nobody_would_ever_type_twice_" * 3
UNMEASURED = records.run(energy=False, memory=False, architectures=("resnet18d",), failed=())


@pytest.mark.parametrize(
    "run",
    [
        records.run(),
        records.run(architectures=()),
        records.run(architectures=("resnet18d",), failed=()),
        records.run(energy=False, memory=False),
        records.run(architectures=tuple(f"architecture_{number}" for number in range(40))),
        records.run(architectures=(LONG, "resnet18d"), failed=(LONG,), budgets={"latency_p90_s": 0.0008}),
    ],
    ids=["usual", "none", "one", "unmeasured", "forty", "long"],
)
def test_the_table_fits_the_terminal_and_has_every_row(run: records.Run) -> None:
    lines = ranking_table(run.ranking).splitlines()
    assert all(len(line) <= WIDTH == 100 for line in lines)
    ranked = [row for row in run.ranking.rows if row.rank is not None]
    shown = [line for line in lines if line.lstrip()[:1].isdigit() and " @" not in line]
    assert sum("fp32" in line or "int8" in line for line in shown) == len(ranked)
    statuses = {row.status for row in run.ranking.rows} - {"ok"}
    assert sum("failed" in line or "rejected" in line for line in lines) >= len(statuses)


def test_the_table_has_figures_reasons_and_notes() -> None:
    table = ranking_table(records.run(budgets={"latency_p90_s": 0.0035}).ranking)
    assert "0.899 (0.87-0.92) 0.869" in table
    assert "semnasnet_075@64 fp32 rejected: latency at p90" in table
    assert "halonet26t@64 failed: image size 64" in table
    assert "INVALID profile: drift of 14 %" in table
    assert "energy is declared" in " ".join(table.split())


def test_a_dash_stands_for_not_measured() -> None:
    table = ranking_table(UNMEASURED.ranking)
    first = next(line for line in table.splitlines() if "fp32" in line)
    assert " - " in first
    assert "- not measured." in table


def test_the_table_drops_terminal_codes() -> None:
    row = RankingRow(
        rank=None,
        candidate="x@64",
        architecture="x",
        variant=None,
        status="failed",
        reason="\x1b[31mred\x1b[0m\nnext\tline\x07",
    )
    assert "x@64 failed: red next line" in ranking_table(records.rank([row]))


def test_without_a_ranked_row_there_is_no_header() -> None:
    assert ranking_table(records.run(architectures=()).ranking).startswith("Without a rank:")
    assert ranking_table(records.rank([])) == ""


def test_a_row_that_is_not_done_yet_did_not_fail() -> None:
    ranking = records.run().ranking
    changes = {"rank": None, "status": "failed", "reason": "not done yet: run it again"}
    row = ranking.rows[0].model_copy(update=changes)
    text = ranking_table(ranking.model_copy(update={"rows": (row,), "baseline": None}))
    assert "not done yet: run it again" in text
    assert "failed" not in text


def test_the_class_of_the_metric_is_named() -> None:
    ranking = records.run(metric="f1").ranking.model_copy(update={"positive": "pneumonia"})
    assert "F1 of 'pneumonia' on validation" in " ".join(ranking_table(ranking).split())


def test_notes_that_differ_only_in_numbers_share_a_footnote() -> None:
    ranking = records.run(("resnet18d",), failed=()).ranking
    notes = (
        "other programs used the CPU (load 1.5 on 2 cores)",
        "other programs used the CPU (load 12 on 2 cores)",
    )
    rows = tuple(
        row.model_copy(update={"warnings": (note, "slow")})
        for row, note in zip(ranking.rows, notes, strict=True)
    )
    lines = ranking_table(ranking.model_copy(update={"rows": rows})).splitlines()
    assert "[1] other programs used the CPU (load 1.5 to 12 on 2 cores)" in lines
    assert "[2] slow" in lines
    assert sum(line.endswith("[1,2]") for line in lines) == 2
