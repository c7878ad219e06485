"""The demo submitted as it lies here: files taken along, the run seen to its end, the results."""

import json
import uuid

import pytest
import yaml

from quorate.argo.cluster.connect import connect
from quorate.argo.runs.upload import uploaded
from quorate.cli import main
from quorate.ensemble import DetectionEnsemble
from quorate.errors import WorkflowError
from tests.cluster.runs import PARTS, Bucket

pytestmark = pytest.mark.usefixtures("argo", "installed")


@pytest.fixture(scope="module")
def spec(bucket, image, kubectl, tmp_path_factory):
    """The demo's spec under a name of its own, with weights and pictures on this machine."""
    value = yaml.safe_load((PARTS / "spec.yaml").read_text(encoding="utf-8"))
    for detector in value["detectors"]:
        detector["weights"] = str(PARTS / detector["weights"])
    name = f"submit-{uuid.uuid4().hex[:6]}"
    value |= {"name": name, "data": str(PARTS / "images")}
    value["workflow"] = {
        "images": {"cpu": image},
        "bucket": bucket,
        "namespace": kubectl.namespace,
        "one_pod": 0,
    }
    path = tmp_path_factory.mktemp("submit") / "spec.yaml"
    path.write_text(yaml.safe_dump(value), encoding="utf-8")
    yield path
    cluster = connect(namespace=kubectl.namespace)
    for workflow in cluster.workflows(f"workflows.argoproj.io/workflow-template={name}"):
        run = workflow["metadata"]["name"]
        cluster.delete(run)
        Bucket(bucket).remove(f"{kubectl.namespace}/quorate/{run}/")
    cluster.delete(name, "workflow-templates")


def test_submitted_from_the_command_line_and_watched(spec, kubectl, bucket, monkeypatch, capsys):
    monkeypatch.delenv("ARGO_SERVER", raising=False)
    assert main(["submit", str(spec)]) == 2
    assert "--upload" in capsys.readouterr().err
    assert main(["submit", str(spec), "--upload", "--watch", "--json"]) == 0
    said = capsys.readouterr()
    summary = json.loads(said.out)
    assert summary["images"] == 60
    assert not summary["degraded"]
    assert {one["name"] for one in summary["detectors"]} == {"yolo", "detr", "frcnn"}
    at = f"s3://{bucket}/{kubectl.namespace}/quorate/"
    assert all(file.startswith(at) for file in summary["files"])
    assert "shard 00000/detect-yolo  Succeeded" in said.err
    assert "publish  Succeeded" in said.err
    assert "through the cluster at" in said.err
    (key,) = [file for file in summary["files"] if file.endswith("annotations.xml")]
    assert Bucket(bucket).get(key.removeprefix(f"s3://{bucket}/")).startswith(b"<?xml")


def test_submitted_from_python(spec, capfd):
    """Through argo-server where one is named; a failure is an error with the step's sentence."""
    ensemble = DetectionEnsemble.from_yaml(spec)
    ensemble = uploaded(ensemble, "s3://unused/", ensemble.workflow.bucket)
    with pytest.raises(WorkflowError, match=r"prepare: .*nothing-here"):
        ensemble.submit("quorate-tests/nothing-here/", watch=True)
    assert "prepare  Failed" in capfd.readouterr().err
