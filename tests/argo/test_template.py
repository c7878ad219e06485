"""What a rendered ensemble says, as Kubernetes will read it."""

from pathlib import Path

import pytest
import yaml

import quorate.argo
from quorate import DetectionEnsemble, OnnxDetector
from quorate.argo.rendering.template import workflow_template
from quorate.detectors.container import ContainerDetector
from quorate.detectors.torch.torchvision import TorchvisionDetector
from quorate.errors import SpecError
from quorate.spec import Git, Pool, WorkflowSettings

NAMES = ("one", "two", "three")


def detector(name="one", **more):
    return OnnxDetector(name=name, weights=f"s3://models/{name}.onnx", **more)


def ensemble(*detectors, **more):
    settings = more.pop("workflow", {})
    return DetectionEnsemble(
        name=more.pop("name", "street"),
        detectors=detectors or tuple(map(detector, NAMES)),
        workflow=WorkflowSettings(bucket="models", **settings),
        **more,
    )


def rendered(given):
    return workflow_template(given).to_dict()


def templates(given):
    return {template["name"]: template for template in rendered(given)["spec"]["templates"]}


def tasks(template):
    """The tasks of a DAG, or the steps, by name."""
    steps = [one for group in template.get("steps", ()) for one in group]
    return {one["name"]: one for one in steps or template["dag"]["tasks"]}


def artifacts(template, way="inputs"):
    return {artifact["name"]: artifact for artifact in template[way]["artifacts"]}


def test_the_packages_own_guide_names_every_module():
    for path in Path(quorate.argo.__file__).parent.glob("*.py"):
        assert path.name == "__init__.py" or path.name in quorate.argo.__doc__, path.name


def test_the_same_spec_gives_the_same_bytes():
    one, two = (workflow_template(ensemble()).to_yaml() for _ in range(2))
    assert one == two
    assert rendered(ensemble())["kind"] == "WorkflowTemplate"


def test_steps_are_called_word_by_word_and_never_through_a_shell():
    for template in templates(ensemble()).values():
        if "container" in template:
            assert template["container"]["command"][:2] == ["quorate", "step"]
            assert "args" not in template["container"]


def test_shards_are_counted_by_prepare_and_told_by_their_number():
    found = templates(ensemble())
    entry = tasks(found["ensemble"])
    count = "{{steps.prepare.outputs.parameters.shards}}"
    assert {"name": "count", "value": count} in entry["shards"]["arguments"]["parameters"]
    sequence = tasks(found["shards"])["shard"]["withSequence"]
    assert sequence["format"] == "%05d"  # as the work folder calls them


def test_nothing_comes_after_the_shards_until_they_have_succeeded():
    """A DAG would omit publish when a run is stopped, and a retry of it would wait for ever."""
    prepare, parts, publish = templates(ensemble())["ensemble"]["steps"]
    assert [one["name"] for one in (*prepare, *publish)] == ["prepare", "publish"]
    assert [one["name"] for one in parts] == ["shards", "children"]


def test_shards_are_measured_first_where_prepare_left_that_to_them():
    found = templates(ensemble())
    shard = tasks(found["shard"])
    assert shard["measure"]["when"] == "{{=inputs.parameters.measure == 'true'}}"
    for name in NAMES:
        assert shard[f"detect-{name}"]["depends"] == "(measure.Succeeded || measure.Skipped)"
    assert shard["fuse"]["depends"].startswith("(measure.Succeeded || measure.Skipped) && ")
    (into,), taken = artifacts(found["measure"], "outputs").values(), artifacts(found["measure"])
    assert (into["path"], into["s3"]) == (taken["images"]["path"], taken["images"]["s3"])
    asked = "{{steps.prepare.outputs.parameters.measure}}"
    for name in ("shards", "children"):
        given = tasks(found["ensemble"])[name]["arguments"]["parameters"]
        assert {"name": "measure", "value": asked} in given
    assert "measure" in [p["name"] for p in found["prepare"]["outputs"]["parameters"]]


def test_fusion_comes_when_all_detectors_have_ended_however_they_ended():
    shard = templates(ensemble())["shard"]
    assert shard["dag"]["failFast"] is False
    depends = tasks(shard)["fuse"]["depends"]
    for name in NAMES:
        for result in ("Succeeded", "Failed", "Errored", "Skipped", "Omitted"):
            assert f"detect-{name}.{result}" in depends
    # A task that failed has no outputs, and a reference to them would be waited for, for ever.
    assert "outputs" not in str(shard)


def test_fusion_is_left_to_publish_only_where_no_detector_failed():
    """Otherwise a shard with a failed detector would have failed, or never be tried again."""
    when = tasks(templates(ensemble())["shard"])["fuse"]["when"]
    assert when.startswith("{{=inputs.parameters.fuse == 'true' || ")
    for name in NAMES:
        assert f"tasks['detect-{name}'].status != 'Succeeded'" in when


def test_what_a_failed_detector_left_or_did_not_leave_keeps_nobody_waiting():
    found = templates(ensemble())
    assert artifacts(found["detect-one"], "outputs")["detections"]["optional"] is True
    assert artifacts(found["fuse"])["detections"]["optional"] is True
    assert "optional" not in artifacts(found["fuse"], "outputs")["fused"]


def test_artifacts_are_keys_alone_and_lie_where_a_work_folder_has_them():
    for template in templates(ensemble()).values():
        for way in ("inputs", "outputs"):
            for artifact in template.get(way, {}).get("artifacts", ()):
                if "s3" not in artifact:
                    continue
                assert set(artifact["s3"]) == {"key"}
                key, path = artifact["s3"]["key"], artifact["path"]
                if not artifact["name"].startswith("weights"):
                    assert key.rstrip("/").endswith(path.removeprefix("/scratch"))
                if way == "outputs":
                    assert artifact["archive"] == {"none": {}}


def test_the_work_folder_goes_with_its_workflow_and_results_stay():
    found = templates(ensemble())
    policy = {
        (name, artifact["name"]): artifact["artifactGC"]["strategy"]
        for name, template in found.items()
        for artifact in template.get("outputs", {}).get("artifacts", ())
    }
    assert policy.pop(("prepare", "work")) == "OnWorkflowDeletion"
    assert set(policy.values()) == {"Never"}


def test_a_pod_can_write_to_its_scratch_alone_and_has_no_rights():
    spec = rendered(ensemble())["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for template in spec["templates"]:
        if "container" in template:
            security = template["container"]["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
    trusted = {t["name"] for t in spec["templates"] if t.get("automountServiceAccountToken")}
    assert trusted == {"fuse", "keep", "tell"}


def test_a_run_that_has_nothing_to_tell_has_no_pod_for_it():
    def when(*events):
        slack = {"kind": "slack", "url": {"secret": "slack", "key": "url"}, "when": events}
        found = templates(ensemble(notify=(slack,) if events else ()))
        return tasks(found["exit"])["tell"]["when"]

    degraded = "(workflow.status == 'Succeeded' && workflow.outputs.parameters.degraded == 'true')"
    assert when() == when("started", "degraded") == f"{{{{={degraded}}}}}"
    assert when("failed") == f"{{{{={degraded} || !(workflow.status == 'Succeeded')}}}}"
    assert when("succeeded") == f"{{{{={degraded} || workflow.status == 'Succeeded'}}}}"


def test_the_form_has_lists_to_choose_from_and_a_word_on_everything():
    parameters = rendered(ensemble())["spec"]["arguments"]["parameters"]
    assert all(parameter["description"] for parameter in parameters)
    named = {parameter["name"]: parameter for parameter in parameters}
    assert named["ensemble-option"]["value"] == "consensus"
    assert named["ensemble-option"]["enum"] == ["affirmative", "consensus", "unanimous", "wbf"]
    assert named["dump-format"]["value"] in named["dump-format"]["enum"]
    assert "value" not in named["cvat-annotation-path"]  # the spec names no data in S3
    given = ensemble(data="s3://pool/street/", fusion={"method": "votes", "min_votes": 2})
    named = {p["name"]: p for p in rendered(given)["spec"]["arguments"]["parameters"]}
    assert named["cvat-annotation-path"]["value"] == "s3://pool/street/"
    assert named["ensemble-option"]["value"] == "votes"
    assert named["ensemble-option"]["enum"][-1] == "votes"


def test_the_image_follows_from_the_kind_and_the_pool():
    torch = TorchvisionDetector(
        name="torch", architecture="ssd300_vgg16", weights="s3://models/ssd.pth"
    )
    given = ensemble(
        detector(),
        detector("two", pool="gpu"),
        detector("three", image="mine:1"),
        torch,
        pools={"gpu": Pool(gpus=1)},
        workflow={"images": {"cpu": "ours-cpu", "cuda": "ours-cuda"}},
    )
    found = templates(given)
    images = {name: template["container"]["image"] for name, template in found.items()
              if "container" in template}  # fmt: skip
    assert images["detect-one"] == "ours-cpu"
    assert images["detect-two"] == images["detect-torch"] == "ours-cuda"
    assert images["detect-three"] == "mine:1"
    assert {images[step] for step in ("prepare", "fuse", "publish", "tell")} == {"ours-cpu"}


def test_a_container_that_is_not_ours_gets_pictures_and_no_keys():
    legacy = ContainerDetector(
        name="legacy",
        image="mmdet:3",
        command=("python", "/app/infer.py"),
        args=("--fast",),
        env={"MODE": "all"},
        weights="s3://models/mmdet.pth",
    )
    found = templates(ensemble(legacy, detector()))["detect-legacy"]
    container = found["container"]
    assert (container["image"], container["command"]) == ("mmdet:3", ["python", "/app/infer.py"])
    assert container["args"] == ["--fast"]
    assert "envFrom" not in container
    env = {variable["name"]: variable["value"] for variable in container["env"]}
    assert env["MODE"] == "all"
    assert env["HOME"] == env["TMPDIR"] == "/scratch"
    assert env["USER"]
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert env["QUORATE_WEIGHTS"] == "/scratch/weights/legacy/mmdet.pth"
    assert env["QUORATE_OUTPUT"] == artifacts(found, "outputs")["detections"]["path"]
    (stage,) = found["initContainers"]
    assert stage["command"][:3] == ["quorate", "step", "stage"]
    assert stage["command"][-1] == env["QUORATE_IMAGES"]
    assert stage["envFrom"]


def test_a_pod_gives_up_rights_for_argos_own_containers_too():
    template = templates(ensemble(detector()))["detect-one"]
    patch = yaml.safe_load(template["podSpecPatch"])
    for kind, name in (("initContainers", "init"), ("containers", "wait")):
        (container,) = patch[kind]
        assert container["name"] == name
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    free = templates(ensemble(detector(), workflow={"restricted": False}))
    assert not any("podSpecPatch" in one for name, one in free.items() if name != "child")


def test_argos_executor_uploads_in_one_thread_unless_the_spec_says_otherwise():
    def threads(executor):
        workflow = {"steps": {"executor": executor}}
        template = templates(ensemble(detector(), workflow=workflow))["detect-one"]
        (wait,) = yaml.safe_load(template["podSpecPatch"])["containers"]
        return [one["value"] for one in wait["env"]]

    assert threads({}) == ["1"]  # of several, each holds what it sends
    many = [{"name": "ARTIFACT_S3_UPLOAD_THREADS", "value": "8"}]
    assert threads({"memory": "8Gi", "container": {"env": many}}) == ["8"]


def test_a_command_alone_runs_on_no_cluster():
    with pytest.raises(SpecError, match="needs an image"):
        rendered(ensemble(ContainerDetector(name="mine", command=("./detect",))))


def test_a_spec_in_a_repository_is_read_when_the_run_starts():
    git = Git(repo="https://git.example/specs.git", revision="v1", path="street/spec.yaml")
    prepare = templates(ensemble(workflow={"git": git}))["prepare"]
    assert prepare["container"]["command"][3] == "/scratch/git/street/spec.yaml"
    assert artifacts(prepare)["git"]["git"] == {"repo": git.repo, "revision": "v1"}
    assert "weights" not in artifacts(templates(ensemble(workflow={"git": git}))["detect-one"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (ensemble(name="a" * 52), "52 characters"),
        (ensemble(detector(labels={"{{x}}": "car"})), "braces"),
        (ensemble(detector(), labels=tuple(f"label number {i}" for i in range(9000))),
         "carries at most"),
    ],
)  # fmt: skip
def test_what_could_not_run_is_not_rendered(given, expected):
    with pytest.raises(SpecError) as caught:
        workflow_template(given)
    assert expected in str(caught.value)


def test_the_longest_name_that_is_rendered_leaves_room_for_a_child_of_a_run():
    name = "a" * 51
    assert rendered(ensemble(name=name))["metadata"]["name"] == name
    assert len(f"{name}-xxxxx-00000") == 63


def test_settings_reach_the_workflow():
    spec = rendered(
        ensemble(
            workflow={
                "parallelism": 7,
                "priority": 3,
                "ttl": "1h",
                "deadline": "2h",
                "labels": {"team": "vision"},
                "artifact_repository": "stores/main",
                "image_pull_secrets": ("registry",),
                "retries": 0,
                "shard_size": 100,
            }
        )
    )["spec"]
    assert (spec["parallelism"], spec["priority"]) == (7, 3)
    assert spec["ttlStrategy"] == {"secondsAfterCompletion": 3600}
    assert spec["activeDeadlineSeconds"] == 7200
    assert spec["workflowMetadata"]["labels"]["team"] == "vision"
    assert spec["artifactRepositoryRef"] == {"configMap": "stores", "key": "main"}
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert not any("retryStrategy" in template for template in spec["templates"])
    assert {"name": "shard-size", "value": "100"}.items() <= spec["arguments"]["parameters"][
        -1
    ].items()
