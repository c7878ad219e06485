"""Every kind of rendered manifest, as the API server and Argo's own lint take it."""

import json
import shutil
import subprocess

import pytest

from tests.argo.test_schema import MANIFESTS, child


def test_the_api_server_takes_every_field(kubectl):
    if kubectl("get", "crd", "workflowtemplates.argoproj.io", check=False).returncode:
        pytest.skip("the cluster has no definition of WorkflowTemplate")
    for manifest in MANIFESTS.values():
        text = json.dumps(manifest)
        kubectl("apply", "--validate=strict", "--dry-run=server", "--filename=-", given=text)


def test_the_api_server_takes_a_child_workflow(kubectl):
    if kubectl("get", "crd", "workflows.argoproj.io", check=False).returncode:
        pytest.skip("the cluster has no definition of Workflow")
    given = json.dumps(child(MANIFESTS["everything"]))
    kubectl("create", "--validate=strict", "--dry-run=server", "--filename=-", given=given)


@pytest.mark.parametrize("name", MANIFESTS)
def test_argos_own_lint_finds_nothing(name, tmp_path):
    """References, expressions and the like, which no schema knows."""
    if shutil.which("argo") is None:
        pytest.skip("the executable `argo` is not there")
    path = tmp_path / "template.json"
    path.write_text(json.dumps(MANIFESTS[name]), encoding="utf-8")
    done = subprocess.run(
        ["argo", "lint", "--offline", "--kinds", "all", path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
