"""A training on a real controller: two trainers side by side, compared, released, and told."""

from __future__ import annotations

import json

import pytest
import yaml

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


def test_what_one_training_released_is_the_ensemble_that_the_next_joins(runs, dump, tmp_path):
    def learnt(*trainers, **more):
        name = runs.create(runs.template(training(runs, dump, *trainers, **more)))
        workflow = runs.wait(name)
        assert workflow["status"]["phase"] == "Succeeded", messages(workflow)
        return name, runs.results(name)

    first, _ = learnt(trainer(runs, "weak", epochs=3))
    place = f"{runs.prefix}/store/{first}/"
    weak = json.loads(runs.bucket.get(f"{place}detector.json"))
    weak |= {"name": "weak", "weights": f"s3://{runs.bucket.name}/{place}{weak['weights']}"}
    spec = yaml.safe_dump({"name": "squares", "detectors": [weak], "fusion": {"method": "wbf"}})
    there = f"{runs.prefix}/ensemble.yaml"
    runs.bucket.put(there, spec.encode())
    both = (trainer(runs, "fine", epochs=60), trainer(runs, "poor", epochs=1))
    asked = {"ensemble": f"s3://{runs.bucket.name}/{there}", "samples": 200}
    _, files = learnt(*both, compare=asked)
    results = json.loads(files["results.json"])
    assert results["joins"] == ["fine"]
    gain = {one["name"]: one["raises_ensemble"]["value"] for one in results["trainers"]}
    assert gain["fine"] > max(gain["poor"], 0.05)
    for name in ("ensemble.yaml", "trainers/fine/model.onnx"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(files[name])
    joined = yaml.safe_load(files["ensemble.yaml"]) | {"data": f"{dump}images/"}
    (tmp_path / "ensemble.yaml").write_text(yaml.safe_dump(joined))
    quorate("run", tmp_path / "ensemble.yaml", "--out", tmp_path / "out")
    voters = json.loads((tmp_path / "out/summary.json").read_text())["detectors"]
    assert [one["name"] for one in voters] == ["weak", "fine"]
    assert all(one["boxes"] for one in voters)
