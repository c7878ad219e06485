"""A comparison as one SVG file: AP of each result, and which labels gained or lost.

The file needs nothing beside it: style and both colour schemes are inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quorate.evaluation.compare import CategoryChange, ComparedResult, Comparison, Interval
from quorate.report.charts import stroke, words
from quorate.report.markup import counted, short, text

WIDTH = 860
LEFT, RIGHT = 210, 130
ROW = 26
_STYLE = """
svg{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
--paper:#fbfbf9;--ink:#16201f;--soft:#5a6664;--line:#e2e5e1;--gain:#0a6a5f;--loss:#a33b00}
@media (prefers-color-scheme:dark){svg{--paper:#101514;--ink:#e8eeec;--soft:#9daba8;
--line:#2a3432;--gain:#4fd1bd;--loss:#ffb27a}}
.paper{fill:var(--paper)}text{fill:var(--ink);font-variant-numeric:tabular-nums}
.title{font-size:17px;font-weight:620}.soft{fill:var(--soft);font-size:12px}
.grid{stroke:var(--line)}.zero{stroke:var(--soft)}
.gain{fill:var(--gain)}.loss{fill:var(--loss)}.whisker{stroke:var(--ink);stroke-width:1.5}
.dot{fill:var(--gain);stroke:var(--paper);stroke-width:1.5}.base .dot{fill:var(--soft)}
.unsure{opacity:.4}
"""


def comparison_svg(comparison: Comparison, *, most: int = 24) -> str:
    """The SVG: results by AP with their intervals; for each but the baseline, its labels.

    Of the labels those `most` that differ most are shown, gains first. A bar is pale where its
    interval holds zero.
    """
    parts: list[str] = []
    top = _averages(parts, comparison, 24)
    others = [one for one in comparison.results if one.name != comparison.baseline]
    chosen = []
    for result in others:  # the labels that differ most, gains first
        gaps = [(one, one.difference) for one in result.categories if one.difference is not None]
        gaps.sort(key=lambda one: -abs(one[1].value))
        chosen.append(sorted(gaps[:most], key=lambda one: -one[1].value))
    ends = [end for labels in chosen for _, gap in labels for end in _ends(gap)]
    scale = _Scale.over([0.0, *ends])  # one for all, so that bars may be compared
    for result, labels in zip(others, chosen, strict=True):
        top = _labels(parts, comparison, result, labels, scale, top + 30)
    return standalone(parts, WIDTH, top + 12, "Comparison of results")


def standalone(parts: Sequence[str], width: int, height: int, title: str) -> str:
    """An SVG file of parts, with the style that they are drawn in."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{text(title)}">'
        f'<style>{_STYLE}</style><rect class="paper" width="100%" height="100%"/>'
        + "".join(parts)
        + "</svg>\n"
    )


@dataclass(frozen=True)
class _Scale:
    """Values from `low` to `high` between the names at the left and the figures at the right."""

    low: float
    high: float

    def x(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    @classmethod
    def over(cls, values: Sequence[float]) -> _Scale:
        """A scale with some room, from and to multiples of its step."""
        low, high = min(values), max(values)
        step = step_of(max(high - low, 0.02))
        first, last = float(np.floor(low / step)), float(np.ceil(high / step))
        return cls(first * step, max(last, first + 1) * step)

    def ticks(self) -> list[float]:
        step = step_of(self.high - self.low)
        first = int(np.ceil(self.low / step - 1e-9))
        return [i * step for i in range(first, int(np.floor(self.high / step + 1e-9)) + 1)]


def step_of(span: float) -> float:
    """A round step that makes four to eight of a span."""
    power = 10.0 ** np.floor(np.log10(span / 4))
    return float(next(m * power for m in (1, 2, 5, 10) if span / (m * power) <= 8))


def _averages(parts: list[str], comparison: Comparison, top: int) -> int:
    pictures = counted(len(comparison.image_id), "picture")
    share = f"{comparison.confidence:.0%}"
    said = f"; lines hold AP in {share} of {comparison.samples:,} draws" * bool(comparison.samples)
    parts += [_heading("AP of each result", f"{pictures}{said}", top)]
    top += 40
    rows = [(result, result.ap) for result in comparison.results if result.ap is not None]
    if not rows:
        parts.append(words(LEFT, top + 14, "no object in the truth", "soft"))
        return top + ROW
    scale = _Scale.over([end for _, ap in rows for end in _ends(ap)])
    _axis(parts, scale, top, len(rows), signed=False)
    for number, (result, ap) in enumerate(rows):
        y = top + number * ROW + ROW / 2
        base = result.name == comparison.baseline
        gap = result.ap_difference
        figure = f"{ap.value:.3f}" + ("" if gap is None else f"  {_signed(gap.value)}")
        parts += [
            f'<g class="{"base" * base}"><title>{text(result.name)}: {ap.value:.4f}</title>'
            + _whisker(scale, ap, y)
            + f'<circle class="dot" cx="{scale.x(ap.value):.1f}" cy="{y:.1f}" r="6"/></g>',
            _name(result.name, y),
            words(WIDTH - RIGHT + 16, y + 4, figure + "  baseline" * base),
        ]
    return top + len(rows) * ROW + 24


def _labels(
    parts: list[str],
    comparison: Comparison,
    result: ComparedResult,
    chosen: list[tuple[CategoryChange, Interval]],
    scale: _Scale,
    top: int,
) -> int:
    gaps = [one.difference.value for one in result.categories if one.difference is not None]
    gained, lost = sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps)
    said = f"{gained} of {counted(len(gaps), 'label')} gained, {lost} lost; pale: not certain"
    if len(gaps) > len(chosen):
        said += f"; the {len(chosen)} that differ most"
    title = f"{short(result.name, 40)} against {short(comparison.baseline, 40)}, AP by label"
    parts.append(_heading(title, said, top))
    top += 40
    if not chosen:
        return top
    _axis(parts, scale, top, len(chosen), signed=True)
    for number, (category, gap) in enumerate(chosen):
        y = top + number * ROW + ROW / 2
        start, end = sorted((scale.x(0.0), scale.x(gap.value)))
        kind = ("gain" if gap.value >= 0 else "loss") + ("" if gap.certain else " unsure")
        now = "" if category.ap is None else f"{category.ap:.3f}  "
        parts += [
            f"<g><title>{text(category.label)}: {gap.value:+.4f}</title>"
            f'<rect class="{kind}" x="{start:.1f}" y="{y - 8:.1f}" '
            f'width="{max(end - start, 1):.1f}" height="16" rx="3"/>{_whisker(scale, gap, y)}</g>',
            _name(category.label, y),
            words(WIDTH - RIGHT + 16, y + 4, f"{now}{_signed(gap.value)}"),
        ]
    return top + len(chosen) * ROW + 24


def _whisker(scale: _Scale, interval: Interval, y: float) -> str:
    low, high = map(scale.x, _ends(interval))
    return stroke("whisker", (low, high), (y, y))


def _axis(parts: list[str], scale: _Scale, top: int, rows: int, *, signed: bool) -> None:
    bottom = top + rows * ROW
    for tick in scale.ticks():
        x = scale.x(tick)
        zero = signed and abs(tick) < 1e-9
        shown = f"{abs(tick):.3g}" if zero or not signed else f"{tick:+.3g}".replace("-", "−")
        parts.append(stroke("zero" if zero else "grid", (x, x), (top, bottom)))
        parts.append(words(x, bottom + 16, shown, "soft", "middle"))


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _ends(interval: Interval) -> tuple[float, float]:
    if interval.low is None or interval.high is None:
        return interval.value, interval.value
    return interval.low, interval.high


def _heading(title: str, below: str, top: int) -> str:
    return words(24, top + 6, title, "title") + words(24, top + 26, below, "soft")


def _name(name: str, y: float) -> str:
    shown = text(short(name, 26))
    return (
        f'<text x="{LEFT - 14}" y="{y + 4:.1f}" text-anchor="end">'
        f"<title>{text(name)}</title>{shown}</text>"
    )
