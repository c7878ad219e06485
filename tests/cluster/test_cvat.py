"""A task's way over a real Argo Workflows, box by box as a run here."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from tests.cluster.runs import PARTS, quorate
from tests.cvat.local import shapes
from tests.cvat.server import TOKEN, Cvat, serving

pytestmark = pytest.mark.usefixtures("argo", "installed")

WORDS = ("bolt", "nut", "washer", "screw")
TOLD = [{"name": name} for name in ("votes", "confidence", "run")]
PICTURES = sorted((PARTS / "images").rglob("*.jpg"))[:12]


@pytest.fixture
def cvat(monkeypatch, tmp_path):
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", TOKEN)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with serving(Cvat()) as server:
        monkeypatch.setenv("CVAT_URL", server.url)
        yield server


@pytest.fixture
def to(runs):
    return f"s3://{runs.bucket.name}/{runs.prefix}/cvat"


def a_task(cvat):
    labels = [{"name": word, "attributes": TOLD} for word in WORDS]
    names = [path.relative_to(PARTS / "images").as_posix() for path in PICTURES]
    return cvat.add_task(PICTURES, labels, names=names, segment=5)


@pytest.mark.parametrize("dump_format", ["CVAT for images 1.1", "COCO 1.0"])
def test_boxes_of_a_run_on_the_cluster_are_those_of_a_run_here(
    runs, cvat, to, tmp_path, dump_format
):
    here, there = a_task(cvat), a_task(cvat)
    spec = runs.spec("parts-cvat")
    runs.made.append("workflowtemplate/parts-cvat")
    quorate("cvat", "run", here, PARTS / "spec.yaml", "--out", tmp_path / "out")
    more = ("--to", to, "-p", f"dump-format={dump_format}", "--json")
    (done,) = json.loads(quorate("cvat", "run", there, spec, "--submit", *more).stdout)
    runs.made.append(f"workflow/{done['workflow']}")
    assert shapes(cvat, there) == shapes(cvat, here)
    assert done["created"] == len(cvat.drawn(there)) > 50
    labels = runs.kubectl.get("workflow", done["workflow"])["metadata"]["labels"]
    assert labels["cvat-task-id"] == labels["cvat-job-id"] == str(there)
    before = json.dumps(cvat.drawn(there))
    (again,) = json.loads(quorate("cvat", "import", done["workflow"], "--json").stdout)
    assert (again["created"], again["there"]) == (0, done["created"])
    assert json.dumps(cvat.drawn(there)) == before
    quorate("cvat", "undo", done["run"])
    assert cvat.drawn(there) == []


THEIRS = """
import json, pathlib, sys, time
from xml.etree import ElementTree
time.sleep(float(sys.argv[1]))
if sys.argv[2] == "fail":
    pathlib.Path("/dev/termination-log").write_text("the weights do not fit")
    sys.exit("it went wrong")
names = [one.get("name") for one in ElementTree.parse("/data/annotations.xml").iter("image")]
told = {
    "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
    "categories": [{"id": 1, "name": "nut"}],
    "annotations": [
        {"id": i + 1, "image_id": i, "category_id": 1, "bbox": [i, 2, 30, 40], "segmentation": [],
         "iscrowd": 0, "area": 1200} for i in range(len(names))
    ],
}
pathlib.Path("/out/annotations").mkdir(parents=True)
pathlib.Path("/out/annotations/instances_default.json").write_text(json.dumps(told))
"""


@pytest.fixture
def theirs(runs):
    """A template that is not of Quorate: it reads an artifact and writes another."""
    path = "{{workflow.parameters.cvat-%s-path}}"
    parameters = [
        {"name": "cvat-annotation-path"},
        {"name": "cvat-output-path"},
        {"name": "dump-format", "value": "CVAT for images 1.1"},
        {"name": "seconds", "value": "0"},
        {"name": "end", "value": "well", "enum": ["well", "fail"]},
    ]
    container = {
        "image": runs.image,
        "command": ["python3", "-c", THEIRS],
        "args": ["{{workflow.parameters.seconds}}", "{{workflow.parameters.end}}"],
    }
    work = {
        "name": "work",
        "container": container | {"volumeMounts": [{"name": "out", "mountPath": "/out"}]},
        "volumes": [{"name": "out", "emptyDir": {}}],
        "inputs": {"artifacts": [
            {"name": "data", "path": "/data", "s3": {"key": path % "annotation"}}]},
        "outputs": {"artifacts": [
            {"name": "labels", "path": "/out/annotations", "archive": {"none": {}},
             "s3": {"key": f"{path % 'output'}/annotations"}}]},
    }  # fmt: skip
    runs.kubectl.apply(
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "WorkflowTemplate",
            "metadata": {"name": "theirs", "labels": {"used-by": "cvat"}},
            "spec": {
                "entrypoint": "work",
                "securityContext": {"runAsNonRoot": True, "runAsUser": 65532},
                "arguments": {"parameters": parameters},
                "templates": [work],
            },
        }
    )
    runs.made.append("workflowtemplate/theirs")
    return "theirs"


def test_a_template_of_others_goes_on_after_ctrl_c_and_is_imported_later(runs, cvat, to, theirs):
    task = a_task(cvat)
    command = [sys.executable, "-m", "quorate", "cvat", "run", str(task), "--from", theirs]
    process = subprocess.Popen(
        [*command, "--to", to, "-p", "seconds=20"],
        stderr=subprocess.PIPE,
        text=True,
        # A shell in the background ignores SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    said = []
    while not (said and "Running" in said[-1]):
        said.append(process.stderr.readline())
        assert process.poll() is None, said
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    name = next(line.split()[1] for line in said if line.startswith("run: "))
    runs.made.append(f"workflow/{name}")
    assert f"{name} goes on; quorate cvat import {name} --server {cvat.url}" in rest
    assert cvat.drawn(task) == []
    (done,) = json.loads(quorate("cvat", "import", name, "--json").stdout)
    assert done["created"] == len(PICTURES)
    wanted = {(i, i, 2.0, i + 30.0, 42.0) for i in range(len(PICTURES))}
    assert {(s["frame"], *s["points"]) for s in cvat.drawn(task)} == wanted


def test_a_run_that_fails_says_why(runs, cvat, to, theirs):
    task = a_task(cvat)
    failed = quorate(
        "cvat", "run", task, "--from", theirs, "--to", to, "-p", "end=fail", check=False
    )
    assert failed.returncode == 1
    assert "failed" in failed.stderr
    assert "exit status 1" in failed.stderr
    assert "quorate logs theirs-" in failed.stderr
    assert cvat.drawn(task) == []


def test_a_run_without_waiting_names_what_is_to_be_imported(runs, cvat, to, theirs):
    task = a_task(cvat)
    begun = quorate("cvat", "run", task, "--from", theirs, "--to", to, "--detach")
    name = begun.stdout.strip()
    runs.made.append(f"workflow/{name}")
    assert f"quorate cvat import {name} --server {cvat.url}" in begun.stderr
    assert runs.wait(name)["status"]["phase"] == "Succeeded"
    nut = next(label for label in cvat.labels.values() if label["name"] == "nut")
    nut["name"] = "dowel"
    refused = quorate("cvat", "import", name, check=False)
    assert "has no label 'nut' any more" in refused.stderr
    assert f"once that is mended: quorate cvat import {name}" in refused.stderr
    assert cvat.drawn(task) == []
    nut["name"] = "nut"
    quorate("cvat", "import", name)
    assert len(cvat.drawn(task)) == len(PICTURES)
