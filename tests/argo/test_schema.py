"""Whatever is rendered keeps the schemas that Argo and Kubernetes publish: strictly, every field.

tests/cluster/test_dry_run.py asks a real API server the same, and Argo's own lint.
"""

import json

import pytest
import yaml

from quorate import DetectionEnsemble, OnnxDetector
from quorate.argo.doctor.pods import pods
from quorate.argo.render import workflow_template
from quorate.detectors.container import ContainerDetector
from quorate.detectors.torch.transformers import TransformersDetector
from quorate.spec import Git, Pool, Toleration, WorkflowSettings
from quorate.spec.notify import SecretKey, Slack
from tests.argo.published import problems
from tests.argo.test_pods import needs, spec_of
from tests.argo.test_workflows import WORKFLOWS

EXAMPLES = WORKFLOWS.parent / "docs/examples"
EVERYTHING = DetectionEnsemble(
    name="everything",
    data="s3://pool/street/",
    labels=("car", "person"),
    detectors=(
        OnnxDetector(name="one", weights="s3://models/one.onnx", pool="spot", timeout="1h"),
        OnnxDetector(name="two", weights="s3://elsewhere/two.onnx", pool="demand"),
        TransformersDetector(name="three", weights="s3://models/detr/"),
        ContainerDetector(
            name="four", image="mmdet:3", args=("--all",), env={"A": "b"}, pool="spot"
        ),
    ),
    pools={
        "spot": Pool(
            node_selector={"pool": "spot"},
            tolerations=(Toleration(key="nvidia.com/gpu", operator="Exists"),),
            gpus=1,
            cpu="3500m",
            memory="8Gi",
            parallelism=4,
            fallback="demand",
            pending_timeout="10m",
        ),
        "demand": Pool(gpus=1),
    },
    workflow=WorkflowSettings(
        bucket="models",
        artifact_repository="stores/main",
        image_pull_secrets=("registry",),
        priority=2,
        labels={"team": "vision"},
        git=Git(repo="https://git.example/code.git", secret="git"),
    ),
    notify=(Slack(url=SecretKey(secret="slack", key="url"), when=("started", "failed")),),
)


def manifests():
    """Templates of every kind, by name: those that are shipped, and those of the guides."""
    found = {
        path.parent.name: yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in sorted(WORKFLOWS.glob("*/template.yaml"))
    }
    specs = {"everything": EVERYTHING}
    specs |= {
        need: DetectionEnsemble.model_validate(spec_of(text)) for need, text in needs().items()
    }
    repository = yaml.safe_load((EXAMPLES / "repository/spec.yaml").read_text(encoding="utf-8"))
    specs["a repository"] = DetectionEnsemble.model_validate(repository)
    return found | {name: workflow_template(one).to_dict() for name, one in specs.items()}


MANIFESTS = manifests()


def child(template):
    """The workflow that a large run makes for a part of itself; None where it has no parts."""
    for one in template["spec"]["templates"]:
        if one["name"] == "child":
            made = yaml.safe_load(one["resource"]["manifest"])
            return made | {"metadata": {"name": "everything-abcde-00000"}}  # it holds placeholders
    return None


@pytest.mark.parametrize("name", MANIFESTS)
def test_every_field_of_a_template_and_its_children_is_published(name):
    template = MANIFESTS[name]
    assert template["kind"] == "WorkflowTemplate"
    assert problems(template) == []
    if part := child(template):
        assert problems(part) == []


@pytest.mark.parametrize("name", MANIFESTS)
def test_every_field_of_its_pods_is_published(name):
    for pod in pods(MANIFESTS[name]).values():
        assert problems(pod) == []


def changed(path, value):
    """The template with everything, of which one field is another."""
    found = one = json.loads(json.dumps(MANIFESTS["everything"]))
    for key in path[:-1]:
        one = one[key]
    one[path[-1]] = value
    return found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "entryPoint"), "ensemble"),
        (("spec", "templates", 0, "podSpecPatch"), {}),
        (("spec", "templates", 0, "pendingTimeOut"), "10m"),
        (("spec", "volumes", 0, "emptyDir"), {"sizelimit": "1Gi"}),
        (("spec", "parallelism"), "4"),
        (("status",), {}),
    ],
)
def test_a_field_that_nobody_published_is_found(path, value):
    assert problems(changed(path, value))


def test_a_pod_with_a_field_that_nobody_published_is_found():
    pod = next(iter(pods(MANIFESTS["everything"]).values()))
    container = pod["spec"]["containers"][0]
    assert problems(pod) == []
    container["resource"] = container.pop("resources")
    assert problems(pod)
