"""The companion's story on a cluster: form, hand-over, workflow, boxes; stopped, killed, undone."""

import html
import json
import re
import secrets
import uuid

import pytest
import yaml

from quorate.argo.cluster.connect import connect
from quorate.argo.runs.upload import uploaded
from quorate.companion.settings import Settings
from quorate.ensemble import DetectionEnsemble
from tests.cluster.runs import PARTS, Bucket
from tests.companion.conftest import TOLD
from tests.companion.visitor import Visitor, companion
from tests.cvat.local import WORDS, local_run
from tests.cvat.server import TOKEN, Cvat, serving
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("argo", "installed")
FORM = {
    "shard-size": {"visibility": "private"},
    "pool": {"displayName": "Where it runs", "type": "select.nodepool"},
    "cvat-finetune-checkpoint": {"displayName": "Checkpoint"},
}


@pytest.fixture(scope="module")
def template(bucket, image, kubectl):
    """The demo as a template with a form; its name."""
    name = f"companion-{uuid.uuid4().hex[:6]}"
    cluster = connect(namespace=kubectl.namespace)
    demo = DetectionEnsemble.from_yaml(PARTS / "spec.yaml")
    own = {"images": {"cpu": image}, "bucket": bucket, "one_pod": 0}
    where = demo.workflow.model_copy(update=own)
    demo = demo.model_copy(update={"name": name, "workflow": where, "data": None})
    made = uploaded(demo, None, bucket).workflow_template().to_dict()
    made["metadata"]["annotations"]["quorate/form"] = yaml.safe_dump(FORM)
    made["spec"]["arguments"]["parameters"] += [
        {"name": "pool"},
        {"name": "cvat-finetune-checkpoint", "value": ""},
    ]
    cluster.apply(made)
    yield name
    for workflow in cluster.workflows(f"workflows.argoproj.io/workflow-template={name}"):
        cluster.delete(workflow["metadata"]["name"])
    cluster.delete(name, "workflow-templates")
    Bucket(bucket).remove(f"quorate-tests/{name}/")


@pytest.fixture
def cvat(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with serving(Cvat()) as server:
        server._ids = secrets.randbelow(1 << 30)  # workflows bear a task's number
        yield server


@pytest.fixture
def task(cvat):
    pictures = sorted((PARTS / "images").rglob("*.jpg"))[:6]
    labels = [{"name": name, "attributes": TOLD} for name in WORDS]
    names = [path.relative_to(PARTS / "images").as_posix() for path in pictures]
    return cvat.add_task(pictures, labels, names=names, segment=3)


@pytest.fixture
def settings(cvat, kubectl, bucket, template, tmp_path):
    return Settings.read(
        None, cvat=cvat.url, state=str(tmp_path / "companion"), few_shapes=0,
        cluster={"namespace": kubectl.namespace},
        storage=f"s3://{bucket}/quorate-tests/{template}",
    )  # fmt: skip


def begun(url, task, template):
    """Somebody who has started a run on the first pool that the form offers."""
    visitor = Visitor(url)
    visitor.send("/sign-in", {"token": TOKEN}).get(f"/tasks/{task}/start/{template}")
    return visitor, visitor.start(task, template, pool=pool(visitor))


def pool(visitor):
    """The first pool that an open form offers."""
    offered = visitor.page.partition('name="p.pool"')[2].partition("</select>")[0]
    return html.unescape(re.search(r'option value="([^"]+)"', offered)[1])


def workflows(kubectl, task):
    found = json.loads(kubectl("get", "workflows", f"--selector=cvat-task-id={task}", "-o=json"))
    return {one["metadata"]["name"]: one for one in found["items"]}


def boxes(cvat, task):
    words = {n: label["name"] for n, label in cvat.labels.items()}
    return sorted((s["frame"], words[s["label_id"]], *s["points"]) for s in cvat.drawn(task))


def test_boxes_of_a_workflow_arrive_though_the_companion_was_away(
    cvat, task, settings, template, kubectl, tmp_path
):
    with companion(settings) as (url, _):
        visitor = Visitor(url)
        visitor.send("/sign-in", {"token": TOKEN})
        path = f"/tasks/{task}/start/{template}"
        assert "Where it runs" in visitor.get(path).text
        assert "shard-size" not in visitor.page
        visitor.send(path, {"p.pool": "nowhere"})
        assert "'nowhere' is not among" in visitor.text
        answers = {"p.pool": pool(visitor), "p.cvat-finetune-checkpoint": "nothing/there.ckpt"}
        visitor.send(path, answers)
        assert "there is no such file or folder" in visitor.text
        assert workflows(kubectl, task) == {}
        visitor, run = begun(url, task, template)
        until(lambda: workflows(kubectl, task))
        until(lambda: "detect-yolo" in visitor.get(f"/runs/{run}").text)
    with companion(settings) as (url, _):
        visitor = Visitor(url)
        visitor.send("/sign-in", {"token": TOKEN})
        assert "done" in visitor.ended(run).text
    (workflow,) = workflows(kubectl, task).values()
    labels = workflow["metadata"]["labels"]
    assert (labels["cvat-task-id"], labels["cvat-job-id"]) == (str(task), str(task))
    given = {p["name"]: p["value"] for p in workflow["spec"]["arguments"]["parameters"]}
    assert given["dump-format"] == "CVAT for images 1.1"
    assert given["shard-size"] == "auto"
    names, here = local_run(tmp_path)
    at = {name: n for n, name in enumerate(sorted(names)[:6])}
    wanted = sorted(
        (at[name], label, *box) for name, shapes in here.items() if name in at
        for label, box, _ in shapes
    )  # fmt: skip
    assert boxes(cvat, task) == wanted


def test_a_workflow_is_stopped_begun_anew_and_undone(cvat, task, settings, template, kubectl):
    with companion(settings) as (url, _):
        visitor, run = begun(url, task, template)
        until(lambda: workflows(kubectl, task))
        (first,) = workflows(kubectl, task)
        visitor.get(f"/runs/{run}").send(f"/runs/{run}/cancel", {})
        assert "cancelled" in visitor.ended(run).text
        assert cvat.drawn(task) == []
        until(lambda: workflows(kubectl, task)[first]["status"].get("phase") == "Failed")
        visitor.send(f"/runs/{run}/again", {})
        assert "done" in visitor.ended(run).text
        assert len(workflows(kubectl, task)) == 2
        assert cvat.drawn(task)
        visitor.send(f"/runs/{run}/undo", {})
        assert "undone" in visitor.ended(run).text
        assert cvat.drawn(task) == []


def test_a_workflow_that_fails_says_why_and_can_go_on(cvat, task, settings, template, kubectl):
    cvat.labels = {n: label | {"name": f"{label['name']}s"} for n, label in cvat.labels.items()}
    with companion(settings) as (url, _):
        visitor, run = begun(url, task, template)
        assert "failed" in visitor.ended(run).text
        assert "bolt" in visitor.text
        assert "Let it go on" in visitor.text
