"""Names beside the points of a plot, placed so that they cover neither each other nor the points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any, NamedTuple

from pepr_edge.report.svg import INK
from pepr_edge.text.tables import clip_middle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

MAX_NAME = 34  # characters
FONT_SIZE = 7.5
PADDING = 1.5  # free pixels around a name
LEADER_FROM = 12.0  # points; a name farther away than this gets a line to its point
POINT_RADIUS = 4.0  # points
LINE_STEP = 3.0  # pixels between the boxes that keep names off a line
LEADER: Any = {
    "arrowstyle": "-",
    "color": INK,
    "alpha": 0.4,
    "linewidth": 0.6,
    "shrinkA": 0,
    "shrinkB": 3,
}
# Directions and distances that are tried for a name, nearest first.
DIRECTIONS = ((6, 0), (5, 4), (5, -4), (-6, 0), (-5, 4), (-5, -4), (0, 6), (0, -6))
DISTANCES = (1.0, 2.2, 3.6, 5.2, 7.0)


class Label(NamedTuple):
    """A point's name in data coordinates; `short` is written if there is no room for `name`."""

    x: float
    y: float
    name: str
    short: str


def place(
    axes: Axes,
    names: Sequence[Label],
    points: Sequence[tuple[float, float]],
    line: Sequence[tuple[float, float]],
) -> None:
    """Write names beside points, each at the nearest free position; if none is free, its short form.

    Args:
        axes: already drawn once, so that its limits are final.
        names: names of some points.
        points: all points of the plot; no name may cover one.
        line: corners of a line; no name may cover it.
    """
    radius = POINT_RADIUS * axes.figure.dpi / 72
    taken = [_square(x, y, radius) for x, y in _pixels(axes, points)]
    for start, end in pairwise(_pixels(axes, line)):
        taken += _along(start, end)
    for label in names:
        at = (label.x, label.y)
        name = clip_middle(label.name, MAX_NAME)
        box = _write(axes, at, name, taken) or _write(axes, at, label.short, taken)
        if box is not None:
            taken.append(box)


def _pixels(axes: Axes, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in axes.transData.transform(points)] if points else []


def _square(x: float, y: float, radius: float) -> Bbox:
    from matplotlib.transforms import Bbox

    return Bbox.from_bounds(x - radius, y - radius, 2 * radius, 2 * radius)


def _along(start: tuple[float, float], end: tuple[float, float]) -> list[Bbox]:
    """Return small boxes along a line, in pixels."""
    dx = end[0] - start[0]
    dy = end[1] - start[1]
    steps = max(1, int(max(abs(dx), abs(dy)) / LINE_STEP))
    return [_square(start[0] + dx * i / steps, start[1] + dy * i / steps, 1) for i in range(steps + 1)]


def _write(axes: Axes, at: tuple[float, float], text: str, taken: Sequence[Bbox]) -> Bbox | None:
    """Write the text at the first position inside the axes that overlaps nothing.

    Returns:
        The box of the text; None, with nothing written, if no position is free.
    """
    from matplotlib.text import Text

    frame = axes.get_window_extent()
    for distance, (right, up) in product(DISTANCES, DIRECTIONS):
        dx = right * distance
        dy = up * distance
        far = abs(dx) + abs(dy) > LEADER_FROM
        label = axes.annotate(
            text,
            at,
            (dx, dy),
            textcoords="offset points",
            ha=("center", "left", "right")[_sign(right)],
            va=("center", "bottom", "top")[_sign(up)],
            fontsize=FONT_SIZE,
            color=INK,
            annotation_clip=False,
            arrowprops=LEADER if far else None,
        )
        label.set_in_layout(False)
        label.get_window_extent()  # applies the offset; its result would include the leader
        box = Text.get_window_extent(label)
        inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
        if inside and not any(box.overlaps(other) for other in taken):
            return box.padded(PADDING)
        label.remove()
    return None


def _sign(number: float) -> int:
    """Return 0, 1 or -1."""
    return (number > 0) - (number < 0)
