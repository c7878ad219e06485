"""The page of a run: how far it is, what it did, what can be done about it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from urllib.parse import quote

from quorate.companion.forms import Template
from quorate.companion.people import Seen
from quorate.companion.store import LOOK, Run, Step
from quorate.companion.web.frame import WORDS, Around, about, alarm, button, when
from quorate.report.markup import count, duration, name, short, text

PARTS = {
    "export": "CVAT exports the task",
    "fetch MB": "Fetch what it exported",
    "download": "Get the pictures",
    "upload": "Hand the pictures over",
    "prepare": "Look at the pictures",
    "detect": "Find objects",
    "publish": "Put the boxes into the task",
}
"""What the parts of a run here are called; those of a cluster have names of their own."""


def run(
    around: Around,
    seen: Seen,
    one: Run,
    lines: Sequence[tuple[float, str]],
    template: Template | None,
    *,
    now: float,
) -> str:
    """The page of a run: how far it is, what it wrote, what can be done about it."""
    asked = {field.name: field.shown for field in template.asked} if template else {}
    said = "".join(
        f"<dt>{text(asked[key])}</dt><dd>{text(short(value, 300))}</dd>"
        for key, value in one.values.items()
        if value and key in asked
    )
    body = [
        about(around, seen, named=True),
        f'<div id="live" data-from="/runs/{one.id}/live" data-state="{one.state}">'
        f"{live(around, one, lines, now=now)}</div>",
        _actions(around, one, template),
        f"<h2>What was asked</h2><dl>{said}</dl>" if said else "",
    ]
    return around.page(one.title, "".join(body), live=one.at_work)


def live(around: Around, one: Run, lines: Sequence[tuple[float, str]], *, now: float) -> str:
    """What of a run's page changes while it is at work."""
    doing = "undoing" if one.doing == "undo" and one.state == "working" else WORDS[one.state]
    took = duration((one.ended or now) - one.began) if one.began else ""
    since = f"{'for' if one.at_work else 'after'} {took}" if took else ""
    parts = [
        f'<p class="state" aria-live="polite"><span class="mark {one.state}">{doing}</span> '
        f"<span>{since}</span> <span>started by {name(one.who)}, {when(one.made)}</span></p>"
    ]
    if one.error:
        parts.append(alarm(one.error, one.hint))
    if one.result is not None and not one.at_work:
        parts.append(_result(around, one))
    steps = "".join(_step(step, at_work=one.at_work) for step in one.steps)
    if steps:
        parts.append(f'<ol class="steps">{steps}</ol>')
    log = "".join(
        f"<li><time>{time.strftime('%H:%M:%S', time.gmtime(at))}</time> {text(said)}</li>"
        for at, said in lines
    )
    if log:
        shown = "" if one.state in ("done", "undone") else " open"
        parts.append(f'<details{shown} class="log"><summary>Log</summary><ol>{log}</ol></details>')
    return "".join(parts)


def _step(step: Step, *, at_work: bool) -> str:
    known = text(step.name if step.key else PARTS.get(step.name, step.name))
    bar = ""
    if step.total > 1:
        bar = (
            f'<progress max="{step.total}" value="{min(step.done, step.total)}" '
            f'aria-label="{known}"></progress>'
            f"<span>{count(step.done)} of {count(step.total)}</span>"
        )
    said = f'<span class="said">{text(step.message)}</span>' if step.message else ""
    waits = "waits" if at_work else "not begun"
    word = {"done": "done", "working": "at work", "failed": "failed"}.get(step.state, waits)
    return (
        f'<li class="{step.state} d{min(step.depth, 4)}"><span class="what"><b>{known}</b> '
        f'<span class="word">{word}</span></span>{bar}{said}</li>'
    )


def _result(around: Around, one: Run) -> str:
    assert one.result is not None, "asked for where there is one"
    done = one.result
    told = {
        "created": done.created,
        "there already": done.there,
        "removed": done.removed,
        "left, for somebody has changed them": done.touched,
        "of earlier runs beside them": done.earlier,
    }
    shown = "".join(
        f"<li><b>{count(number)}</b> {what}</li>" for what, number in told.items() if number
    )
    undone = one.state == "undone"
    further = (
        (done.tracks, "track", "removed" if undone else "created"),
        (done.issues, "issue", "removed" if undone else "to look at first"),
    )
    for number, noun, word in further:
        if number:
            nouns = noun if number == 1 else f"{noun}s"
            shown += f"<li><b>{count(number)}</b> {nouns} {word}</li>"
    notes = "".join(f"<li>{text(note)}</li>" for note in done.notes)
    look = "Open in CVAT" if one.state == "undone" else "Look at them in CVAT"
    job = one.job or one.facts.get(LOOK)
    link = f"{text(around.cvat)}/tasks/{one.task}" + (f"/jobs/{job}" if job else "")
    return (
        f'<section class="result"><h2>Boxes</h2><ul class="figures">{shown or "<li>none</li>"}</ul>'
        f'<p><a class="go" href="{link}">{look}</a></p>'
        + (f'<ul class="notes">{notes}</ul>' if notes else "")
        + "</section>"
    )


def _actions(around: Around, one: Run, template: Template | None) -> str:
    acts = []
    if one.at_work:
        acts.append(("cancel", "Stop", ""))
    if one.may_go_on:
        acts.append(("again", "Let it go on", "first"))
    if one.may_be_undone:
        acts.append(("undo", "Undo: delete its boxes that nobody touched", ""))
    forms = "".join(
        f'<form method="post" action="/runs/{one.id}/{what}">{around.csrf()}{button(words, kind)}'
        "</form>"
        for what, words, kind in acts
    )
    if template is not None and not one.at_work:
        form = f"/{one.target.path}/start/{quote(one.template, safe='')}"
        forms += f'<a href="{form}?like={one.id}">Start anew, with other answers</a>'
    return f'<div class="act">{forms}</div>' if forms else ""
