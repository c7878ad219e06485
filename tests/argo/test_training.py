"""A training as a WorkflowTemplate: who waits for whom, and what a run can be given."""

import pytest
import yaml

from quorate.argo.render import workflow_template
from quorate.argo.runs.submit import arguments
from quorate.argo.runs.upload import uploaded_training
from quorate.companion.templates import of
from quorate.errors import InputError, SpecError
from quorate.spec.training import Training
from quorate.storage import exists

KERAS = {"name": "keras", "kind": "container", "image": "keras:1", "command": ["train"],
         "args": ["--fast"]}  # fmt: skip
DETR = {"name": "detr", "kind": "transformers", "architecture": "detr"}
SLACK = {"kind": "slack", "url": {"secret": "notify", "key": "slack"}}


def rendered(*trainers, **more):
    training = Training(name="bolts", trainers=trainers or (DETR, KERAS), **more)
    return workflow_template(training).to_dict()


def templates(manifest):
    return {one["name"]: one for one in manifest["spec"]["templates"]}


def arguments_of(manifest):
    return {one["name"]: one for one in manifest["spec"]["arguments"]["parameters"]}


def test_trainers_work_side_by_side_and_one_that_fails_costs_only_itself():
    [split], side_by_side, [compare], [release] = templates(rendered(publish="s3://m/bolts"))[
        "learn"
    ]["steps"]
    assert split["name"] == "split"
    assert [one["name"] for one in side_by_side] == ["trainer-detr", "trainer-keras"]
    assert all(one["continueOn"] == {"error": True, "failed": True} for one in side_by_side)
    said = {one["name"]: one["value"] for one in compare["arguments"]["parameters"]}
    assert said["status-keras"] == "{{steps.trainer-keras.status}}"
    assert release["name"] == "release"
    assert "release" not in templates(rendered())


def test_a_command_without_an_image_is_refused_for_a_cluster():
    alone = {name: value for name, value in KERAS.items() if name != "image"}
    with pytest.raises(SpecError, match="keras: a command alone runs on this machine"):
        rendered(alone)


def test_ours_and_others_run_alike():
    found = templates(rendered())
    ours, theirs = found["train-detr"], found["train-keras"]
    folder = "/scratch/work/trainers/keras"
    given = ["--data", f"{folder}/data", "--out", f"{folder}/out"]
    assert theirs["container"]["command"] == ["train"]
    assert theirs["container"]["args"] == ["--fast", *given]
    assert ours["container"]["command"][:3] == ["quorate", "step", "train"]
    assert "envFrom" not in theirs["container"], "it is not told of the store"
    for one, name in ((ours, "detr"), (theirs, "keras")):
        [init] = one["initContainers"]
        [keeper] = one["sidecars"]
        kept = f"checkpoints/{name}"
        assert init["command"][:3] == ["quorate", "step", "give"]
        assert init["command"][-1].endswith(kept)
        assert keeper["command"][2] == "keep-checkpoints"
        assert keeper["command"][-1].endswith(kept)
        env = {each["name"]: each["value"] for each in one["container"]["env"]}
        assert env["QUORATE_OUT"] == f"/scratch/work/trainers/{name}/out"


def test_each_has_its_pool_and_a_fallback_is_another_try():
    pools = {"big": {"gpus": 1, "fallback": "small"}, "small": {"cpu": "1"}}
    found = templates(rendered(DETR | {"pool": "big"}, KERAS | {"pool": "small"}, pools=pools))
    names = [one["name"] for one in found["train-detr"]["dag"]["tasks"]]
    assert names == ["try-1-detr", "try-2-detr"]
    limits = found["try-1-detr"]["container"]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"
    assert found["train-keras"]["container"]["resources"]["requests"]["cpu"] == "1"


def test_who_wants_each_trainers_metrics_is_told_by_its_evaluation():
    env = templates(rendered(notify=[SLACK | {"when": ["trained"]}]))["evaluate-keras"]
    [secret] = env["container"]["env"]
    assert secret["name"] == "NOTIFY_SLACK"
    quiet = templates(rendered(notify=[SLACK]))["evaluate-keras"]
    assert "env" not in quiet["container"]


def test_defaults_are_the_specs_and_empty_where_trainers_differ():
    given = arguments_of(rendered(DETR | {"epochs": 7}, KERAS | {"epochs": 9}))
    assert given["epochs"]["value"] == ""
    assert given["batch-size"]["value"] == "4"
    assert "value" not in given["cvat-annotation-path"]
    assert given["job"]["enum"] == ["training", "inference"]
    assert arguments_of(rendered(data="s3://b/dump.zip"))["cvat-annotation-path"]["value"] == (
        "s3://b/dump.zip"
    )
    for dump in ("COCO 1.0", "TFRecord 1.0", "MOT 1.1", "LabelMe 3.0", "Datumaro 1.0"):
        assert dump in given["dump-format"]["enum"]


def test_what_a_run_is_given_is_checked_before_it_starts():
    manifest = rendered()
    assert arguments(manifest, data="dumps/a.zip", parameters={"epochs": "3"})["epochs"] == "3"
    with pytest.raises(InputError, match="'epoch'"):
        arguments(manifest, data="dumps/a.zip", parameters={"epoch": "3"})
    with pytest.raises(InputError, match="'guess' is none of training, inference"):
        arguments(manifest, data="dumps/a.zip", parameters={"job": "guess"})


def test_the_companions_form_asks_for_what_is_public():
    machine = {"enum": ["small", "large"], "value": "small", "title": "Machine"}
    hidden = {"value": "main", "visibility": "private"}
    settings = {"parameters": {"machine": machine, "revision": hidden}}
    form = of(rendered(workflow=settings), lambda label: ())
    assert form.trains
    asked = {one.name: one for one in form.asked}
    assert asked["machine"].shown == "Machine"
    assert asked["hyperparameters"].widget == "textarea"
    private = {"revision", "cvat-annotation-path", "cvat-output-path", "cvat-num-classes"}
    assert not private & asked.keys()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"publish": "models"}, "publish: models is on this machine"),
        ({"images": "photos"}, "images: photos is on this machine"),
        ({"compare": {"ensemble": "e.yaml"}}, "compare: ensemble: e.yaml is on this machine"),
        ({"trainers": [DETR | {"checkpoint": "x/"}]}, "detr: checkpoint: x/ is on this machine"),
        ({"workflow": {"parameters": {"epochs": "1"}}}, "adds the parameter 'epochs'"),
        ({"name": "b" * 60}, "has 60 characters"),
        ({"labels": ["{{x}}"]}, "contains {{"),
    ],
)
def test_what_could_not_run_there_is_refused(more, sentence):
    said = {"name": "bolts", "trainers": [KERAS]} | more
    with pytest.raises(SpecError, match=sentence.replace("{", r"\{")):
        workflow_template(Training(**said))


def test_the_pods_read_a_spec_without_what_only_argo_looks_at():
    pools = {"p": {"cpu": "1"}}
    manifest = rendered(KERAS | {"pool": "p", "timeout": "1h"}, pools=pools, data="here/dump.zip")
    [spec] = templates(manifest)["split"]["inputs"]["artifacts"]
    said = yaml.safe_load(spec["raw"]["data"])
    assert "pools" not in said
    assert "data" not in said
    assert said["trainers"] == [KERAS]
    assert templates(manifest)["train-keras"]["activeDeadlineSeconds"] == 3600


def test_what_lies_here_is_uploaded(tmp_path, s3_bucket):
    for name in ("dump.zip", "begin.bin", "model.onnx"):
        (tmp_path / name).write_bytes(name.encode())
    detector = {"name": "d", "kind": "onnx", "weights": str(tmp_path / "model.onnx")}
    ensemble = tmp_path / "ensemble.yaml"
    ensemble.write_text(yaml.safe_dump({"name": "e", "detectors": [detector]}))
    keras = KERAS | {"checkpoint": str(tmp_path / "begin.bin")}
    training = Training(
        name="bolts",
        data=str(tmp_path / "dump.zip"),
        trainers=(keras,),
        compare={"ensemble": str(ensemble)},
    )
    there = uploaded_training(training, None, s3_bucket)
    places = (there.data, there.trainers[0].checkpoint, there.compare.ensemble)
    assert all(one.startswith(f"s3://{s3_bucket}/quorate/") and exists(one) for one in places)
    assert workflow_template(there).to_dict()["spec"]["entrypoint"] == "training"
