"""Argo's own page: its form for a rendered template, filled in and submitted in a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote

import pytest
import websocket

from tests.cluster.runs import Bucket, Runs

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("argo", "installed")]

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


class Browser:
    """One page of Chromium, told what to do by its DevTools protocol."""

    def __init__(self, chromium, folder):
        self._process = subprocess.Popen(
            [chromium, *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={folder}"],
            stderr=subprocess.DEVNULL,
        )
        found = Path(folder, "DevToolsActivePort")
        _until(found.exists)
        port = found.read_text().split()[0]
        pages = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
        page = next(one for one in pages if one["type"] == "page")
        self._socket = websocket.create_connection(
            page["webSocketDebuggerUrl"], suppress_origin=True, timeout=60
        )
        self._number = 0

    def call(self, method, **parameters):
        self._number += 1
        call = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(call))
        while (answer := json.loads(self._socket.recv())).get("id") != self._number:
            pass
        return answer["result"]

    def evaluate(self, script):
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return found["result"].get("value")

    def close(self):
        self._socket.close()
        self._process.terminate()
        self._process.wait()


def _until(done, seconds=60):
    limit = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < limit, f"not so within {seconds} s"
        time.sleep(0.3)
    return found


@pytest.fixture
def browser(tmp_path):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("needs Chromium")
    browser = Browser(chromium, tmp_path)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def page():
    """The address of Argo's server, if it serves its page."""
    server = os.environ.get("ARGO_SERVER")
    if not server:
        pytest.skip("needs Argo's server: ARGO_SERVER is not set")
    address = f"{'https' if os.environ.get('ARGO_SECURE') == 'true' else 'http'}://{server}"
    with urllib.request.urlopen(address) as answer:
        if not re.search(rb"<script", answer.read()):
            pytest.skip(f"{address} was built without its page")
    return address


def test_someone_who_knows_no_yaml_fills_in_the_form_and_runs_the_ensemble(
    kubectl, bucket, image, page, browser, tmp_path_factory
):
    runs = Runs(kubectl, Bucket(bucket), image, "quorate-tests/form", tmp_path_factory.mktemp("f"))
    template = runs.template(runs.spec("form"))
    try:
        # A folder that is not there: this is about the form, and such a run ends soon.
        filled = quote(f"s3://{bucket}/quorate-tests/form/nothing/")
        browser.call(
            "Page.navigate",
            url=f"{page}/workflow-templates/{kubectl.namespace}/{template}?sidePanel=submit"
            f"&parameters[cvat-annotation-path]={filled}",
        )
        text = "document.body.innerText"
        _until(lambda: "ensemble-option" in (browser.evaluate(text) or ""))
        fields = browser.evaluate("[...document.querySelectorAll('label')].map(e => e.innerText)")
        asked = kubectl.get("workflowtemplate", template)["spec"]["arguments"]["parameters"]
        assert [name for name in fields if name in {p["name"] for p in asked}] == [
            one["name"] for one in asked
        ]
        choices = "[...document.querySelectorAll('.select__option')]"
        offered = browser.evaluate(f"{choices}.map(e => e.textContent.trim())")
        assert {"affirmative", "consensus", "unanimous", "wbf"} <= set(offered)
        browser.evaluate(f"{choices}.find(e => e.textContent.trim() == 'unanimous').click()")
        browser.evaluate(
            "[...document.querySelectorAll('.sliding-panel button')]"
            ".find(e => /submit/i.test(e.innerText)).click()"
        )
        made = _until(
            lambda: json.loads(
                kubectl(
                    "get",
                    "workflows",
                    f"--selector=workflows.argoproj.io/workflow-template={template}",
                    "--output=json",
                )
            )["items"]
        )[0]
        runs.made.append(f"workflow/{made['metadata']['name']}")
        given = {p["name"]: p["value"] for p in made["spec"]["arguments"]["parameters"]}
        assert given["ensemble-option"] == "unanimous"
        assert given["cvat-annotation-path"].endswith("/form/nothing/")
        ended = runs.wait(made["metadata"]["name"])
        assert ended["status"]["phase"] == "Failed"
    finally:
        runs.clear()
