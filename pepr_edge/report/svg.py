"""An empty figure for the page, and its way to SVG and PNG: without pyplot, in the page's ink, with ids that no other figure has."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A colour that nothing else has; it becomes currentColor in the SVG, so that a figure reads on a light and a dark page.
INK = "#123456"
WIDTH_IN, HEIGHT_IN = 5.4, 3.9  # small enough for its text to be read on a phone
DPI = 200


@dataclass(frozen=True)
class Picture:
    """One figure: its SVG, which is an element of a page and a document of its own, and its PNG, drawn when it is asked for."""

    name: str
    alt: str
    svg: str
    figure: Figure = field(repr=False, compare=False)

    @cached_property
    def png(self) -> bytes:
        """The figure on white, since a PNG has no page behind it."""
        buffer = io.BytesIO()
        metadata: Any = {"Description": self.alt, "Software": None}
        with _settings():
            self.figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata=metadata)
        return buffer.getvalue()


def picture(figure: Figure, name: str, alt: str) -> Picture:
    """A finished figure.

    Args:
        figure: of `open_figure`.
        name: unique on the page; the SVG's ids begin with it.
        alt: what a reader who cannot see it is told.
    """
    svg = _to_svg(figure, name, alt)
    figure.set_layout_engine("none")  # as `settle` says, for the PNG
    return Picture(name, alt, svg, figure)


def settle(figure: Figure) -> None:
    """Lay a figure out, once and for all: to find a layout takes as long as to draw it."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


@contextmanager
def open_figure(rows: int | None = None) -> Iterator[tuple[Figure, Axes]]:
    """A figure with one pair of axes, without pyplot, its settings undone afterwards; with `rows`, as high as these need."""
    with open_panels(height_in=HEIGHT_IN if rows is None else 0.9 + 0.23 * max(rows, 2)) as (figure, (axes,)):
        yield figure, axes


@contextmanager
def open_panels(columns: int = 1, height_in: float = HEIGHT_IN) -> Iterator[tuple[Figure, tuple[Axes, ...]]]:
    """A figure with some pairs of axes side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with _settings():
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, tuple(figure.subplots(1, columns, squeeze=False)[0])


@contextmanager
def _settings() -> Iterator[None]:
    import matplotlib

    settings: Any = {
        "font.family": "DejaVu Sans",
        "font.size": 8.5,
        "svg.fonttype": "none",
        "svg.hashsalt": "pepr_edge",
        "text.parse_math": False,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": INK,
        "grid.alpha": 0.13,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.fontsize": 8,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # Text stays text in the SVG: a character that matplotlib's font lacks is drawn by the browser's.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _to_svg(figure: Figure, name: str, alt: str) -> str:
    """The figure as an SVG element for a page: ids that no other figure has, ink of the page, a label, no fixed size."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # matplotlib's style sheet would hold for the whole page; the same two properties on the element are inherited.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
    svg = re.sub(r' xmlns:xlink="[^"]*"| width="[\d.]+pt"| height="[\d.]+pt"', "", svg)
    svg = svg.replace(INK, "currentColor").replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans', sans-serif")
    head = f'<svg role="img" aria-label={quoteattr(alt)} stroke-linejoin="round" stroke-linecap="butt" '
    return svg.replace("<svg ", head, 1).strip()
