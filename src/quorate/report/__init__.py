"""The report of a run: one HTML page that needs no network, many pictures in a folder beside it.

In the order to read: `model` is what is told; `page` puts together `work` (what is published, and
left to do), `figures` (numbers) and `wall` (pictures, which `page.js` draws); `charts` draws,
`markup` writes text, `template` is the page around them; `comparison` draws several results beside
each other, `drawn` pictures with boxes, a file each.
"""

from quorate.report.model import Report
from quorate.report.page import write_report

__all__ = ["Report", "write_report"]
