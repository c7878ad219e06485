"""How long requests took, as one SVG file: a histogram, with the figures marked on it.

The file needs nothing beside it: style and both colour schemes are inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from quorate.report.charts import stroke, words
from quorate.report.comparison import standalone, step_of
from quorate.report.markup import counted, text

WIDTH, HEIGHT = 860, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 96, 46
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
    base = HEIGHT - BOTTOM

    def x(value: float) -> float:
        return LEFT + value / high * (WIDTH - LEFT - RIGHT)

    def y(count: float) -> float:
        return base - count / most * (base - TOP)

    parts = [
        words(24, 30, title, "title"),
        words(24, 50, f"{counted(len(values), 'answered request')}, by milliseconds", "soft"),
        words(LEFT - 8, y(most) + 4, f"{most:,}", "soft", "end"),
        words(LEFT - 8, base + 4, "0", "soft", "end"),
        stroke("grid", (LEFT, WIDTH - RIGHT), (y(most), y(most))),
    ]
    for number, count in enumerate(heights.tolist()):
        start, end = x(edges[number]), x(edges[number + 1])
        if count:
            said = f"{edges[number]:.3g} to {edges[number + 1]:.3g} ms: {count:,}"
            parts.append(
                f'<rect class="gain" x="{start + 0.5:.1f}" y="{y(count):.1f}" '
                f'width="{end - start - 1:.1f}" height="{max(base - y(count), 1):.1f}">'
                f"<title>{text(said)}</title></rect>"
            )
    parts.append(stroke("zero", (LEFT, WIDTH - RIGHT), (base, base)))
    ticks = [number * step for number in range(round(high / step) + 1)]
    parts += [words(x(tick), base + 18, f"{tick:g}", "soft", "middle") for tick in ticks]
    parts.append(words(WIDTH - RIGHT, base + 36, "ms", "soft", "end"))
    free = [-np.inf, -np.inf]  # where each of two lines of names is free again
    for name, value in sorted(marks.items(), key=lambda one: one[1]):
        at = x(min(value, high))
        said = f"{name} {value:.1f}"
        line = 0 if free[0] <= at - 3.2 * len(said) else 1
        free[line] = at + 3.8 * len(said)
        up = TOP - 10 - 14 * line
        parts.append(stroke("whisker", (at, at), (up + 4, base)))
        parts.append(words(at, up, said, "soft", "middle"))
    return standalone(parts, WIDTH, HEIGHT, title)
