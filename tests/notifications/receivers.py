"""Real receivers for the tests beside this file: an HTTP server, an SMTP server."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


@dataclass
class Web:
    """What came, and what is answered: one status after the other, then 200."""

    url: str
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    hang: float = 0.0
    came: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def web(host="127.0.0.1"):
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            data = self.rfile.read(int(self.headers["Content-Length"]))
            given.came.append((self.path, {k.lower(): v for k, v in self.headers.items()}, data))
            if given.hang:
                released.wait(given.hang)
            self.send_response(given.statuses.pop(0) if given.statuses else 200)
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(given.body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer((host, 0), Handler)
    given = Web(url=f"http://{host}:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield given
    finally:
        released.set()
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Post:
    """A mail server: what came, and what it answers to a sender or a recipient."""

    port: int = 0
    refuse: dict[str, list[str]] = field(default_factory=dict)
    came: list = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        answers = self.refuse.get(address)
        if answers:
            return answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802  aiosmtpd's name
        message = BytesParser(policy=default).parsebytes(envelope.content)
        self.came.append((envelope.mail_from, envelope.rcpt_tos, message, envelope.content))
        return "250 OK"

    def authenticate(self, server, session, envelope, mechanism, data):
        name, password = data.login.decode(), data.password.decode()
        self.logins.append((name, password))
        right = (name, password) == ("quorate", "opensesame")
        return AuthResult(success=right, handled=right)


@contextmanager
def post(*, host="127.0.0.1", certificate=None, tls=False, auth=False):
    """An SMTP server; with a certificate it wants STARTTLS, or with `tls` speaks TLS at once."""
    given = Post()
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    with socket.socket() as free:
        free.bind((host, 0))
        given.port = free.getsockname()[1]
    server = Controller(
        given,
        hostname=host,
        port=given.port,
        server_hostname="localhost",
        ssl_context=context if tls else None,
        tls_context=None if tls else context,
        require_starttls=bool(certificate) and not tls,
        authenticator=given.authenticate if auth else None,
        auth_required=auth and not tls,
        auth_require_tls=not tls,
    )
    server.start()
    try:
        yield given
    finally:
        server.stop()


def certificate(folder):
    """A certificate for localhost, signed by itself, and its key."""
    chain, key = folder / "chain.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(chain)]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return chain, key


def slack_refuses(headers, body):
    """What Slack would refuse or cut of a message to an incoming webhook; [] for nothing.

    Its documented limits: JSON of at most 100 attachments; a `text`, which it splits from 4,000
    characters on; 8,000 characters of an attachment's text; colours as #RRGGBB.
    """
    if headers["content-type"] != "application/json":
        return ["no JSON"]
    message = json.loads(body)
    attachments = message.get("attachments", [])
    found = [f"no {name}" for name in set(message) - {"text", "attachments"}]
    found += [] if message.get("text", "").strip() else ["no_text"]
    found += ["text is split"] if len(message.get("text", "")) > 4000 else []
    found += ["too_many_attachments"] if len(attachments) > 100 else []
    for one in attachments:
        found += [f"no {name}" for name in set(one) - {"color", "fallback", "text", "mrkdwn_in"}]
        found += ["text is cut"] if len(one.get("text", "")) > 8000 else []
        found += [] if re.fullmatch("#[0-9a-f]{6}", one["color"]) else ["color"]
        found += [] if one["fallback"].strip() else ["no fallback"]
        found += (
            ["text is markup"] if re.search("<(?!https?://[^|>]+[|][^>]+>)", one["text"]) else []
        )
    return found
