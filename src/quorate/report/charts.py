"""Charts as inline SVG. Colours are CSS classes, so that they follow light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quorate.evaluation.coco import RECALLS
from quorate.evaluation.reliability import Reliability
from quorate.report.markup import series, short, text

Curve = tuple[int | None, NDArray[np.float64]]
"""A detector's position, or None for the quorum, and its (101,) precision."""


@dataclass(frozen=True)
class Plot:
    """A unit square drawn into `width` by `height`, with room for the axes."""

    width: int
    height: int
    left: int
    bottom: int
    top: int = 10
    right: int = 12

    def x(self, value: float) -> float:
        """The pixel of 0..1, from the left."""
        return self.left + value * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        """Likewise, from the bottom up."""
        return self.height - self.bottom - value * (self.height - self.bottom - self.top)

    def opened(self, title: str, classes: str = "chart") -> str:
        """The begin of the SVG."""
        return _open(self.width, self.height, title, classes)

    def named(self, across: str, up: str) -> list[str]:
        """What the two axes are."""
        return [
            words(self.x(0.5), self.height - 6, across, "axis", "middle"),
            f'<g transform="translate(13 {self.y(0.5):.1f}) rotate(-90)">'
            + words(0, 0, up, "axis", "middle")
            + "</g>",
        ]


def precision_recall(curves: Sequence[Curve], title: str) -> str:
    """Precision over recall, all curves in one chart with axes."""
    plot = Plot(width=560, height=380, left=60, bottom=46)
    lines = [plot.opened(title)]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = plot.x(tick), plot.y(tick)
        lines += [
            stroke("grid", (plot.x(0), plot.x(1)), (y, y)),
            stroke("grid", (x, x), (plot.y(0), plot.y(1))),
            words(plot.left - 8, y + 4, f"{tick:g}", "tick", "end"),
            words(x, plot.y(0) + 18, f"{tick:g}", "tick", "middle"),
        ]
    across, up = "share of the objects that are found", "share of the boxes that are right"
    lines += plot.named(f"recall: {across}", f"precision: {up}")
    lines += _curves(curves, plot)
    return "".join([*lines, "</svg>"])


def small_precision_recall(curves: Sequence[Curve], title: str) -> str:
    """The same, small and without words: one of many side by side."""
    plot = Plot(width=200, height=140, left=4, bottom=4, top=4, right=4)
    lines = [
        plot.opened(title, "chart small"),
        f'<rect class="frame" x="4" y="4" width="{plot.width - 8}" height="{plot.height - 8}"/>',
        f'<path class="grid" d="M4 {plot.y(0.5):.1f}H196M{plot.x(0.5):.1f} 4V{plot.y(0):.1f}"/>',
    ]
    lines += _curves(curves, plot)
    return "".join([*lines, "</svg>"])


def _curves(curves: Sequence[Curve], plot: Plot) -> list[str]:
    lines = []
    for position, precision in sorted(curves, key=lambda curve: curve[0] is None):
        if np.isnan(precision).any():
            continue
        end = int(np.argmax(precision == 0)) + 1 if (precision == 0).any() else len(precision)
        points = " ".join(
            f"{plot.x(float(r)):.1f},{plot.y(float(p)):.1f}"
            for r, p in zip(RECALLS[:end], precision[:end], strict=True)
        )
        lines.append(f'<polyline class="curve {series(position)}" points="{points}"/>')
    return lines


def reliability_chart(
    position: int | None, before: Reliability, after: Reliability | None, title: str
) -> str:
    """Share of right boxes over mean score, a dot a bin and larger with more boxes.

    The diagonal is a score that means what it says; `before` is faint where there is an `after`.
    """
    plot = Plot(width=240, height=240, left=30, bottom=26, top=6, right=6)
    corner, end = (plot.x(0), plot.y(0)), (plot.x(1), plot.y(1))
    lines = [
        plot.opened(title, "chart reliability"),
        f'<rect class="frame" x="{corner[0]:.1f}" y="{end[1]:.1f}" '
        f'width="{end[0] - corner[0]:.1f}" height="{corner[1] - end[1]:.1f}"/>'
        f'<path class="grid" d="M{corner[0]:.1f} {corner[1]:.1f}L{end[0]:.1f} {end[1]:.1f}"/>',
    ]
    for tick in (0.0, 0.5, 1.0):
        lines.append(words(plot.left - 6, plot.y(tick) + 4, f"{tick:g}", "tick", "end"))
        lines.append(words(plot.x(tick), plot.height - 8, f"{tick:g}", "tick", "middle"))
    for curve, classes in ((before, "before" if after else ""), (after, "after")):
        if curve is None or not curve.bins:
            continue
        most = max(one.boxes for one in curve.bins)
        points = [(plot.x(one.score), plot.y(one.right), one) for one in curve.bins]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
        dots = "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{1.5 + 3.5 * (one.boxes / most) ** 0.5:.1f}">'
            f"<title>{one.boxes:,} boxes: mean score {one.score:.2f}, {one.right:.2f} right</title>"
            "</circle>"
            for x, y, one in points
        )
        lines.append(
            f'<g class="reliable {series(position)} {classes}">'
            f'<polyline class="curve {series(position)}" points="{path}"/>{dots}</g>'
        )
    return "".join([*lines, "</svg>"])


def legend(entries: Sequence[tuple[int | None, str, str]]) -> str:
    """Lines and their names: (position, name, figure), not yet escaped."""
    items = "".join(
        f'<li><svg viewBox="0 0 34 10" aria-hidden="true"><path class="curve {series(position)}" '
        f'd="M1 5H33"/></svg><span><bdi>{text(label)}</bdi></span><b>{text(value)}</b></li>'
        for position, label, value in entries
    )
    return f'<ul class="legend">{items}</ul>'


def heat_map(names: Sequence[str], matrix: NDArray[np.float64], title: str) -> str:
    """A square matrix of shares of one, with its names at the left and on top."""
    cell = 76 if len(names) <= 5 else 54
    labels = [short(name, 20) for name in names]
    longest = max((len(label) for label in labels), default=0)
    left = 16 + round(7.6 * longest)
    top = 20 + round(5.6 * longest)
    tail = round(4.4 * longest)
    side = cell * len(names)
    lines = [_open(left + side + max(tail, 4), top + side + 4, title, "chart heatmap")]
    for row, label in enumerate(labels):
        middle = row * cell + cell / 2
        shown = f"<title>{text(names[row])}</title>{text(label)}</text>"
        lines.append(
            f'<text x="{left - 10}" y="{top + middle + 4:.1f}" text-anchor="end">{shown}'
            f'<text transform="translate({left + middle - 2:.1f} {top - 10}) rotate(-48)">{shown}'
        )
    for (row, column), value in np.ndenumerate(matrix):
        x, y = left + column * cell, top + row * cell
        square = f'x="{x}" y="{y}" width="{cell - 3}" height="{cell - 3}" rx="4"/>'
        if np.isnan(value):
            lines.append(f'<rect class="none" {square}')
            continue
        own = row == column
        kind = " own" if own else " high" if value > 0.85 else ""
        lines.append(
            f'<g class="cell{kind}" style="--v:{value:.3f}"><title>{text(names[row])} and '
            f"{text(names[column])}: {value:.3f}</title><rect {square}"
            f'<text x="{x + (cell - 3) / 2:.1f}" y="{y + cell / 2 + 4:.1f}" '
            f'text-anchor="middle">{"" if own else f"{value:.2f}"}</text></g>'
        )
    return "".join([*lines, "</svg>"])


def words(x: float, y: float, value: str, classes: str = "", anchor: str = "") -> str:
    """A line of text, not yet escaped; `anchor` is what of it lies at x: start, middle or end."""
    kind = f' class="{classes}"' if classes else ""
    end = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}"{end}>{text(value)}</text>'


def stroke(classes: str, x: tuple[float, float], y: tuple[float, float]) -> str:
    """A straight line from (x[0], y[0]) to (x[1], y[1])."""
    ends = f'x1="{x[0]:.1f}" x2="{x[1]:.1f}" y1="{y[0]:.1f}" y2="{y[1]:.1f}"'
    return f'<line class="{classes}" {ends}/>'


def _open(width: int, height: int, title: str, classes: str) -> str:
    return (
        f'<svg class="{classes}" viewBox="0 0 {width} {height}" style="max-width:{width}px" '
        f'role="img" aria-label="{text(title)}">'
    )
