"""The companion that the chart installs: it comes up, answers, and may do what it needs alone."""

import json

import pytest
import yaml

from tests.cluster.chart import values
from tests.cluster.test_chart import may
from tests.test_chart import helm

VALUES = {"enabled": True, "cvat": "http://cvat.invalid:8080", "url": "https://quorate.invalid"}
PAGES = "services/quorate-companion:http/proxy"


@pytest.fixture(scope="module")
def companion(kubectl, installed, image, bucket):
    """The companion beside the installed chart, until these tests have ended."""
    text = helm(
        "template",
        "companion",
        f"--namespace={kubectl.namespace}",
        "--show-only=templates/companion.yaml",
        values=values(image, bucket, companion=VALUES),
    ).stdout
    made = [one for one in yaml.safe_load_all(text) if one]
    kubectl.apply(*made)
    try:
        kubectl("rollout", "status", "deployment/quorate-companion", "--timeout=240s")
        yield
    finally:
        given = "\n---\n".join(map(json.dumps, made))
        kubectl("delete", "--filename=-", "--wait=false", given=given)


def page(kubectl, path):
    return kubectl("get", f"--raw=/api/v1/namespaces/{kubectl.namespace}/{PAGES}{path}")


def test_it_answers(kubectl, companion):
    assert page(kubectl, "/healthz") == "ok"
    assert "http://cvat.invalid:8080" in page(kubectl, "/sign-in")


def test_it_may_do_what_its_runs_need_and_nothing_else(kubectl, companion):
    assert may(kubectl, "quorate-companion") == {
        *(("workflows", verb) for verb in ("create", "get", "list", "patch")),
        ("workflowtemplates", "get"),
        ("workflowtemplates", "list"),
        ("pods", "list"),
        ("events", "list"),
        ("pods/log", "get"),
    }


def test_what_it_knows_outlives_its_pod(kubectl, companion):
    kubectl("exec", "deployment/quorate-companion", "--", "ls", "/state/companion.db")
    kubectl("exec", "deployment/quorate-companion", "--", "touch", "/state/mark")
    kubectl("rollout", "restart", "deployment/quorate-companion")
    kubectl("rollout", "status", "deployment/quorate-companion", "--timeout=240s")
    assert page(kubectl, "/healthz") == "ok"
    kubectl("exec", "deployment/quorate-companion", "--", "ls", "/state/mark")
