"""The page: the parts put into the template, and written as one file."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path
from string import Template

from quorate.report import figures
from quorate.report.markup import name, text
from quorate.report.model import Report
from quorate.report.scores import reliability
from quorate.report.wall import panel_rules, wall
from quorate.storage import write_bytes


def render_report(report: Report) -> str:
    """The whole page as text: the same for the same report.

    Styles, script and pictures are inside. Its content security policy allows no network and no
    script but its own, whatever names and labels hold.
    """
    folder = files("quorate.report")
    style = (folder / "page.css").read_text("utf-8")
    script = (folder / "page.js").read_text("utf-8")
    page = Template((folder / "page.html").read_text("utf-8"))
    message, below = figures.headline(report)
    parts = {
        "quality": ("How good", figures.quality(report)),
        "labels": ("Label by label", figures.labels(report)),
        "reliability": ("Scores", reliability(report)),
        "agreement": ("Agreement", figures.accord(report)),
        "wall": ("Pictures", wall(report)),
        "run": ("The run", figures.run(report)),
    }
    links = "".join(
        f'<a href="#{anchor}">{title}</a>' for anchor, (title, part) in parts.items() if part
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return page.substitute(
        title=text(report.name),
        script_digest=digest,
        style=style + panel_rules(report),
        script=script,
        name=name(report.name),
        links=links,
        message=message,
        below=below,
        tiles=figures.tiles(report),
        troubles=figures.troubles(report),
        parts="".join(part for _, part in parts.values()),
    )


def write_report(path: str | Path, report: Report) -> None:
    """Write the page to one file; a reader sees the old page or the new one, never half of it."""
    write_bytes(path, render_report(report).encode())
