"""A page without a script, in the style of the others: no network, nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from string import Template

from quorate.report.markup import name, text


def plain_page(
    title: str,
    message: tuple[str, str],
    parts: Mapping[str, tuple[str, str]],
    *,
    tiles: str = "",
    troubles: str = "",
) -> str:
    """The page as text: the same for the same parts.

    Args:
        title: What it is of, any text.
        message: The one sentence, and what stands below it, both markup.
        parts: Anchor -> the word that leads there, and the section; '' for none.
        tiles: The figures on top, markup.
        troubles: What went wrong, markup.
    """
    folder = files("quorate.report")
    page = Template((folder / "page.html").read_text("utf-8")).substitute(
        title=text(title),
        script_digest="",
        image_sources="data:",
        style=(folder / "page.css").read_text("utf-8"),
        script="",
        name=name(title),
        links="".join(f'<a href="#{a}">{t}</a>' for a, (t, part) in parts.items() if part),
        message=message[0],
        below=message[1],
        tiles=tiles,
        troubles=troubles,
        parts="".join(part for _, part in parts.values()),
        kept="nothing else",
    )
    # There is no script on this page, so none is allowed.
    page = page.replace("script-src 'sha256-'", "script-src 'none'")
    return page.replace("<script></script>\n", "")


def tiles_of(items: list[tuple[str, str, str]]) -> str:
    """Figures side by side: (what, the figure, more), all markup."""
    cells = "".join(
        f"<div><dt>{what}</dt><dd><b>{value}</b><span>{more}</span></dd></div>"
        for what, value, more in items
    )
    return f'<dl class="tiles">{cells}</dl>'
