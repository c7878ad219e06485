"""A training on a real controller: two trainers side by side, compared, released, and told."""

from __future__ import annotations

import json

import pytest

from tests.cluster.runs import messages, nodes, quorate
from tests.cluster.trainings import SCRIPT, killed, trainer, training
from tests.notifications.receivers import post, web

pytestmark = pytest.mark.usefixtures("argo", "installed")


def phases(workflow):
    return {node["displayName"]: node["phase"] for node in workflow["status"]["nodes"].values()}


def test_two_trainers_side_by_side_are_compared_released_and_told(runs, dump, host):
    with web(host) as server, post(host=host) as mail:
        notify = [
            {"kind": "webhook", "url": server.url, "when": ["trained", "succeeded", "failed"]},
            {"kind": "email", "to": ["team@example.org"], "sender": "quorate@example.org",
             "host": host, "port": mail.port, "security": "none"},
        ]  # fmt: skip
        both = (trainer(runs, "fine"), trainer(runs, "coarse", hyperparameters={"coarse": True}))
        path = training(runs, dump, *both, notify=notify)
        name = runs.create(runs.template(path), epochs=12, hyperparameters="learning_rate=0.05")
        workflow = runs.wait(name)
    assert workflow["status"]["phase"] == "Succeeded", messages(workflow)
    first, second = (nodes(workflow, f"train-{one}")[0] for one in ("fine", "coarse"))
    assert max(one["startedAt"] for one in (first, second)) < min(
        one["finishedAt"] for one in (first, second)
    ), "they learn at the same time"
    published = runs.results(name)
    results = json.loads(published["results.json"])
    best = results["best"]
    assert {one["name"] for one in results["trainers"]} == {"fine", "coarse"}
    assert all(one["ap"] > 0.05 for one in results["trainers"])
    assert {"report.html", "curves.csv", f"trainers/{best}/model.onnx"} <= published.keys()
    said = json.loads(published[f"trainers/{best}/progress.jsonl"].splitlines()[-1])
    assert said["epoch"] == 12
    store = runs.bucket.folder(f"{runs.prefix}/store/")
    assert json.loads(store["latest.json"])["run"] == name
    assert {f"{name}/detector.json", f"{name}/model.onnx", f"{name}/README.md"} <= store.keys()
    told = [json.loads(body) for _, _, body in server.came]
    assert sorted(one["type"] for one in told) == ["run.succeeded", "run.trained", "run.trained"]
    assert {one["data"]["trainer"] for one in told[:2]} == {"fine", "coarse"}
    assert told[-1]["data"]["counts"]["best"] == best
    [(_, recipients, message, _)] = mail.came
    assert recipients == ["team@example.org"]
    assert f"{best} is best with AP " in message["Subject"]

    # The same template predicts with what it released.
    images = f"{dump}images/"
    place = f"s3://{runs.bucket.name}/{runs.prefix}/store/{name}"
    template = workflow["spec"]["workflowTemplateRef"]["name"]
    again = runs.create(
        template, job="inference", cvat_annotation_path=images, cvat_finetune_checkpoint=place
    )
    workflow = runs.wait(again)
    assert workflow["status"]["phase"] == "Succeeded", messages(workflow)
    summary = json.loads(runs.results(again)["summary.json"])
    assert summary["images"] == 40
    assert summary["published"] > 30


def test_a_crash_costs_one_trainer_and_is_told(runs, dump, host):
    with web(host) as server:
        bad = trainer(runs, "bad", hyperparameters={"fail": "the loss is no number"})
        hook = {"kind": "webhook", "url": server.url}
        path = training(runs, dump, trainer(runs, "good"), bad, notify=[hook])
        workflow = runs.wait(runs.create(runs.template(path)))
    assert workflow["status"]["phase"] == "Succeeded", messages(workflow)
    [told] = [json.loads(body) for _, _, body in server.came]
    assert told["type"] == "run.degraded"
    counts = {one["name"]: one for one in told["data"]["counts"]["trainers"]}
    assert counts["bad"]["failed"].startswith("the loss is no number")
    assert counts["good"]["ap"] > 0


def test_when_all_crash_the_run_fails_and_that_is_told(runs, dump, host):
    with web(host) as server:
        bad = trainer(runs, "bad", hyperparameters={"fail": "the loss is no number"})
        hook = {"kind": "webhook", "url": server.url}
        path = training(runs, dump, bad, notify=[hook])
        workflow = runs.wait(runs.create(runs.template(path)))
    assert workflow["status"]["phase"] == "Failed"
    [told] = [json.loads(body) for _, _, body in server.came]
    assert told["type"] == "run.failed"
    assert "the loss is no number" in json.dumps(told["data"]["failures"])


def test_a_checkpoint_that_is_not_there_ends_it_before_anything_starts(runs, dump):
    path = training(runs, dump, trainer(runs, "one"))
    name = runs.create(runs.template(path), cvat_finetune_checkpoint="no/such/checkpoint")
    workflow = runs.wait(name)
    assert workflow["status"]["phase"] == "Failed"
    assert "no such file or folder" in messages(workflow)
    assert "train-one" not in phases(workflow)


def test_a_killed_pod_goes_on_from_its_checkpoint(runs, dump):
    """Its curve is whole."""
    slow = SCRIPT.replace("        done += 1\n", "        done += 1\n        time.sleep(0.2)\n")
    one = trainer(runs, "slow", command=["python3", "-c", slow], epochs=60)
    path = training(runs, dump, one)
    name = runs.create(runs.template(path))
    place = f"{runs.kubectl.namespace}/quorate/{name}/checkpoints/slow/"

    def kept(workflow):
        return any(key.endswith("current.json") for key in runs.bucket.keys(place))

    runs.wait(name, until=kept)
    killed(runs, name, "slow")
    workflow = runs.wait(name)
    assert workflow["status"]["phase"] == "Succeeded", messages(workflow)
    curve = runs.results(name)["trainers/slow/progress.jsonl"].splitlines()
    steps = [one["step"] for one in map(json.loads, curve) if "loss" in one]
    assert steps[-1] == 240
    assert set(range(1, 241)) <= set(steps)
    assert not runs.bucket.keys(place), "they are cleared away when it is done"


def test_submit_watches_a_training_to_its_end(runs, dump, host):
    path = training(runs, dump, trainer(runs, "one", epochs=2))
    where = ["--namespace", runs.kubectl.namespace]
    runs.made.append(f"workflowtemplate/{path.stem}")
    done = quorate("submit", path, "--watch", *where)
    assert "one is best on 12 pictures held out" in done.stdout
