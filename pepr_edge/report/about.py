"""What the makers of the models say of them, as a table of the report."""

from __future__ import annotations

from pepr_edge.records import ABOUT_TITLES, About
from pepr_edge.report.tables import Cell, ReportTable
from pepr_edge.text.units import printable


def about_table(about: About | None) -> ReportTable | None:
    """Return the statements; None if there are none."""
    if about is None:
        return None
    said = about.said()
    rows = tuple(
        (Cell(title), Cell(printable(said[name]))) for name, title in ABOUT_TITLES.items() if name in said
    )
    caption = "From [about] in the recipe; pepr_edge checks none of it."
    return ReportTable("about", "What the makers say", caption, ("item", "statement"), rows, sortable=False)
