"""How models do on the images of a site against those at home, in sentences."""

from __future__ import annotations

from pepr_edge.records import SiteComparison, SiteFigure
from pepr_edge.text.units import count, metric, performance, printable, score


def worse_sentence(comparison: SiteComparison) -> str:
    """Return a warning that names the figures that are worse on site by more than chance."""
    worse = [
        f"{metric(figure.metric)} {score(figure.site.value)} against {score(figure.home.value)}"
        for figure in comparison.figures
        if figure.worse
    ]
    return f"worse on site than at home ({printable(comparison.report)}): {'; '.join(worse)}"


def comparison_sentence(comparison: SiteComparison) -> str:
    """Return what the images of a site say about a model, in a line."""
    start = (
        f"{printable(comparison.candidate)} {printable(comparison.variant)}, {count(comparison.images)} "
        f"images ({printable(comparison.report)})"
    )
    worse = [figure for figure in comparison.figures if figure.worse]
    if not comparison.figures:
        text = "no figure that home has, too"
    elif worse:
        text = f"worse than at home by more than chance: {'; '.join(map(figure_text, worse))}"
    else:
        text = "not shown to be worse than at home"
    return f"{start}: {text}{'; ' if comparison.note else ''}{comparison.note}"


def figure_text(figure: SiteFigure) -> str:
    """Return a figure on site and at home with both intervals."""
    site = performance(figure.site.value, figure.site.ci)
    home = performance(figure.home.value, figure.home.ci)
    return f"{metric(figure.metric)} {site} against {home}"
