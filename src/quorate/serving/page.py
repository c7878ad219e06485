"""The page at the server's root: a client of the protocol, in the browser.

It is three files that hold nothing of the server; what it shows it asks for as any client does, at
`/v2` and `/metrics`, with the token where one is asked for.
"""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

STATIC = Path(__file__).parent / "static"
FILES = {
    "/": "page.html",
    "/page.css": "page.css",
    "/page.js": "page.js",
    "/icon.svg": "icon.svg",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def routes() -> list[Route]:
    """The page and its files."""
    return [Route(path, _file) for path in FILES]


async def _file(request: Request) -> Response:
    return FileResponse(STATIC / FILES[request.url.path], headers=HEADERS)
