"""How long requests took, as one SVG file: a histogram, with the figures marked on it.

The file needs nothing beside it: style and both colour schemes are inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from quorate.report.charts import Plot, stroke, words
from quorate.report.comparison import standalone, step_of
from quorate.report.markup import counted, text

PLOT = Plot(width=860, height=320, left=64, bottom=46, top=96, right=24)
BARS = 60


def distribution_svg(
    milliseconds: Sequence[float], marks: Mapping[str, float], *, title: str
) -> str:
    """The SVG: how many requests took how long, in bars of one width from 0 on.

    Args:
        milliseconds: of each request; at least one.
        marks: figures to be marked, by their names.
        title: what was measured.
    """
    values = np.asarray(milliseconds, np.float64)
    step = step_of(max(float(values.max()), 1e-3))
    high = float(np.ceil(values.max() / step)) * step or step
    heights, edges = np.histogram(values, BARS, (0.0, high))
    most = int(heights.max())
    left, right, base, top = PLOT.x(0), PLOT.x(1), PLOT.y(0), PLOT.y(1)

    def x(value: float) -> float:
        return PLOT.x(value / high)

    parts = [
        words(24, 30, title, "title"),
        words(24, 50, f"{counted(len(values), 'answered request')}, by milliseconds", "soft"),
        words(left - 8, top + 4, f"{most:,}", "soft", "end"),
        words(left - 8, base + 4, "0", "soft", "end"),
        stroke("grid", (left, right), (top, top)),
    ]
    for number, count in enumerate(heights.tolist()):
        start, end, y = x(edges[number]), x(edges[number + 1]), PLOT.y(count / most)
        if count:
            said = f"{edges[number]:.3g} to {edges[number + 1]:.3g} ms: {count:,}"
            parts.append(
                f'<rect class="gain" x="{start + 0.5:.1f}" y="{y:.1f}" '
                f'width="{end - start - 1:.1f}" height="{max(base - y, 1):.1f}">'
                f"<title>{text(said)}</title></rect>"
            )
    parts.append(stroke("zero", (left, right), (base, base)))
    ticks = [number * step for number in range(round(high / step) + 1)]
    parts += [words(x(tick), base + 18, f"{tick:g}", "soft", "middle") for tick in ticks]
    parts.append(words(right, base + 36, "ms", "soft", "end"))
    free = [-np.inf, -np.inf]  # where each of two lines of names is free again
    for name, value in sorted(marks.items(), key=lambda one: one[1]):
        at = x(min(value, high))
        said = f"{name} {value:.1f}"
        line = 0 if free[0] <= at - 3.2 * len(said) else 1
        free[line] = at + 3.8 * len(said)
        up = top - 10 - 14 * line
        parts.append(stroke("whisker", (at, at), (up + 4, base)))
        parts.append(words(at, up, said, "soft", "middle"))
    return standalone(parts, PLOT.width, PLOT.height, title)
