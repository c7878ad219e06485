"""A detector with nothing of ours inside votes on a cluster as it does here."""

from __future__ import annotations

import json
import sys

import pytest
import yaml

from tests.cluster.conftest import images_of_nodes
from tests.cluster.runs import files_of, local_demo, messages, quorate
from tests.steps.test_containers import IMAGE, SCRIPT

pytestmark = pytest.mark.usefixtures("argo", "installed", "python_image")


@pytest.fixture(scope="module")
def python_image(kubectl):
    """Skips unless a node has an image with nothing of ours."""
    if IMAGE not in images_of_nodes(kubectl):
        pytest.skip(f"no node has the image {IMAGE}, which has Python and nothing of ours")


def with_theirs(path, *, script=SCRIPT, image=None, python="python3"):
    """The demo's spec with a detector of somebody else's in the place of its second."""
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    theirs = {"name": "theirs", "kind": "container", "command": [python, "-c", script]}
    spec["detectors"][1] = theirs | ({"image": image} if image else {})
    spec["fusion"] = {"method": "affirmative"}
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    return path


def test_its_boxes_are_fused_to_the_same_bytes(runs, tmp_path):
    finished = runs.wait(
        runs.create(runs.template(with_theirs(runs.spec("theirs"), image=IMAGE)), shard_size=30)
    )
    assert finished["status"]["phase"] == "Succeeded", messages(finished)
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(local_demo()), encoding="utf-8")
    local = with_theirs(tmp_path / "spec.yaml", python=sys.executable)
    quorate("run", local, "--out", tmp_path / "out")
    published = runs.results(finished["metadata"]["name"])
    for name, data in files_of(tmp_path / "out").items():
        if name.startswith(("cvat/", "coco/")):
            assert published[name] == data, name
    summary = json.loads(published["summary.json"])
    assert not summary["degraded"]
    assert {one["name"]: one["boxes"] for one in summary["detectors"]}["theirs"] == 60


def test_one_that_breaks_the_contract_costs_its_vote(runs):
    script = SCRIPT.replace('"images": len(shard["images"])', '"images": 1')
    path = with_theirs(runs.spec("careless"), image=IMAGE, script=script)
    finished = runs.wait(runs.create(runs.template(path)))
    assert finished["status"]["phase"] == "Succeeded", messages(finished)
    summary = json.loads(runs.results(finished["metadata"]["name"])["summary.json"])
    assert summary["degraded"]
    failed = {one["name"]: one["failed"] for one in summary["detectors"]}
    assert "counts 1 pictures, but images.json has" in failed["theirs"]


# What an image that knows nothing of clusters does, before it finds that its model is not there.
CRASH = """
import getpass, os, subprocess, sys, tempfile
from pathlib import Path

getpass.getuser()
Path.home().joinpath("note").write_text("a home")
assert tempfile.NamedTemporaryFile().name.startswith("/scratch/")

def load(path):
    raise FileNotFoundError(f"no checkpoint at {path}")

load("/models/epoch_50.pth")
"""


def test_the_last_lines_of_a_crash_are_told_everywhere(runs):
    said = "FileNotFoundError: no checkpoint at /models/epoch_50.pth (exit status 1)"
    path = with_theirs(runs.spec("crash"), image=IMAGE, script=CRASH)
    name = runs.create(runs.template(path))
    finished = runs.wait(name)
    assert finished["status"]["phase"] == "Succeeded", messages(finished)
    published = runs.results(name)
    summary = json.loads(published["summary.json"])
    assert {one["name"]: one["failed"] for one in summary["detectors"]}["theirs"] == said
    assert said.encode() in published["report.html"]
    status = quorate("status", name, "--namespace", runs.kubectl.namespace).stdout
    assert said in status


def without_token(templates):
    templates["fuse"]["automountServiceAccountToken"] = False


def without_rights(templates):
    templates["fuse"]["serviceAccountName"] = "quorate-artifact-gc"


@pytest.mark.parametrize(
    ("change", "right"),
    [
        (without_token, "no token is mounted in this pod; its account needs `get` on workflows"),
        (without_rights, 'cannot get resource "workflows"'),
    ],
)
def test_where_the_api_server_cannot_be_asked_the_missing_right_is_told(runs, change, right):
    script = "import os; os._exit(3)"
    path = with_theirs(runs.spec("silent"), image=IMAGE, script=script)
    name = runs.create(runs.template(path, change))
    finished = runs.wait(name)
    assert finished["status"]["phase"] == "Succeeded", messages(finished)
    summary = json.loads(runs.results(name)["summary.json"])
    said = {one["name"]: one["failed"] for one in summary["detectors"]}["theirs"]
    assert "could not say why (its task: Failed); the API server cannot be asked: " in said
    assert right in said
