"""The requests of a browser, answered: an ASGI application."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from quorate.companion.forms import FormError, Template
from quorate.companion.hooks.receiving import Hooks
from quorate.companion.people import Seen, look, may_edit, seen_jobs, shapes_up_to
from quorate.companion.store import Run
from quorate.companion.web import pages, run_page
from quorate.companion.web.entrance import COOKIE, Entrance, Form, Unknown, posted, status_of
from quorate.companion.web.guard import Guard
from quorate.cvat.client import SignedOutError, origin
from quorate.cvat.task import Place, What
from quorate.errors import AccessError, InputError, QuorateError
from quorate.http.receiving import Refused
from quorate.report.markup import plain

LOG = logging.getLogger("quorate.companion")
STATIC = Path(__file__).parent / "static"
LATEST = 10


@dataclass
class Companion(Entrance):
    """Answers browsers.

    hooks  CVAT's webhooks; None: they are not taken
    """

    hooks: Hooks | None = None

    def application(self) -> Starlette:
        """The ASGI application."""
        get, post = ["GET"], ["POST"]
        start = "/start/{template}"
        routes = [
            Route("/", self._home, methods=get),
            Route("/open", self._open, methods=get),
            Route("/sign-in", self.sign_in_page, methods=get),
            Route("/sign-in", posted(self.sign_in), methods=post),
            Route("/sign-out", posted(self.sign_out), methods=post),
            Route("/tasks/{number:int}/history", self._history, methods=get),
            Route("/runs/{run}", self._run, methods=get),
            Route("/runs/{run}/live", self._live, methods=get),
            Route("/runs/{run}/{what}", posted(self._act), methods=post),
            Route("/healthz", _well, methods=get),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        if self.hooks is not None:
            routes.append(Route("/hooks", self.hooks.receive, methods=post))
        for what in ("/tasks/{number:int}", "/jobs/{number:int}"):
            routes += [
                Route(what, self._task, methods=get),
                Route(what + start, self._form, methods=get),
                Route(what + start, posted(self._start), methods=post),
            ]
        return Starlette(
            routes=routes,
            middleware=[Middleware(Guard)],
            exception_handlers={
                Unknown: self.to_sign_in,
                SignedOutError: self.to_sign_in,
                QuorateError: self._problem,
                Refused: self._problem,
                HTTPException: self._problem,
            },
        )

    # What there is.

    def _home(self, request: Request) -> Response:
        session = self.session(request)
        runs = self.running.store.of_person(session.person.id)
        return HTMLResponse(pages.home(self.around(request), runs))

    def _open(self, request: Request) -> Response:
        session = self.session(request)
        given = request.query_params.get("task", "").strip()[:500]
        try:
            place = Place.parse(given)
            known = {self.settings.cvat, self.settings.cvat_shown}
            if place.server is not None and origin(place.server) not in known:
                raise InputError(f"{place.server}: is another server than {self.settings.cvat}.")
            if place.what == "project":
                raise InputError("A project has many tasks: name one of them.")
        except InputError as error:
            runs = self.running.store.of_person(session.person.id)
            page = pages.home(self.around(request), runs, wrong=str(error.message), given=given)
            return HTMLResponse(page, 400)
        return RedirectResponse(f"/{place.path}", 303)

    def _seen(self, request: Request) -> Seen:
        """The task or job of the address, where this person may see it."""
        what: What = "job" if request.url.path.startswith("/jobs/") else "task"
        place = Place(what, request.path_params["number"])
        return look(self.session(request).person.client, place)

    def _task(self, request: Request) -> Response:
        client, store = self.session(request).person.client, self.running.store
        try:
            seen = self._seen(request)
        except SignedOutError:
            raise
        except AccessError:
            # The link in CVAT is the task's, and who labels may have some of its jobs alone.
            task = request.path_params["number"]
            mine = seen_jobs(client, task) if request.url.path.startswith("/tasks/") else []
            if not mine:
                raise
            if len(mine) == 1:
                return RedirectResponse(f"/jobs/{mine[0].job}", 303)
            return HTMLResponse(pages.jobs(self.around(request), task, mine))
        templates, troubles = self.running.offered()
        page = pages.task(
            self.around(request),
            seen,
            templates,
            store.of_task(seen.task, seen.job, size=LATEST),
            total=store.count(seen.task, seen.job),
            why_not=may_edit(client, seen.place),
            troubles=troubles,
        )
        return HTMLResponse(page)

    def _history(self, request: Request) -> Response:
        seen, store = self._seen(request), self.running.store
        given = request.query_params.get("page", "1")
        page = int(given) if given.isdecimal() and 0 < len(given) < 7 else 1
        runs, total = store.of_task(seen.task, page=max(page, 1)), store.count(seen.task)
        return HTMLResponse(pages.history(self.around(request), seen, runs, max(page, 1), total))

    # What can be started.

    def _template(self, request: Request) -> Template:
        return self.running.template(request.path_params["template"])

    def _form(self, request: Request) -> Response:
        seen, template = self._seen(request), self._template(request)
        values = template.defaults()
        like = self.running.store.run(request.query_params.get("like", ""))
        if like is not None and (like.target, like.template) == (seen.place, template.name):
            values |= {one.name: like.values.get(one.name, one.value) for one in template.asked}
        page = pages.form(self.around(request), seen, template, values)
        return HTMLResponse(page)

    def _start(self, request: Request, form: Form) -> Response:
        who = self.sender(request, form)
        seen, template = self._seen(request), self._template(request)
        given = {
            name.removeprefix(pages.PREFIX): value
            for name, value in form.items()
            if name.startswith(pages.PREFIX)
        }
        # A box that is not ticked is not sent.
        ticked = {one.name: "" for one in template.asked if one.widget == "checkbox"}
        around, ask, wrong = self.around(request), "", {}
        try:
            values = template.checked(ticked | given)
            least = self.settings.few_shapes if template.trains and "sure" not in form else 0
            found = shapes_up_to(who.client, seen, least)
            if found < least:
                ask = (
                    f"This learns from what is drawn in the task, and that is little: {found} "
                    f"shapes, fewer than {least}."
                )
            else:
                run = self.running.start(template.name, seen.task, seen.job, ticked | given, who)
                return RedirectResponse(f"/runs/{run}", 303)
        except FormError as error:
            values, wrong = template.defaults() | given, error.wrong
        except InputError as error:  # what cannot be run, told before any work
            values, wrong = template.defaults() | given, {"": str(error).replace("\n", " ")}
        page = pages.form(around, seen, template, values, wrong=wrong, ask=ask)
        return HTMLResponse(page, 422)

    # A run.

    def _one(self, request: Request) -> tuple[Run, Seen]:
        """The run of the address, where this person may see its task or job."""
        session = self.session(request)
        one = self.running.run(request.path_params["run"])
        return one, look(session.person.client, one.target)

    def _run(self, request: Request) -> Response:
        one, seen = self._one(request)
        known = {template.name: template for template in self.running.offered()[0]}
        page = run_page.run(
            self.around(request),
            seen,
            one,
            self.running.store.lines(one.id),
            known.get(one.template),
            now=time.time(),
        )
        return HTMLResponse(page)

    def _live(self, request: Request) -> Response:
        one, _ = self._one(request)
        lines = self.running.store.lines(one.id)
        part = run_page.live(self.around(request), one, lines, now=time.time())
        return HTMLResponse(part, headers={"x-state": one.state})

    def _act(self, request: Request, form: Form) -> Response:
        who = self.sender(request, form)
        one, _ = self._one(request)
        acts = {
            "cancel": self.running.cancel,
            "again": self.running.again,
            "undo": self.running.undo,
        }
        act = acts.get(request.path_params["what"])
        if act is None:
            raise HTTPException(404)
        act(one.id, who)
        return RedirectResponse(f"/runs/{one.id}", 303)

    # What is no page.

    async def _problem(self, request: Request, error: Exception) -> Response:
        if isinstance(error, Refused):
            status, sentence, hint = error.status, error.sentence, ""
        elif isinstance(error, HTTPException):
            status, sentence, hint = error.status_code, f"{error.detail}.", ""
            if status == 404:  # no page of ours has looked who asks
                sentence = "There is no page at this address."
                request.state.session = self.sessions.get(request.cookies.get(COOKIE, ""))
        else:
            assert isinstance(error, QuorateError)
            status, sentence, hint = status_of(error), error.message, error.hint or ""
            who = getattr(request.state, "session", None)
            LOG.warning(
                "%s: %s %s: %s",
                plain(who.person.name if who else "somebody"),
                request.method,
                plain(request.url.path),
                plain(sentence),
            )
        title = {403: "Not allowed", 404: "Not here", 409: "Somebody is at work"}
        title |= {502: "No answer"}
        page = pages.problem(
            self.around(request), title.get(status, "That did not work"), sentence, hint
        )
        return HTMLResponse(page, status)


def _well(request: Request) -> Response:
    return PlainTextResponse("ok")
