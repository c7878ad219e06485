"""Argo's own page: its form for a rendered template, filled in and submitted in a real browser."""

from __future__ import annotations

import os
import re
import urllib.request
from urllib.parse import quote

import pytest

from tests.chromium import NEEDED
from tests.cluster.runs import Bucket, Runs

api = pytest.importorskip("playwright.sync_api", reason="needs Playwright, of the group `test`")
pytestmark = [
    *NEEDED,
    pytest.mark.usefixtures("argo", "installed"),
]


@pytest.fixture
def page(chromium):
    return chromium.new_page()


@pytest.fixture(scope="module")
def address():
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
    kubectl, bucket, image, address, page, tmp_path_factory
):
    runs = Runs(kubectl, Bucket(bucket), image, "quorate-tests/form", tmp_path_factory.mktemp("f"))
    template = runs.template(runs.spec("form"))
    try:
        # A folder that is not there: this is about the form, and such a run ends soon.
        filled = quote(f"s3://{bucket}/quorate-tests/form/nothing/")
        page.goto(
            f"{address}/workflow-templates/{kubectl.namespace}/{template}?sidePanel=submit"
            f"&parameters[cvat-annotation-path]={filled}"
        )
        panel = page.locator(".sliding-panel")
        panel.get_by_text("ensemble-option").wait_for()
        asked = kubectl.get("workflowtemplate", template)["spec"]["arguments"]["parameters"]
        names = [one["name"] for one in asked]
        assert [name for name in page.locator("label").all_inner_texts() if name in names] == names
        choices = page.locator(".select__option")
        offered = {one.strip() for one in choices.all_text_contents()}
        assert {"affirmative", "consensus", "unanimous", "wbf"} <= offered
        # A closed list shows none of its choices, to click on.
        choices.get_by_text("unanimous", exact=True).evaluate("one => one.click()")
        panel.get_by_role("button", name=re.compile("submit", re.IGNORECASE)).click()
        page.wait_for_url(f"**/workflows/{kubectl.namespace}/{template}-*")
        name = re.search(f"{template}-[a-z0-9]+", page.url)[0]
        runs.made.append(f"workflow/{name}")
        made = kubectl.get("workflow", name)
        given = {p["name"]: p["value"] for p in made["spec"]["arguments"]["parameters"]}
        assert given["ensemble-option"] == "unanimous"
        assert given["cvat-annotation-path"].endswith("/form/nothing/")
        ended = runs.wait(name)
        assert ended["status"]["phase"] == "Failed"
    finally:
        runs.clear()
