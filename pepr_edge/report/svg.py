"""Open an empty figure without pyplot, and convert a figure to SVG for the page and to PNG."""

from __future__ import annotations

import importlib.util
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Placeholder colour, used by nothing else: it becomes currentColor in the SVG, for light and dark pages.
INK = "#123456"
# Inches; so small that the text can be read on a phone.
WIDTH_IN = 5.4
HEIGHT_IN = 3.9
DPI = 200


@dataclass(frozen=True)
class Picture:
    """A drawn figure: its SVG, both an element of a page and a document, and its PNG, rendered on demand."""

    name: str
    alt: str
    svg: str
    figure: Figure = field(repr=False, compare=False)

    @cached_property
    def png(self) -> bytes:
        """Return the figure on white, because a PNG has no page behind it."""
        buffer = io.BytesIO()
        metadata: Any = {"Description": self.alt, "Software": None}
        with _settings():
            self.figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata=metadata)
        return buffer.getvalue()


def picture(figure: Figure, name: str, alt: str) -> Picture:
    """Convert a finished figure.

    Args:
        figure: from `open_figure`.
        name: unique on the page; the SVG's ids begin with it.
        alt: description for readers who cannot see it.
    """
    svg = _to_svg(figure, name, alt)
    figure.set_layout_engine("none")  # the PNG keeps the layout of the SVG
    return Picture(name, alt, svg, figure)


def settle(figure: Figure) -> None:
    """Compute the layout of a figure once and keep it: the layout takes as long as drawing."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


@contextmanager
def open_figure(rows: int | None = None) -> Iterator[tuple[Figure, Axes]]:
    """Open a figure with one pair of axes; matplotlib's settings are restored afterwards.

    Args:
        rows: number of rows that the height must fit; None for the usual height.
    """
    height_in = HEIGHT_IN if rows is None else 0.9 + 0.23 * max(rows, 2)
    with open_panels(height_in=height_in) as (figure, (axes,)):
        yield figure, axes


@contextmanager
def open_panels(columns: int = 1, height_in: float = HEIGHT_IN) -> Iterator[tuple[Figure, tuple[Axes, ...]]]:
    """Open a figure with several pairs of axes side by side."""
    load_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with _settings():
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, tuple(figure.subplots(1, columns, squeeze=False)[0])


def load_matplotlib() -> None:
    """Import matplotlib with its own settings, not those of a matplotlibrc in the working directory.

    It looks for that file there first. So it is imported in the folder of its own. Its warnings, such as that
    it cannot keep a list of fonts in this home, are shown with -v.
    """
    package = importlib.util.find_spec("matplotlib")
    if "matplotlib" in sys.modules or package is None or package.origin is None:
        return
    shipped = Path(package.origin).parent / "mpl-data"
    if not logging.getLogger().isEnabledFor(logging.INFO):
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
    here = None
    with suppress(OSError):  # it was deleted
        here = Path.cwd()
    try:
        with suppress(OSError):
            os.chdir(shipped)
        import matplotlib  # noqa: F401
    finally:
        if here is not None:
            os.chdir(here)


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
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        # Text stays text in the SVG: the browser draws characters that matplotlib's font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _to_svg(figure: Figure, name: str, alt: str) -> str:
    """Return the figure as an SVG element: unique ids, the page's text colour, a label, no fixed size."""
    buffer = io.StringIO()
    no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=no_metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # matplotlib's style sheet would apply to the whole page; `head` sets its two properties on the element.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
    svg = re.sub(r' xmlns:xlink="[^"]*"| width="[\d.]+pt"| height="[\d.]+pt"', "", svg)
    svg = svg.replace(INK, "currentColor").replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans', sans-serif")
    head = f'<svg role="img" aria-label={quoteattr(alt)} stroke-linejoin="round" stroke-linecap="butt" '
    return svg.replace("<svg ", head, 1).strip()
