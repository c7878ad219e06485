"""Trainings in torch on a real controller: beside TensorFlow, from CVAT's dump, killed; RF-DETR.

The images that have torch are large: where no node has one, its tests are left out.
"""

from __future__ import annotations

import json
import uuid
import zipfile

import pytest
import yaml

from tests.cluster.runs import PARTS, local_demo, messages, nodes, quorate
from tests.cluster.trainings import KERAS, killed, trainer, training
from tests.formats.samples import sample
from tests.notifications.receivers import slack_refuses, web
from tests.training.torch_models import detr

pytestmark = pytest.mark.usefixtures("argo", "installed")
LEARNS = {"epochs": 60, "batch_size": 8, "learning_rate": 2e-3, "evaluate_every": 20}


def tiny(name, **settings):
    """A tiny RT-DETR, as it stands under `trainers:`."""
    one = detr(name, **settings)
    return one.model_dump(mode="json", exclude_unset=True) | {"kind": one.kind}


@pytest.fixture
def slack(host, kubectl):
    """A receiver in Slack's place, and the target that a spec names it by."""
    secret = f"slack-{uuid.uuid4().hex[:6]}"
    with web(host) as server:
        kubectl(
            "create", "secret", "generic", secret, f"--from-literal=url={server.url}/services/T"
        )
        try:
            yield server, {"kind": "slack", "url": {"secret": secret, "key": "url"}}
        finally:
            kubectl("delete", "secret", secret)


def test_torch_and_tensorflow_learn_side_by_side_and_slack_is_told(
    runs, dump, slack, torch_image, tensorflow_image
):
    server, target = slack
    both = (tiny("detr", **LEARNS), KERAS | {"image": tensorflow_image})
    # Which image torch needs is not said: it is the default of trainers of ours.
    path = training(
        runs,
        dump,
        *both,
        notify=[target | {"when": ["trained", "succeeded", "degraded", "failed"]}],
        workflow={"images": {"cpu": runs.image, "cuda": torch_image}},
    )
    workflow = runs.wait(runs.create(runs.template(path)), seconds=1500)
    name = workflow["metadata"]["name"]
    assert workflow["status"]["phase"] == "Succeeded", messages(workflow)
    one, other = (nodes(workflow, f"train-{who}")[0] for who in ("detr", "keras"))
    assert max(one["startedAt"], other["startedAt"]) < min(one["finishedAt"], other["finishedAt"])
    files = runs.results(name)
    results = json.loads(files["results.json"])
    reached = {one["name"]: one["ap"] for one in results["trainers"]}
    assert reached["detr"] > 0.1, reached
    assert reached["keras"] > 0.02, reached
    assert "torch" in json.loads(files["trainers/detr/versions.json"])
    assert "tensorflow-cpu" in json.loads(files["trainers/keras/versions.json"])
    latest = json.loads(runs.bucket.get(f"{runs.prefix}/store/latest.json"))
    assert (latest["run"], latest["trainer"]) == (name, results["best"])
    assert [path for path, _, _ in server.came] == ["/services/T"] * 3
    assert [slack_refuses(headers, body) for _, headers, body in server.came] == [[]] * 3
    told = [json.loads(body)["text"] for _, _, body in server.came]
    for who, ap in reached.items():
        said = f"{path.stem}: {who} is trained: AP {ap:.3f}, AP50 "
        assert any(one.startswith(said) for one in told[:2]), told
    assert told[2].startswith(f"{path.stem} succeeded: {results['best']} is best with AP ")
    [shown] = json.loads(server.came[2][2])["attachments"]
    assert all(f"{who}: AP {ap:.3f}" in shown["text"] for who, ap in reached.items())


@pytest.fixture
def task(runs, tmp_path):
    """The demo's pictures as CVAT exports a task in COCO 1.0 with its pictures, in the bucket."""
    path = tmp_path / "task-7.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for picture in sorted((PARTS / "images").glob("*/*.jpg")):
            archive.write(picture, f"images/{picture.relative_to(PARTS / 'images')}")
        truth = PARTS / "images/annotations/instances_val.json"
        archive.write(truth, "annotations/instances_default.json")
    key = f"{runs.prefix}/dumps/task-7.zip"
    runs.bucket.put(key, path.read_bytes())
    return key


def test_from_a_dump_of_cvat_to_a_member_of_an_ensemble(runs, task, torch_image, tmp_path):
    node = json.loads(runs.kubectl("get", "nodes", "--output=json"))["items"][0]
    machine = node["metadata"]["labels"]["kubernetes.io/hostname"]
    one = tiny("detr", image_size=128, learning_rate=2e-3, epochs=50)
    path = training(
        runs,
        None,
        one | {"image": "{{workflow.parameters.image}}"},
        pools={"chosen": {"node_selector": {
            "kubernetes.io/hostname": "{{workflow.parameters.sys-node-pool}}"}}},
        workflow={"pool": "chosen", "parameters": {
            "image": {"title": "Training image", "value": torch_image},
            "sys-node-pool": {"title": "Node pool", "enum": [machine], "value": machine}}},
    )  # fmt: skip
    template = runs.template(path)
    made = runs.kubectl.get("workflowtemplate", template)
    assert made["metadata"]["labels"]["used-by"] == "cvat"
    form = {one["name"]: one for one in made["spec"]["arguments"]["parameters"]}
    assert form["epochs"]["value"] == "50"
    assert form["sys-node-pool"]["enum"] == [machine]
    output = f"{runs.prefix}/cvat/detr"
    asked = {"cvat-output-path": output, "cvat-num-classes": 4, "dump-format": "COCO 1.0"}
    name = runs.create(
        template,
        **asked,
        cvat_annotation_path=task,
        epochs=3,
        batch_size=2,
        hyperparameters="learning_rate=0.001",
    )
    workflow = runs.wait(name, seconds=900)
    assert workflow["status"]["phase"] == "Succeeded", messages(workflow)
    place = f"{runs.kubectl.namespace}/{output}/{name}/results/"
    files = runs.bucket.folder(place)
    results = json.loads(files["results.json"])
    curve = [json.loads(line) for line in files["trainers/detr/progress.jsonl"].splitlines()]
    learnt = 60 - results["pictures"]
    assert (curve[-1]["epoch"], curve[-1]["step"]) == (3, 3 * -(-learnt // 2))
    assert max(one.get("learning_rate", 0) for one in curve) <= 1e-3

    # What was exported votes beside the demo's own.
    mine = tmp_path / "detr"
    for file in ("detector.json", "model.onnx"):
        mine.mkdir(exist_ok=True)
        (mine / file).write_bytes(files[f"trainers/detr/{file}"])
    newcomer = json.loads((mine / "detector.json").read_text()) | {"name": "newcomer"}
    spec = local_demo()
    spec["detectors"].append(newcomer | {"weights": str(mine / newcomer["weights"])})
    (tmp_path / "ensemble.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    quorate("run", tmp_path / "ensemble.yaml", "--out", tmp_path / "out")
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    voters = {one["name"]: one for one in summary["detectors"]}
    assert not summary["degraded"]
    assert voters["newcomer"]["boxes"] > 0

    # The same template finds boxes with it.
    folder = f"{runs.prefix}/images/"
    again = runs.create(
        template,
        **asked,
        job="inference",
        cvat_annotation_path=folder,
        cvat_finetune_checkpoint=f"{place}trainers/detr",
    )
    workflow = runs.wait(again)
    assert workflow["status"]["phase"] == "Succeeded", messages(workflow)
    found = runs.bucket.folder(f"{runs.kubectl.namespace}/{output}/{again}/results/")
    assert json.loads(found["summary.json"])["images"] == 60
    assert "cvat/annotations.xml" in found


def test_a_dump_that_a_server_wrote_is_learnt_from(runs, torch_image):
    dump = sample("project-b.cvat-2.15.coco-1.0.images")
    key = f"{runs.prefix}/dumps/{dump.name}"
    runs.bucket.put(key, dump.read_bytes())
    images = {"cpu": runs.image, "cuda": torch_image}
    path = training(runs, None, tiny("detr"), split={}, workflow={"images": images})
    output = f"{runs.prefix}/cvat/{path.stem}"
    asked = {"cvat-annotation-path": key, "cvat-output-path": output, "epochs": 2, "batch-size": 1}
    name = runs.create(runs.template(path), **asked)
    workflow = runs.wait(name, seconds=900)
    assert workflow["status"]["phase"] == "Succeeded", messages(workflow)
    files = runs.bucket.folder(f"{runs.kubectl.namespace}/{output}/{name}/results/")
    rows = files["categories.csv"].decode().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["car", "person"]
    assert "trainers/detr/model.onnx" in files


def test_a_killed_trainer_in_torch_ends_with_the_weights_of_one_left_alone(runs, dump, torch_image):
    settings = LEARNS | {"epochs": 120, "checkpoint_every": "5s"}
    both = (tiny("alone", **settings), tiny("killed", **settings))
    images = {"cpu": runs.image, "cuda": torch_image}
    path = training(runs, dump, *both, workflow={"images": images})
    name = runs.create(runs.template(path))
    kept = f"{runs.kubectl.namespace}/quorate/{name}/checkpoints/killed/"

    def seen(workflow):
        return any(key.endswith("current.json") for key in runs.bucket.keys(kept))

    runs.wait(name, until=seen, seconds=600)
    killed(runs, name, "killed")
    workflow = runs.wait(name, seconds=1500)
    assert workflow["status"]["phase"] == "Succeeded", messages(workflow)
    # Argo says Error where the pod is gone, Failed where it sees its containers end first.
    lost, done = sorted(one["phase"] for one in nodes(workflow, "train-killed"))
    assert lost in ("Error", "Failed")
    assert done == "Succeeded"
    where = f"workflows.argoproj.io/workflow={name},quorate/trainer=killed"
    begun = runs.kubectl("logs", f"--selector={where}", "--container=stage")
    assert "it goes on from a checkpoint" in begun
    files = runs.results(name)
    weights = [files[f"trainers/{who}/model/model.safetensors"] for who in ("alone", "killed")]
    assert weights[0] == weights[1]


def test_rf_detr_learns_by_its_own_library_in_its_own_image(runs, dump, rfdetr_image):
    settings = {"resolution": 64, "num_queries": 40, "group_detr": 1, "multi_scale": False}
    theirs = {"name": "rfdetr", "kind": "container", "image": rfdetr_image, "epochs": 2,
              "command": ["python3", "/opt/trainer/trainer.py"], "batch_size": 4,
              "hyperparameters": settings}  # fmt: skip
    path = training(runs, dump, theirs, trainer(runs, "linear"))
    workflow = runs.wait(runs.create(runs.template(path)), seconds=1500)
    assert workflow["status"]["phase"] == "Succeeded", messages(workflow)
    files = runs.results(workflow["metadata"]["name"])
    results = json.loads(files["results.json"])
    ended = {one["name"]: one.get("failed") for one in results["trainers"]}
    assert ended == {"rfdetr": None, "linear": None}
    left = {name.removeprefix("trainers/rfdetr/") for name in files if "/rfdetr/" in name}
    assert {"detector.json", "model.onnx", "README.md", "progress.jsonl"} <= left
    assert "rfdetr" in json.loads(files["trainers/rfdetr/versions.json"])


def test_an_image_without_torch_is_named_by_the_sentence(runs, dump):
    one = tiny("detr", epochs=1) | {"image": runs.image}
    workflow = runs.wait(runs.create(runs.template(training(runs, dump, one))))
    assert workflow["status"]["phase"] == "Failed"
    assert "Training needs a package that is not installed" in messages(workflow)
    assert "of the images, cuda has it" in messages(workflow)
