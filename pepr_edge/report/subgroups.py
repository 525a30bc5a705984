"""The test performance of the first models by subgroup, as a table."""

from __future__ import annotations

from pepr_edge.records import Ranking
from pepr_edge.report.tables import Cell, ReportTable
from pepr_edge.text.rows import ranked_rows
from pepr_edge.text.subgroups import HEADER, WORST, group_rows, hidden_sentence, metric_of
from pepr_edge.text.units import capitalised, printable

# Models that are shown, by rank.
SHOWN = 3


def subgroups_table(ranking: Ranking) -> ReportTable | None:
    """Return the table; None without subgroups."""
    rows = []
    ranked = [row for row in ranked_rows(ranking) if row.subgroups][:SHOWN]
    for row in ranked:
        for cells in group_rows(row.subgroups):
            *others, last = cells
            model = (Cell(printable(row.candidate)), Cell(printable(row.variant or "")))
            rows.append((*model, *map(Cell, others), Cell(last, "bad" if last == WORST else "text")))
    if not rows:
        return None
    columns = ranked[0].subgroups
    caption = (
        f"{capitalised(metric_of(columns))} of the first models on the test images by the columns of "
        f"[data] subgroups. {hidden_sentence(columns)}"
    )
    header = ("candidate", "variant", *HEADER)
    return ReportTable("subgroups", "By subgroup", caption.rstrip(), header, tuple(rows))
