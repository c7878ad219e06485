"""Figures over steps or epochs, as charts: of a page, or a file of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from quorate.report.charts import Plot, stroke, words
from quorate.report.comparison import step_of
from quorate.report.markup import series, short, text

PLOT = Plot(width=560, height=340, left=76, bottom=46, top=12)
MOST_POINTS = 600
"""Points of a line that are drawn; of more, the mean of each of so many stretches."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Line:
    """A name, float64 (n,) x and y, and the place that gives it its colour and dash."""

    name: str
    x: Floats
    y: Floats
    place: int

    def thinned(self) -> Line:
        """Of at most `MOST_POINTS` points; those without a y left out."""
        known = np.isfinite(self.x) & np.isfinite(self.y)
        x, y = self.x[known], self.y[known]
        if len(x) > MOST_POINTS:
            edges = np.linspace(0, len(x), MOST_POINTS + 1).astype(int)
            count = np.diff(edges)
            x = np.add.reduceat(x, edges[:-1]) / count
            y = np.add.reduceat(y, edges[:-1]) / count
        return Line(self.name, x, y, self.place)


def line_chart(lines: Sequence[Line], *, title: str, across: str, up: str) -> str:
    """The chart as inline SVG: from zero, or below it where a line goes there."""
    return f"{PLOT.opened(title)}{_drawn(lines, across=across, up=up)}</svg>"


def chart_file(charts: Sequence[tuple[str, str]], lines: Sequence[Line]) -> str:
    """An SVG file of charts of `line_chart`, each with its title, and the names of the lines."""
    gap, head, left, width = 24, 34, PLOT.left, PLOT.width
    parts, at = [], head
    for title, chart in charts:
        parts.append(words(left, at - 12, title, "title"))
        inside = chart[chart.index(">") + 1 : chart.rindex("<")]
        parts.append(f'<g transform="translate(0 {at})">{inside}</g>')
        at += PLOT.height + gap + head
    at -= head
    for number, line in enumerate(lines):
        y = at + number * 20
        parts.append(f'<path class="curve {series(line.place)}" d="M{left} {y}H{left + 34}"/>')
        parts.append(words(left + 46, y + 4, short(line.name, 60)))
    height = at + len(lines) * 20 + 4
    style = (files("quorate.report") / "page.css").read_text("utf-8")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{text(charts[0][0])}">'
        f"<style>{_of_charts(style)}</style>"
        f'<rect class="paper" width="100%" height="100%"/>{"".join(parts)}</svg>\n'
    )


def _of_charts(style: str) -> str:
    """What of the page's style a chart needs: the colours, and the rules of lines and text."""
    roots = style[: style.index("* { box-sizing")]
    wanted = (".s-q", ".s-2", ".s-5", ".chart", ".grid", ".curve")
    rules = [line for line in style.splitlines() if line.startswith(wanted)]
    own = ".paper{fill:var(--paper)}.chart .title{font-size:15px;font-weight:620}"
    return roots + "\n".join(rules) + own


def _drawn(lines: Sequence[Line], *, across: str, up: str) -> str:
    known = [thin for line in lines if len((thin := line.thinned()).x)]
    if not known:
        return words(PLOT.width / 2, PLOT.height / 2, "no figure", "axis", "middle")
    x_high = max(float(line.x.max()) for line in known) or 1.0
    high = max(float(line.y.max()) for line in known)
    low = min(0.0, *(float(line.y.min()) for line in known))
    if high <= low:
        high = low + 1.0
    step, x_step = step_of(high - low), step_of(x_high)
    high = float(np.ceil(high / step - 1e-9)) * step

    def x_of(value: float) -> float:
        return PLOT.x(value / x_high)

    def y_of(value: float) -> float:
        return PLOT.y((value - low) / (high - low))

    parts = []
    for tick in np.arange(np.ceil(low / step), np.floor(high / step + 1e-9) + 1) * step:
        y = y_of(float(tick))
        parts.append(stroke("grid", (PLOT.x(0), PLOT.x(1)), (y, y)))
        parts.append(words(PLOT.left - 8, y + 4, f"{tick:.4g}", "tick", "end"))
    for tick in np.arange(0, np.floor(x_high / x_step + 1e-9) + 1) * x_step:
        x = x_of(float(tick))
        parts.append(stroke("grid", (x, x), (PLOT.y(0), PLOT.y(1))))
        parts.append(words(x, PLOT.y(0) + 18, f"{tick:.6g}", "tick", "middle"))
    parts += PLOT.named(across, up)
    for line in known:
        path = " ".join(
            f"{x_of(x):.1f},{y_of(y):.1f}"
            for x, y in zip(line.x.tolist(), line.y.tolist(), strict=True)
        )
        if len(line.x) == 1:
            at_x, at_y = path.split(",")
            parts.append(
                f'<circle class="curve {series(line.place)}" cx="{at_x}" cy="{at_y}" r="3"/>'
            )
        else:
            parts.append(
                f'<polyline class="curve {series(line.place)}" points="{path}">'
                f"<title>{text(line.name)}</title></polyline>"
            )
    return "".join(parts)
