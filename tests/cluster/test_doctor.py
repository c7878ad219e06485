"""quorate doctor, on a namespace of its own that lacks one thing after the other."""

import json
import uuid

import pytest
import yaml

from quorate.argo.cluster.client_kube import Kube
from quorate.argo.doctor.examine import examine
from quorate.cli import main
from quorate.spec import EnsembleSpec

pytestmark = pytest.mark.usefixtures("argo")


@pytest.fixture
def empty(kubectl):
    """A namespace with nothing of ours in it."""
    name = f"doctor-{uuid.uuid4().hex[:6]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def spec(**more):
    detector = {"name": "a", "kind": "onnx", "weights": "s3://elsewhere/a.onnx"}
    return EnsembleSpec.model_validate({"name": "x", "detectors": [detector], **more})


def found(namespace, ensemble=None):
    return list(examine(Kube.of_kubeconfig(namespace=namespace), ensemble))


def failing(findings):
    return {f"{one.check}: {one.found}": one.remedy for one in findings if one.state == "fail"}


def test_a_namespace_where_the_chart_is_installed_is_well(installed, kubectl, bucket, capsys,
                                                          monkeypatch):  # fmt: skip
    monkeypatch.delenv("ARGO_SERVER", raising=False)
    monkeypatch.setenv("QUORATE_BUCKET", bucket)
    assert main(["doctor", "--namespace", kubectl.namespace, "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert {one["state"] for one in findings} <= {"ok", "warn"}
    well = {one["check"] for one in findings if one["state"] == "ok"}
    assert well >= {"cluster", "argo", "you", "account quorate", "artifacts", "S3 from here"}


def test_an_empty_namespace_lacks_what_the_chart_brings(empty, capsys, monkeypatch):
    monkeypatch.delenv("ARGO_SERVER", raising=False)
    lacks = failing(found(empty))
    assert lacks["account quorate: there is no service account quorate"].startswith("helm")
    assert main(["doctor", "--namespace", empty]) == 2
    said = capsys.readouterr()
    assert "✖ account quorate" in said.out
    assert "→ helm upgrade" in said.out
    assert "are in the way" in said.err


def test_each_thing_that_is_wrong_is_named(empty, kubectl):
    def apply(kind, name, **more):
        version = "rbac.authorization.k8s.io/v1" if "Role" in kind else "v1"
        metadata = {"name": name, "namespace": empty, **more.pop("metadata", {})}
        kubectl.apply({"apiVersion": version, "kind": kind, "metadata": metadata, **more})

    apply("ServiceAccount", "quorate")
    lacks = failing(found(empty))
    assert any("quorate: it may not create workflowtaskresults" in one for one in lacks)
    assert any("quorate.service-account-token, is missing" in one for one in lacks)

    rules = [
        {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"],
         "verbs": ["create", "patch"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
    ]  # fmt: skip
    apply("Role", "quorate", rules=rules)
    apply(
        "RoleBinding",
        "quorate",
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "quorate"},
        subjects=[{"kind": "ServiceAccount", "name": "quorate", "namespace": empty}],
    )
    said = {one.found for one in found(empty) if one.check == "account quorate"}
    assert "it may do what its pods need" in said
    assert "it may also get secrets, which none of its pods needs" in said

    marks = {"annotations": {"workflows.argoproj.io/default-artifact-repository": "s3"}}
    entry = {"s3": {"bucket": "b", "accessKeySecret": {"name": "gone", "key": "k"}}}
    apply("ConfigMap", "artifact-repositories", data={"s3": yaml.safe_dump(entry)}, metadata=marks)
    assert "artifacts: there is no Secret gone" in failing(found(empty))
    apply("ConfigMap", "artifact-repositories", data={"other": "{}"}, metadata=marks)
    assert any("has no entry 's3'" in one for one in failing(found(empty)))

    apply("ConfigMap", "quorate", data={})
    assert any("names no QUORATE_BUCKET" in one.found for one in found(empty))


def test_what_a_spec_needs(empty, kubectl, monkeypatch, tmp_path):
    ensemble = spec(
        workflow={"images": {"cpu": "localhost/nobody-has-this:1"}},
        pools={
            "moon": {"node_selector": {"planet": "moon"}},
            "some": {"parallelism": 2, "tolerations": [{"operator": "Exists"}]},
        },
    )
    findings = found(empty, ensemble)
    lacks = failing(findings)
    assert any(
        one.startswith("image: localhost/nobody-has-this:1: no node has it") for one in lacks
    )
    assert any(one.startswith("pool moon: fits no node") for one in lacks)
    assert any("quorate-pools has no entry 'some'" in one for one in lacks)
    assert any(one.startswith("weights a:") for one in lacks)
    assert {one.state for one in findings if one.check == "template"} == {"ok"}
    weights = tmp_path / "a.onnx"
    here = spec(detectors=[{"name": "a", "kind": "onnx", "weights": str(weights)}])
    assert f"weights a: {weights}: there is no such file" in failing(found(empty, here))
    weights.write_bytes(b"")
    findings = found(empty, here)
    assert {one.state for one in findings if one.check == "weights a"} == {"warn"}
    assert {one.state for one in findings if one.check == "template"} == {"ok"}


def test_without_rights_what_may_not_be_seen_is_said(kubectl, monkeypatch, tmp_path):
    """An account with no rights at all: nothing raises, and what is missing is named."""
    name = f"nobody-{uuid.uuid4().hex[:6]}"
    kubectl("create", "serviceaccount", name)
    try:
        with monkeypatch.context() as theirs:
            theirs.setenv("KUBECONFIG", str(kubectl.config_of(name, tmp_path)))
            findings = found(kubectl.namespace, spec())
    finally:
        kubectl("delete", "serviceaccount", name)
    (you,) = [one for one in findings if one.check == "you"]
    assert you.state == "fail"
    assert "create workflows (submit)" in you.found
    assert any("may not be looked at" in one.found for one in findings)
