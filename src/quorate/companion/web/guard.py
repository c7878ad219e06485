"""What holds for every request: which pages may send forms here, and what browsers are told."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quorate.http import receiving
from quorate.http.receiving import Refused

LARGEST = 1 << 18
"""Bytes of a form."""
FIELDS = 500
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Refuses what pages of other sites send, and adds `HEADERS` to each answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if scope["method"] not in ("GET", "HEAD") and elsewhere(Headers(scope=scope)):
            answer = PlainTextResponse("This form was sent by a page of another site.", 403)
            await answer(scope, receive, told)
            return
        await self._app(scope, receive, told)


def elsewhere(headers: Headers) -> bool:
    """Whether a browser says that a page of another site sent a request.

    A proxy may change the Host; then what the browser says of the site (Sec-Fetch-Site) counts.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and origin.partition("//")[2] != headers.get("host")


async def answers(request: Request) -> dict[str, str]:
    """The fields of a form; Refused where it is too long, or is none."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refused(415, "This is no form of these pages.")
    try:
        body = await receiving.body(request, LARGEST)
    except receiving.TooLongError:
        raise Refused(413, f"A form of more than {LARGEST >> 10} KB is not taken.") from None
    except ClientDisconnect:
        raise Refused(400, "The request was broken off.") from None
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            max_num_fields=FIELDS,
            errors="strict",
        )
    except (ValueError, UnicodeDecodeError):
        raise Refused(400, "This is no form of these pages.") from None
    return dict(pairs)


def ours(to: str) -> str:
    """A path of these pages; "/" for what would lead elsewhere."""
    inside = to.startswith("/") and not to.startswith("//")
    return to if inside and to.isprintable() and "\\" not in to else "/"
