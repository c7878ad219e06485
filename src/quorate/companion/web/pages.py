"""The pages but that of a run: signing in, a task and its runs, the form of a template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from quorate.companion.forms import Field, Template
from quorate.companion.people import Seen
from quorate.companion.store import PAGE, Run
from quorate.companion.web.frame import Around, about, alarm, button, table
from quorate.errors import QuorateError
from quorate.report.markup import counted, name, text

PREFIX = "p."
"""Of a form's fields that are the template's."""


def problem(around: Around, title: str, sentence: str, hint: str = "") -> str:
    """A page that says why there is no other."""
    return around.page(title, alarm(sentence, hint))


def sign_in(around: Around, to: str, *, wrong: str = "", hint: str = "") -> str:
    """The page for those whom we do not know yet."""
    to = f'<input type="hidden" name="to" value="{text(to)}">'
    security = f'<a href="{text(around.cvat)}/profile">CVAT, Profile, Security</a>'
    body = [
        alarm(wrong, hint) if wrong else "",
        f"<p>Sign in with your account of CVAT at {name(around.cvat)}. What you may change there, "
        "you may let an ensemble annotate here.</p>"
        '<div class="ways"><form method="post" action="/sign-in">'
        f"<h2>With your name and password</h2>{to}"
        '<label>User name<input name="username" autocomplete="username" required></label>'
        '<label>Password<input name="password" type="password" autocomplete="current-password" '
        f"required></label>{button('Sign in', 'first')}</form>"
        '<form method="post" action="/sign-in">'
        f"<h2>With a token</h2>{to}"
        '<label>Personal access token<input name="token" type="password" autocomplete="off" '
        'required aria-describedby="about-token"></label>'
        f'<p class="hint" id="about-token">From {security}; not one for reading only.</p>'
        f"{button('Sign in')}</form></div>",
    ]
    return around.page("Sign in", "".join(body))


def home(around: Around, runs: Sequence[Run], *, wrong: str = "", given: str = "") -> str:
    """Where a task is named, for those who come without a link."""
    body = [
        alarm(wrong) if wrong else "",
        '<form class="line" method="get" action="/open"><label for="task">Number or address of a '
        "task or job in CVAT</label>"
        f'<div><input id="task" name="task" value="{text(given)}" required '
        f'placeholder="12, job:34, or its address">{button("Open", "first")}</div></form>',
        "<h2>Your runs</h2>",
        table(runs, with_task=True),
    ]
    return around.page("Let an ensemble annotate", "".join(body))


def task(
    around: Around,
    seen: Seen,
    templates: Sequence[Template],
    runs: Sequence[Run],
    *,
    total: int,
    why_not: str | None,
    troubles: Sequence[QuorateError] = (),
) -> str:
    """What can be started on a task or job, and what was."""
    at_work = next((run for run in runs if run.at_work), None)
    cards = "".join(_card(seen, one) for one in templates)
    parts = [about(around, seen)]
    if why_not is not None:
        hint = "ask its owner, or sign in with a token that is not for reading only"
        parts.append(
            alarm(f"You may look at this, but not change what is drawn here. {why_not}", hint)
        )
    if at_work is not None:
        parts.append(
            f'<p class="note"><a href="/runs/{at_work.id}">{text(at_work.title)}</a>, started by '
            f"{name(at_work.who)}, is at work here.</p>"
        )
    empty = '<p class="note">There is nothing to start: no spec, no template used-by=cvat.</p>'
    parts += [
        "<h2>Start</h2>",
        *(alarm(one.message, one.hint or "") for one in troubles),
        f'<ul class="cards">{cards}</ul>' if cards else empty,
        "<h2>Earlier</h2>",
        table(runs),
    ]
    if total > len(runs):
        parts.append(f'<p><a href="/tasks/{seen.task}/history">All {counted(total, "run")}</a></p>')
    return around.page(seen.name or f"Task {seen.task}", "".join(parts))


def _card(seen: Seen, one: Template) -> str:
    if one.wrong:
        return (
            f'<li class="off"><b>{text(one.title)}</b> <span>cannot be started; whoever wrote it '
            f"should know: {text(one.wrong)}</span></li>"
        )
    return (
        f'<li><a href="/{seen.place.path}/start/{quote(one.name, safe="")}">'
        f"<b>{text(one.title)}</b><span>{text(one.description)}</span></a></li>"
    )


def jobs(around: Around, task: int, mine: Sequence[Seen]) -> str:
    """The jobs of a task, for who may see these alone."""
    rows = "".join(
        f'<li><a href="/{one.place.path}"><b>{text(one.name)}</b>'
        f"<span>{counted(one.frames, 'frame')}</span></a></li>"
        for one in mine
    )
    return around.page(f"Your jobs of task {task}", f'<ul class="cards">{rows}</ul>')


def form(
    around: Around,
    seen: Seen,
    template: Template,
    values: Mapping[str, str],
    *,
    wrong: Mapping[str, str] | None = None,
    ask: str = "",
) -> str:
    """The form of a template; `ask` is a doubt that has to be confirmed."""
    wrong = wrong or {}
    others = [
        said for field, said in wrong.items() if field not in {f.name for f in template.asked}
    ]
    fields = "".join(_field(one, values, wrong.get(one.name, "")) for one in template.asked)
    sure = (
        f'<div class="alarm" role="alert"><p>{text(ask)}</p><label class="check"><input '
        'type="checkbox" name="sure" value="yes" required> Run it all the same</label></div>'
        if ask
        else ""
    )
    body = [
        about(around, seen, named=True),
        f"<p>{text(template.description)}</p>",
        "".join(map(alarm, others)),
        f'<form method="post" class="fields">{around.csrf()}{fields}{sure}'
        f'<div class="act">{button("Run", "first")}<a href="/{seen.place.path}">Back</a></div>'
        "</form>",
    ]
    return around.page(template.title, "".join(body))


def _field(one: Field, values: Mapping[str, str], wrong: str) -> str:
    mark, value = text(PREFIX + one.name), values.get(one.name, one.value)
    told = [f"{mark}-hint"] * bool(one.hint) + [f"{mark}-wrong"] * bool(wrong)
    common = f'id="{mark}" name="{mark}"'
    common += f' aria-describedby="{" ".join(told)}"' if told else ""
    common += ' aria-invalid="true"' if wrong else ""
    common += " required" if one.required and one.widget != "checkbox" else ""
    label = f'<label for="{mark}">{text(one.shown)}{" *" if one.required else ""}</label>'
    hint = f'<p class="hint" id="{mark}-hint">{text(one.hint)}</p>' if one.hint else ""
    if one.widget == "checkbox":
        checked = " checked" if value == "yes" else ""
        box = f'<input type="checkbox" {common} value="yes"{checked}>'
        label = f'<label class="check" for="{mark}">{box} {text(one.shown)}</label>'
        widget = ""
    elif one.options and one.widget in ("select", "nodepool"):
        known = (
            one.options if one.required or "" in one.options or one.value else ("", *one.options)
        )
        choices = "".join(
            f'<option value="{text(o)}"{" selected" * (o == value)}>{text(o)}</option>'
            for o in known
        )
        widget = f"<select {common}>{choices}</select>"
    elif one.widget == "textarea":
        widget = f'<textarea {common} rows="4">\n{text(value)}</textarea>'
    elif one.widget == "number":
        limits = f' min="{one.least:g}"' if one.least is not None else ""
        limits += f' max="{one.most:g}"' if one.most is not None else ""
        widget = f'<input type="number" step="any" {common} value="{text(value)}"{limits}>'
    else:
        widget = f'<input type="text" {common} value="{text(value)}">'
    said = f'<p class="wrong" id="{mark}-wrong">{text(wrong)}</p>' if wrong else ""
    return f'<div class="field">{label}{widget}{hint}{said}</div>'


def history(around: Around, seen: Seen, runs: Sequence[Run], page: int, total: int) -> str:
    """All runs of a task, a page of them."""
    last = max(1, -(-total // PAGE))
    ways = [
        f'<a href="/tasks/{seen.task}/history?page={number}">{words}</a>'
        for number, words in ((page - 1, "Newer"), (page + 1, "Older"))
        if 1 <= number <= last
    ]
    turn = f'<p class="turn">Page {page} of {last} {" ".join(ways)}</p>' if last > 1 else ""
    return around.page(
        f"Runs on {seen.name}", f"{about(around, seen, named=True)}{table(runs)}{turn}"
    )
