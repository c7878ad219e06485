"""Every kind of rendered manifest, against the whole schema of the real resource definitions."""

import json
import shutil
import subprocess

import pytest
import yaml

from quorate import DetectionEnsemble, OnnxDetector
from quorate.argo.render import workflow_template
from quorate.detectors.container import ContainerDetector
from quorate.detectors.torch.transformers import TransformersDetector
from quorate.spec import Git, Pool, Toleration, WorkflowSettings
from quorate.spec.notify import SecretKey, Slack
from tests.cluster.conftest import ROOT

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
    shipped = (ROOT / "workflows").glob("*/template.yaml")
    found = {path.parent.name: path.read_text(encoding="utf-8") for path in sorted(shipped)}
    return found | {"everything": workflow_template(EVERYTHING).to_yaml()}


def test_the_api_server_takes_every_field(kubectl):
    if kubectl("get", "crd", "workflowtemplates.argoproj.io", check=False).returncode:
        pytest.skip("the cluster has no definition of WorkflowTemplate")
    for text in manifests().values():
        kubectl("apply", "--validate=strict", "--dry-run=server", "--filename=-", given=text)


def test_the_api_server_takes_a_child_workflow(kubectl):
    if kubectl("get", "crd", "workflows.argoproj.io", check=False).returncode:
        pytest.skip("the cluster has no definition of Workflow")
    templates = workflow_template(EVERYTHING).to_dict()["spec"]["templates"]
    text = next(t for t in templates if t["name"] == "child")["resource"]["manifest"]
    child = yaml.safe_load(text) | {"metadata": {"name": "everything-abcde-00000"}}
    given = json.dumps(child)
    kubectl("create", "--validate=strict", "--dry-run=server", "--filename=-", given=given)


@pytest.mark.parametrize("name", sorted(manifests()))
def test_argos_own_lint_finds_nothing(name, tmp_path):
    """References, expressions and the like, which no schema knows."""
    if shutil.which("argo") is None:
        pytest.skip("the executable `argo` is not there")
    path = tmp_path / "template.yaml"
    path.write_text(manifests()[name], encoding="utf-8")
    done = subprocess.run(
        ["argo", "lint", "--offline", "--kinds", "all", path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
