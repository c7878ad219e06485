"""The server that the chart installs: ready when it has looked at a picture, answering as here."""

import base64
import json

import pytest
import yaml

from quorate.ensemble import DetectionEnsemble
from tests.cluster.chart import values
from tests.cluster.runs import PARTS
from tests.test_chart import helm

PROXY = "services/quorate-serve:http/proxy"
PICTURE = sorted((PARTS / "images").glob("bench-card/*.jpg"))[0]
DEPLOYMENT = "deployment/quorate-serve"


@pytest.fixture(scope="module")
def spec(runs):
    """The demo's, with its weights in S3."""
    said = yaml.safe_load((PARTS / "spec.yaml").read_text())
    for detector in said["detectors"]:
        detector["weights"] = f"s3://{runs.bucket.name}/{runs.prefix}/{detector['weights']}"
    return said | {"data": None}


def made(kubectl, image, bucket, spec, **more):
    """What the chart makes of a spec."""
    serving = {
        "enabled": True,
        "specs": {"parts.yaml": yaml.safe_dump(spec)},
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "3Gi"}},
        **more,
    }
    text = helm(
        "template",
        "serving",
        f"--namespace={kubectl.namespace}",
        "--show-only=templates/serving.yaml",
        values=values(image, bucket, serving=serving),
    ).stdout
    return [one for one in yaml.safe_load_all(text) if one]


@pytest.fixture(scope="module")
def served(kubectl, installed, image, bucket, spec):
    """The server beside the installed chart, until these tests have ended."""
    manifests = made(kubectl, image, bucket, spec)
    kubectl.apply(*manifests)
    try:
        kubectl("rollout", "status", DEPLOYMENT, "--timeout=240s")
        yield
    finally:
        given = "\n---\n".join(map(json.dumps, manifests))
        kubectl("delete", "--filename=-", "--wait=false", given=given)


def path(kubectl, of):
    return f"--raw=/api/v1/namespaces/{kubectl.namespace}/{PROXY}{of}"


def test_it_answers_as_the_ensemble_does_here(kubectl, served):
    assert json.loads(kubectl("get", path(kubectl, "/v2/health/ready"))) == {"ready": True}
    picture = base64.b64encode(PICTURE.read_bytes()).decode()
    given = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [picture]}
    answer = kubectl(
        "create",
        path(kubectl, "/v2/models/parts/infer"),
        "--filename=-",
        given=json.dumps({"inputs": [given]}),
    )
    told = {one["name"]: one["data"] for one in json.loads(answer)["outputs"]}
    with DetectionEnsemble.from_yaml(PARTS / "spec.yaml").load() as loaded:
        here = loaded.look(PICTURE.read_bytes())
    assert told["votes"] == here.votes.tolist()
    assert told["boxes"] == pytest.approx(here.xyxy.reshape(-1).tolist(), abs=1e-3)
    assert told["scores"] == pytest.approx(here.score.tolist(), abs=1e-5)


def test_what_cannot_be_loaded_does_not_take_the_place_of_what_answers(
    kubectl, served, image, bucket, spec
):
    before = kubectl.get("deployment", "quorate-serve")["metadata"]["generation"]
    weights = {"weights": f"s3://{bucket}/nowhere.onnx"}
    broken = spec | {"detectors": [one | weights for one in spec["detectors"]]}
    kubectl.apply(*made(kubectl, image, bucket, broken))
    late = kubectl("rollout", "status", DEPLOYMENT, "--timeout=20s", check=False)
    assert late.returncode
    found = kubectl.get("deployment", "quorate-serve")
    assert found["metadata"]["generation"] > before
    assert found["status"]["availableReplicas"] == 1
    assert json.loads(kubectl("get", path(kubectl, "/v2/models/parts/ready")))["ready"]
    kubectl.apply(*made(kubectl, image, bucket, spec))
    kubectl("rollout", "status", DEPLOYMENT, "--timeout=120s")


def test_kserve_takes_the_inference_service(kubectl, image, bucket, spec):
    """By its own definition of the resource, strictly; nothing is made."""
    if kubectl("get", "crd", "inferenceservices.serving.kserve.io", check=False).returncode:
        pytest.skip("the cluster does not know KServe's resources")
    manifests = made(kubectl, image, bucket, spec, kserve={"enabled": True})
    [service] = [one for one in manifests if one["kind"] == "InferenceService"]
    check = ("create", "--dry-run=server", "--validate=strict", "--filename=-")
    assert "inferenceservice" in kubectl(*check, given=json.dumps(service))
    service["spec"]["predictor"]["replicas"] = 1
    refused = kubectl(*check, given=json.dumps(service), check=False)
    assert "replicas" in refused.stderr
