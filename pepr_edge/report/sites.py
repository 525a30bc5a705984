"""The figures on labelled images of sites as a table, beside those at home."""

from __future__ import annotations

from pepr_edge.records import Figure, Ranking
from pepr_edge.report.tables import Cell, ReportTable
from pepr_edge.text.units import metric, performance, printable


def sites_table(ranking: Ranking) -> ReportTable | None:
    """Return the figures on labelled images of sites beside those at home; None without such reports."""
    rows = []
    for comparison in ranking.sites:
        for figure in comparison.figures:
            rows.append(
                (
                    Cell(printable(comparison.candidate)),
                    Cell(printable(comparison.variant)),
                    Cell(printable(comparison.report)),
                    Cell(metric(figure.metric)),
                    _figure(figure.home),
                    _figure(figure.site),
                    Cell("worse", "bad") if figure.worse else Cell("not shown to be worse"),
                )
            )
    if not rows:
        return None
    header = ("candidate", "variant", "report", "figure", "test at home", "on site", "against home")
    caption = (
        "Different images, so nothing is paired: worse means that the 95 % interval of the difference, made "
        "of both intervals, lies on the worse side of 0. Of forty figures one does so by chance alone."
    )
    return ReportTable("sites", "On labelled images of sites", caption, header, tuple(rows))


def _figure(figure: Figure) -> Cell:
    return Cell(performance(figure.value, figure.ci), "number", figure.value)
