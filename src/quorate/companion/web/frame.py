"""What all pages share: the frame around them, and parts that stand on several.

What is not ours passes through `text` or `name`.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from quorate.companion.people import Seen, Session
from quorate.companion.store import Run
from quorate.report.markup import count, counted, name, text

WORDS = {
    "waiting": "waits",
    "working": "at work",
    "done": "done",
    "failed": "failed",
    "cancelled": "cancelled",
    "interrupted": "interrupted",
    "undone": "undone",
}


@dataclass(frozen=True)
class Around:
    """What each page shows besides its own: who is signed in, and where CVAT is."""

    cvat: str
    session: Session | None = None

    def page(self, title: str, body: str, *, live: bool = False) -> str:
        """A whole page; a live one is loaded again every few seconds where scripts are off."""
        again = '<noscript><meta http-equiv="refresh" content="5"></noscript>' * live
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{text(title)} – Quorate</title>{again}"
            '<link rel="icon" href="/static/icon.svg"><link rel="stylesheet" '
            'href="/static/page.css"><script src="/static/page.js" defer></script></head><body>'
            f'<a class="skip" href="#main">To the content</a>{self._top()}'
            f'<main id="main"><h1>{text(title)}</h1>{body}</main></body></html>'
        )

    def _top(self) -> str:
        links = f'<a class="brand" href="/">Quorate</a><a href="{text(self.cvat)}/tasks">CVAT</a>'
        if self.session is None:
            return f"<header><nav>{links}</nav></header>"
        out = button("Sign out", "quiet")
        return (
            f'<header><nav>{links}</nav><form class="who" method="post" action="/sign-out">'
            f"{self.csrf()}{name(self.session.person.name)} {out}</form></header>"
        )

    def csrf(self) -> str:
        """The hidden field that shows a form to be ours."""
        value = self.session.csrf if self.session else ""
        return f'<input type="hidden" name="csrf" value="{text(value)}">'


def button(words: str, kind: str = "") -> str:
    """A button that sends its form."""
    return f'<button class="{kind}">{words}</button>'


def alarm(sentence: str, hint: str = "") -> str:
    """Something that went wrong, and what to do."""
    end = "" if hint.endswith((".", "?")) else "."
    more = f"<p>{text(hint[:1].upper() + hint[1:])}{end}</p>" if hint else ""
    return f'<div class="alarm" role="alert"><p>{text(sentence)}</p>{more}</div>'


def about(around: Around, seen: Seen, *, named: bool = False) -> str:
    """Which task or job it is, with the way back to CVAT."""
    what = f"job {seen.job} of task {seen.task}" if seen.job else f"task {seen.task}"
    mine = f'<a href="/{seen.place.path}">{text(seen.name)}</a>' if named else ""
    link = f"{text(around.cvat)}/tasks/{seen.task}" + (f"/jobs/{seen.job}" if seen.job else "")
    parts = [mine, what, counted(seen.frames, "frame"), f'<a href="{link}">open in CVAT</a>']
    return f'<p class="about">{" · ".join(filter(None, parts))}</p>'


def table(runs: Sequence[Run], *, with_task: bool = False) -> str:
    """Runs, one a row."""
    if not runs:
        return '<p class="note">None yet.</p>'
    rows = "".join(
        f'<tr><th scope="row"><a href="/runs/{one.id}">{text(one.title)}</a></th>'
        f'<td><span class="mark {one.state}">{WORDS[one.state]}</span></td>'
        f'<td class="n">{_boxes(one)}</td>'
        + (f'<td><a href="/{one.target.path}">{one.target}</a></td>' * with_task)
        + (f"<td>{f'job {one.job}' if one.job else 'the task'}</td>" * (not with_task))
        + f"<td>{name(one.who)}</td><td>{when(one.made)}</td></tr>"
        for one in runs
    )
    return (
        '<div class="scroll"><table><thead><tr><th scope="col">what</th><th scope="col">state</th>'
        '<th scope="col" class="n">boxes</th><th scope="col">on</th>'
        '<th scope="col">by</th><th scope="col">when</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _boxes(one: Run) -> str:
    if one.result is None:
        return ""
    done, undone = one.result, one.state == "undone"
    boxes = f"−{count(done.removed)}" if undone else count(done.created)
    if not done.tracks:
        return boxes
    return f"{boxes}, {'−' if undone else ''}{counted(done.tracks, 'track')}"


def when(seconds: float) -> str:
    """A time; the script says it in the reader's own zone."""
    time = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f'<time datetime="{time:%Y-%m-%dT%H:%M:%SZ}">{time:%Y-%m-%d %H:%M} UTC</time>'
