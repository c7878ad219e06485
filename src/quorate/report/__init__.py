"""The report of a run: one HTML page that needs nothing else, not even a network."""

from quorate.report.model import Report, Timing
from quorate.report.page import render_report, write_report

__all__ = ["Report", "Timing", "render_report", "write_report"]
