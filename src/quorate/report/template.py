"""What all pages share: the template, and the parts that look the same on each."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template

from quorate.report.markup import name, text


def filled(
    title: str,
    message: tuple[str, str],
    parts: Mapping[str, tuple[str, str]],
    *,
    tiles: str = "",
    troubles: str = "",
    rules: str = "",
    script: str = "",
    beside: str = "",
) -> str:
    """The page as text: the same for the same parts.

    Its content security policy allows no network and no script but this one, if there is any.

    Args:
        title: What it is of, any text.
        message: The one sentence, and what stands below it, both markup.
        parts: Anchor -> the word that leads there, and the section; '' for none.
        tiles: The figures on top, markup.
        troubles: What went wrong, markup.
        rules: CSS beside that of all pages.
        script: JavaScript.
        beside: The folder that its pictures lie in; '' where they are inside.
    """
    folder = files("quorate.report")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Template((folder / "page.html").read_text("utf-8")).substitute(
        title=text(title),
        script_sources=f"'sha256-{digest}'" if script else "'none'",
        image_sources="data: 'self' file:" if beside else "data:",
        style=(folder / "page.css").read_text("utf-8") + rules,
        script=f"<script>{script}</script>\n" if script else "",
        name=name(title),
        links="".join(f'<a href="#{a}">{t}</a>' for a, (t, part) in parts.items() if part),
        message=message[0],
        below=message[1],
        tiles=tiles,
        troubles=troubles,
        parts="".join(part for _, part in parts.values()),
        kept=f"the folder {beside} beside it" if beside else "nothing else",
    )


def tiles_of(items: Sequence[tuple[str, str, str]]) -> str:
    """Figures side by side: (what, the figure, more), all markup."""
    cells = "".join(
        f"<div><dt>{what}</dt><dd><b>{value}</b><span>{more}</span></dd></div>"
        for what, value, more in items
    )
    return f'<dl class="tiles">{cells}</dl>'


def degraded(failed: Mapping[str, str], voters: str) -> str:
    """An alarm: who failed and why, and who decided without them, markup."""
    lines = "".join(
        f"<li><strong>{name(one)} failed</strong> and has no vote: {text(reason)}</li>"
        for one, reason in failed.items()
    )
    return (
        f'<div class="alarm" role="note"><p>Degraded: decided by {voters}.</p>'
        f"<ul>{lines}</ul></div>"
    )


def described(about: Mapping[str, Mapping[str, str]], spec: str) -> str:
    """What each model was taken for, and the spec as its user wrote it; each where it is known."""
    taken = "".join(
        f"<tr><td>{name(who)}</td><td>{text(word)}</td><td>{text(said)}</td></tr>"
        for who, words in about.items()
        for word, said in words.items()
    )
    body = ""
    if taken:
        body += (
            "<details><summary>What each model was taken for</summary>"
            f'<div class="scroll"><table><tbody>{taken}</tbody></table></div></details>'
        )
    if spec:
        body += (
            "<details><summary>The ensemble as it was described</summary>"
            f"<pre>{text(spec)}</pre></details>"
        )
    return body
