"""A companion that is up, and somebody who visits it without a browser."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

import urllib3
import uvicorn

from quorate.companion.running import Running
from quorate.companion.serving import at_work, hooked
from quorate.companion.settings import Settings
from quorate.companion.web.app import Companion
from tests.cvat.server import PASSWORD, USER
from tests.cvat.servers import ROOT, Server
from tests.waiting import until


@contextmanager
def companion(settings: Settings) -> Iterator[tuple[str, Running]]:
    """A companion in this process: its address, and its runs."""
    with (
        at_work(settings) as running,
        hooked(settings, running) as hooks,
        answering(Companion(settings, running, hooks).application()) as url,
    ):
        running.resume()
        yield url, running


@contextmanager
def answering(application) -> Iterator[str]:
    """An application at a port of its own."""
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


class Process(Server):
    """`quorate cvat companion` in a process of its own."""

    def __init__(self, command, plugins):
        path = f"{plugins}{os.pathsep}{ROOT}"
        super().__init__(
            subprocess.Popen(
                [sys.executable, "-m", "quorate", "cvat", "companion", *command, "--port", "0"],
                env=os.environ | {"PYTHONPATH": path},
                stderr=subprocess.PIPE,
                text=True,
            )
        )

    def end(self, how):
        self.process.send_signal(how)
        return self.ended()

    def ended(self):
        status = self.process.wait(60)
        self._reader.join()
        self.process.stderr.close()
        return status


class Visitor:
    """Keeps cookies, follows redirects, and sends forms with what their page hid in them."""

    def __init__(self, url: str) -> None:
        self.url, self.cookies = url, {}
        self.page, self.status, self.path, self.headers = "", 0, "", {}
        self._pool = urllib3.PoolManager()

    def _ask(self, method: str, path: str, **sent) -> Visitor:
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
        headers |= sent.pop("headers", {})
        answer = self._pool.request(
            method, self.url + path, headers=headers, redirect=False, retries=False, **sent
        )
        for line in answer.headers.getlist("Set-Cookie"):
            name, _, rest = line.partition("=")
            value = rest.partition(";")[0].strip('"')
            self.cookies[name] = value
            if not value:
                del self.cookies[name]
        self.page, self.status, self.path = answer.data.decode(), answer.status, path
        self.headers = answer.headers
        if answer.status in (302, 303):
            return self._ask("GET", answer.headers["Location"])
        return self

    def get(self, path: str) -> Visitor:
        """Open a page."""
        return self._ask("GET", path)

    def send(self, path: str, form: dict[str, str] | str, **headers: str) -> Visitor:
        """Send a form, with the csrf of the page that is open unless the form has one."""
        if isinstance(form, dict):
            found = re.search(r'name="csrf" value="([^"]*)"', self.page)
            form = urlencode({"csrf": found[1] if found else "", **form})
        told = {"Content-Type": "application/x-www-form-urlencoded"}
        told |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self._ask("POST", path, body=form, headers=told)

    def sign_in(self, username: str = USER, password: str = PASSWORD) -> Visitor:
        """Sign in, and be where that leads."""
        return self.send("/sign-in", {"username": username, "password": password})

    def start(self, task: int, template: str, **values: str) -> str:
        """Start a run; its id."""
        path = f"/tasks/{task}/start/{template}"
        self.get(path).send(path, {f"p.{name}": value for name, value in values.items()})
        found = re.fullmatch(r"/runs/(\w+)", self.path)
        assert found, self.text
        return found[1]

    def ended(self, run: str) -> Visitor:
        """Wait until a run has ended; its page."""
        until(lambda: self.get(f"/runs/{run}/live").headers["x-state"] not in WORKING)
        return self.get(f"/runs/{run}")

    @property
    def text(self) -> str:
        """The words of the page."""
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", self.page)).split())


WORKING = ("waiting", "working")
