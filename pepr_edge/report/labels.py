"""Names beside the points of a plot, placed so that they cover neither each other nor the points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pepr_edge.report.svg import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

LONGEST = 34
FONT_SIZE = 7.5
PADDING = 1.5  # pixels that stay free around a name
# Where a name may stand: offset in points, and how the text is aligned there; nearest first.
PLACES = [
    (
        dx * step,
        dy * step,
        "left" if dx > 0 else "right" if dx < 0 else "center",
        "bottom" if dy > 0 else "top" if dy < 0 else "center",
    )
    for step in (1.0, 2.2, 3.6, 5.2, 7.0)
    for dx, dy in ((6, 0), (5, 4), (5, -4), (-6, 0), (-5, 4), (-5, -4), (0, 6), (0, -6))
]
LEADER_FROM = 12.0  # points; a name farther off than this is joined to its point by a line


def cut(text: str, longest: int = LONGEST) -> str:
    """A name cut in its middle, so that the size at its end stays."""
    if len(text) <= longest:
        return text
    tail = longest // 3
    return f"{text[: longest - tail - 1]}…{text[-tail:]}"


def place(
    axes: Axes,
    named: Sequence[tuple[float, float, str, str]],
    points: Sequence[tuple[float, float]],
    line: Sequence[tuple[float, float]],
) -> None:
    """Write names beside points, each at the nearest free place; where none is free, its short form.

    Args:
        axes: already drawn once, so that its limits are final.
        named: x, y, name, short form.
        points: all points of the plot, which no name may cover.
        line: corners of a line that no name may cover either.
    """
    taken = [_around(x, y, 4 * axes.figure.dpi / 72) for x, y in _pixels(axes, points)]
    corners = _pixels(axes, line)
    for (x0, y0), (x1, y1) in pairwise(corners):
        steps = max(1, int(max(abs(x1 - x0), abs(y1 - y0)) / 3))
        taken += [
            _around(x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps, 1)
            for step in range(steps + 1)
        ]
    for x, y, name, short in named:
        box = _write(axes, (x, y), cut(name), taken) or _write(axes, (x, y), short, taken)
        if box is not None:
            taken.append(box)


def _pixels(axes: Axes, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in axes.transData.transform(points)] if points else []


def _around(x: float, y: float, radius: float) -> Bbox:
    from matplotlib.transforms import Bbox

    return Bbox.from_bounds(x - radius, y - radius, 2 * radius, 2 * radius)


def _write(axes: Axes, at: tuple[float, float], text: str, taken: Sequence[Bbox]) -> Bbox | None:
    """The text at the first place where it is inside the axes and overlaps nothing; None, and nothing written, if there is none."""
    from matplotlib.text import Text

    frame = axes.get_window_extent()
    for dx, dy, ha, va in PLACES:
        leader: Any = {
            "arrowstyle": "-",
            "color": INK,
            "alpha": 0.4,
            "linewidth": 0.6,
            "shrinkA": 0,
            "shrinkB": 3,
        }
        far = abs(dx) + abs(dy) > LEADER_FROM
        label = axes.annotate(
            text,
            at,
            (dx, dy),
            textcoords="offset points",
            ha=ha,
            va=va,
            fontsize=FONT_SIZE,
            color=INK,
            annotation_clip=False,
            arrowprops=leader if far else None,
        )
        label.set_in_layout(False)
        label.get_window_extent()  # applies the offset; its own answer would count the leader in
        box = Text.get_window_extent(label)
        inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
        if inside and not any(box.overlaps(other) for other in taken):
            return box.padded(PADDING)
        label.remove()
    return None
