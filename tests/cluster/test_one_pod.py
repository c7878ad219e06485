"""Few pictures in one pod, on a real Argo: the same bytes, and what happens where that pod dies."""

import json

import pytest

from tests.cluster.runs import annotations, messages, nodes

pytestmark = pytest.mark.usefixtures("argo", "installed")


@pytest.fixture(scope="module")
def template(runs):
    return runs.template(runs.spec("parts-one-pod", workflow={"one_pod": 100}))


def ran(workflow):
    """The names of the pods that ran, and their phases."""
    return {(node["templateName"], node["phase"]) for node in nodes(workflow)}


def test_one_pod_writes_the_bytes_of_the_dag(runs, template):
    alone, several = (runs.create(template, one_pod=number) for number in (100, 0))
    ended = runs.wait(alone)
    assert ended["status"]["phase"] == "Succeeded", messages(ended)
    assert ran(ended) == {("prepare", "Succeeded")}
    said = {one["name"]: one["value"] for one in ended["status"]["outputs"]["parameters"]}
    assert said == {"degraded": "false"}
    ended = runs.wait(several)
    assert ended["status"]["phase"] == "Succeeded", messages(ended)
    assert len(ran(ended)) == 5
    files = runs.results(alone)
    assert annotations(files) == annotations(runs.results(several))
    assert files["summary.json"] == runs.results(several)["summary.json"]


def test_a_broken_detector_costs_its_votes_in_one_pod_too(runs):
    path = runs.spec("parts-one-broken", workflow={"one_pod": 100})
    runs.bucket.put(f"{runs.prefix}/models/broken.onnx", b"no network")
    path.write_text(path.read_text().replace("models/yolo.onnx", "models/broken.onnx"))
    name = runs.create(runs.template(path))
    ended = runs.wait(name)
    assert ended["status"]["phase"] == "Succeeded", messages(ended)
    assert ran(ended) == {("prepare", "Succeeded"), ("tell", "Succeeded")}
    said = {one["name"]: one["value"] for one in ended["status"]["outputs"]["parameters"]}
    assert said == {"degraded": "true"}
    summary = json.loads(runs.results(name)["summary.json"])
    assert summary["degraded"]


def test_where_one_pod_dies_the_dag_goes_on(runs):
    """A detector that kills its process takes the first try with it, and then its own pod."""

    def killed(templates):
        command = templates["prepare"]["container"]["command"]
        templates["prepare"]["container"]["command"] = [
            "sh",
            "-c",
            'case "$*" in *"--try 0"*) exec python3 -c "$0";; *) exec "$@";; esac',
            "import os; os.kill(os.getpid(), 11)",
            *command,
        ]

    name = runs.create(
        runs.template(runs.spec("parts-one-dead", workflow={"one_pod": 100}), killed)
    )
    ended = runs.wait(name)
    assert ended["status"]["phase"] == "Succeeded", messages(ended)
    assert {("prepare", "Failed"), ("prepare", "Succeeded"), ("publish", "Succeeded")} <= ran(ended)
    assert annotations(runs.results(name))
