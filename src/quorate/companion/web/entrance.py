"""The door: who is signed in, signing in and out, and that a form is of one of our pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from quorate.companion.forms import FormError
from quorate.companion.people import (
    Person,
    Session,
    Sessions,
    by_password,
    by_token,
    same,
    sign_out,
)
from quorate.companion.running import Running
from quorate.companion.settings import Settings
from quorate.companion.web import pages
from quorate.companion.web.frame import Around
from quorate.companion.web.guard import answers, ours
from quorate.errors import (
    AccessError,
    BusyError,
    ClusterError,
    InputError,
    QuorateError,
    StorageError,
)
from quorate.http.receiving import Refused

COOKIE = "quorate"
LONGEST = 300
"""Characters of a user name; CVAT's have at most 150."""
Form = dict[str, str]


class Unknown(Exception):  # noqa: N818 - an answer, not a fault
    """Nobody is signed in."""


@dataclass
class Entrance:
    """Lets people in.

    settings  CVAT's address, and the companion's own
    running   the runs
    """

    settings: Settings
    running: Running
    sessions: Sessions = field(default_factory=Sessions, kw_only=True)

    def session(self, request: Request) -> Session:
        """The session of who asks; Unknown where nobody is signed in."""
        found = self.sessions.get(request.cookies.get(COOKIE, ""))
        if found is None:
            raise Unknown
        request.state.session = found
        return found

    def around(self, request: Request) -> Around:
        """What stands around the page that is asked for."""
        session: Session | None = getattr(request.state, "session", None)
        return Around(self.settings.cvat_shown or self.settings.cvat, session)

    def sender(self, request: Request, form: Form) -> Person:
        """Who sent a form; Refused where our page did not."""
        session = self.session(request)
        if not same(form.get("csrf", ""), session.csrf):
            raise Refused(403, "This form is not of this visit. Go back, load the page again.")
        return session.person

    def sign_in_page(self, request: Request) -> Response:
        """The page on which somebody signs in."""
        return HTMLResponse(
            pages.sign_in(self.around(request), request.query_params.get("to", "/"))
        )

    def sign_in(self, request: Request, form: Form) -> Response:
        """Begin a session, and lead to the page that was asked for."""
        to, server = ours(form.get("to", "/")), self.settings.cvat
        username = form.get("username", "")[:LONGEST]
        try:
            if form.get("token"):
                somebody = by_token(server, form["token"].strip())
            elif username and form.get("password"):
                self.sessions.try_again(username)
                somebody = by_password(server, username, form["password"])
            else:
                raise AccessError("Give a name and a password, or a token.")
        except QuorateError as error:
            status = 401 if isinstance(error, AccessError) else status_of(error)
            if username and status == 401:
                self.sessions.failed(username)
            page = pages.sign_in(
                self.around(request), to, wrong=error.message, hint=error.hint or ""
            )
            return HTMLResponse(page, status)
        answer = RedirectResponse(to, 303)
        answer.set_cookie(
            COOKIE,
            self.sessions.begin(somebody),
            httponly=True,
            samesite="lax",
            secure=(self.settings.url or "").startswith("https:"),
            path="/",
        )
        return answer

    def sign_out(self, request: Request, form: Form) -> Response:
        """End the session, and CVAT's that a password was exchanged for."""
        who = self.sender(request, form)
        self.sessions.end(request.cookies.get(COOKIE, ""))
        if not any(run.person == who.id for run in self.running.store.at_work()):
            sign_out(who)  # else its run needs what the password was exchanged for
        answer = RedirectResponse("/sign-in", 303)
        answer.delete_cookie(COOKIE, path="/")
        return answer

    async def to_sign_in(self, request: Request, error: Exception) -> Response:
        """Lead somebody whom we, or CVAT, do not know to where they can sign in."""
        if request.method == "GET":
            query = f"?{request.url.query}" if request.url.query else ""
            to = quote(request.url.path + query, safe="")
            return RedirectResponse(f"/sign-in?to={to}", 303)
        page = pages.sign_in(self.around(request), "/", wrong="You are not signed in any more.")
        return HTMLResponse(page, 401)


def status_of(error: QuorateError) -> int:
    """The status of the page that tells an error."""
    if isinstance(error, FormError):
        return 422
    if isinstance(error, InputError):
        return 404
    kinds = ((AccessError, 403), (BusyError, 409), (StorageError, 502), (ClusterError, 502))
    return next((status for kind, status in kinds if isinstance(error, kind)), 500)


def posted(
    handler: Callable[[Request, Form], Response],
) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint for a form: it is read here, and looked at by a thread."""

    async def endpoint(request: Request) -> Response:
        form = await answers(request)
        return await run_in_threadpool(handler, request, form)

    return endpoint
