"""Images that are referred to a person: the error on the others, by the share that is answered."""

from __future__ import annotations

from collections.abc import Sequence

from pepr_edge.report.figure import FigureData, ReportFigure, Value
from pepr_edge.report.operating_points import OperatingPoint
from pepr_edge.report.plots import PALETTE, draw_legend
from pepr_edge.report.svg import open_figure, picture
from pepr_edge.text.units import performance, printable

NAME = "coverage"
MAX_CURVES = len(PALETTE)


def coverage_figures(points: Sequence[OperatingPoint]) -> tuple[ReportFigure, ...]:
    """Return the figure of the first files; none if no file refers images."""
    drawn = [point for point in points if point.curve is not None][:MAX_CURVES]
    if not drawn:
        return ()
    title = "Referred images: error by the share that is answered"
    rows: list[tuple[Value, ...]] = []
    told = []
    with open_figure() as (figure, axes):
        for point, colour in zip(drawn, PALETTE, strict=False):
            assert point.curve is not None
            name = f"{printable(point.candidate)} {printable(point.variant)}"
            coverage, risk = point.curve
            axes.plot(coverage, risk, color=colour, linewidth=1.4, label=name)
            referred = point.performance.get("referred_share")
            accuracy = point.performance.get("accuracy_if_answered")
            if referred is not None and accuracy is not None:
                axes.plot(1 - referred.value, 1 - accuracy.value, "o", color=colour, markersize=6)
                answered = performance(1 - referred.value, (1 - referred.ci[1], 1 - referred.ci[0]))
                error = performance(1 - accuracy.value, (1 - accuracy.ci[1], 1 - accuracy.ci[0]))
                told.append(f"{name}: {answered} answered, error {error}")
            rows += [(name, float(x), float(y)) for x, y in zip(coverage, risk, strict=True)]
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("share of test images that is answered")
        axes.set_ylabel("share of wrong decisions among them")
        draw_legend(axes)
        caption = (
            "On the test images, from the surest decision on; images unlike the training images come last. "
            f"Dots: at the limits, which were chosen on validation. {'; '.join(told)}."
        )
        drawing = picture(figure, NAME, f"Line plot of the error by the share that is answered. {caption}")
    data = FigureData(("model", "share_answered", "share_wrong"), tuple(rows))
    return (ReportFigure(NAME, title, caption, drawing, data),)
