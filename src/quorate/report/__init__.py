"""The report of a run: one HTML page that needs nothing else, not even a network.

In the order to read: `model` is what is told; `page` puts together `figures` (numbers), `scores`
(reliability) and `wall` (pictures, with `outlines`); `charts` draws, `markup` writes text;
`comparison` draws several results beside each other.
"""

from quorate.report.model import Report, Timing
from quorate.report.page import render_report, write_report

__all__ = ["Report", "Timing", "render_report", "write_report"]
