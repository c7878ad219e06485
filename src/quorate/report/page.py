"""The page: its parts, written as one file or with a folder beside it."""

from __future__ import annotations

import base64
import json
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from quorate.report import figures
from quorate.report.markup import counted, name, section, text
from quorate.report.model import Report
from quorate.report.template import filled
from quorate.report.wall import Wall, panel_rules, wall
from quorate.report.work import published, work
from quorate.storage import write_bytes

ONE_FILE = 16_000_000
"""Bytes of all pictures up to which they are inside the page; more lie in a folder beside it."""


def write_report(path: str | Path, report: Report) -> list[str]:
    """Write the page, and where its pictures are too many for one file, a folder called as it.

    Style, script and other pictures are inside; nothing but its own script runs, whatever names and
    labels hold. The same report gives the same bytes. Returns the files' names beside `path`, the
    page last. A reader sees the old page or the new one, never half of it.
    """
    page, shown, written = Path(path), wall(report), []
    beside = ""
    if shown is not None and sum(map(len, shown.jpegs)) > ONE_FILE:
        beside = f"{page.stem}-pictures"
        for number, jpeg in enumerate(shown.jpegs):
            if jpeg:
                written.append(f"{beside}/{number:05d}.jpg")
                write_bytes(page.parent / written[-1], jpeg)
    write_bytes(page, _page(report, shown, beside).encode())
    return [*written, page.name]


def _page(report: Report, shown: Wall | None, beside: str) -> str:
    parts = {
        "work": ("Left to do", work(report)),
        "quality": ("How good", figures.quality(report)),
        "labels": ("Label by label", figures.labels(report)),
        "reliability": ("Scores", figures.reliability(report)),
        "published": ("Published", published(report)),
        "agreement": ("Agreement", figures.accord(report)),
        "wall": ("Pictures", "" if shown is None else _gallery(report, shown, beside)),
        "run": ("The run", figures.run(report)),
    }
    return filled(
        report.name,
        figures.headline(report),
        parts,
        tiles=figures.tiles(report),
        troubles=figures.troubles(report),
        rules=panel_rules(report),
        script=(files("quorate.report") / "page.js").read_text("utf-8"),
        beside=beside,
    )


def _gallery(report: Report, shown: Wall, beside: str) -> str:
    """The section of pictures: what is asked of them, and the data that the script draws."""
    pictures, all_of = len(shown.jpegs), report.total
    several = len(report.detectors) > 1
    lead = counted(pictures, "picture") + (f" of {all_of:,}" if pictures < all_of else "")
    if several and report.order is None:
        lead += ", those with the most disagreement first"
    dashed = "Dashed is a detector's box that the quorum did not carry"
    if report.ensemble is not None:
        dashed += ", a quorum's box to delete or relabel, an object that the quorum missed"
    lead += (
        f". {dashed}. Point at a box for its votes; click a picture to enlarge it, then the arrow "
        "keys lead to the others."
    )
    ticks = "".join(
        f'<label><input type="checkbox" id="show-{key}" checked>{name(title)}</label>'
        for key, title in shown.data["panels"]
    )
    controls = Template((files("quorate.report") / "wall.html").read_text("utf-8")).substitute(
        ticks=ticks, score=f"{report.min_score:g}", shown_score=f"{report.min_score:.2f}"
    )
    plain = "".join(
        f'<figure><img loading="lazy" alt="" src="{_source(jpeg, number, beside)}">'
        f"<figcaption>{text(picture['name'])}</figcaption></figure>"
        for number, (picture, jpeg) in enumerate(
            zip(shown.data["pictures"], shown.jpegs, strict=True)
        )
        if jpeg
    )
    # What a browser shows without scripts, a script reads as text: each picture is there once.
    plain = f'<noscript id="wall-pictures"><div class="plain">{plain}</div></noscript>'
    return section(
        "wall",
        "The pictures they argue about" if several else "The pictures",
        lead,
        controls + _data("wall-data", shown.data) + plain,
    )


def _source(jpeg: bytes, number: int, beside: str) -> str:
    """Where a picture is: in the folder beside the page, or here."""
    if beside:
        return f"{beside}/{number:05d}.jpg"
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def _data(anchor: str, value: Any) -> str:
    """Plain values for the script; nothing in them can end the element."""
    encoded = json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{anchor}">{encoded}</script>'
