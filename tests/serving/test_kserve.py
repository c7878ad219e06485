"""Ensembles as objects of KServe: each keeps the schema that KServe publishes, and they fit."""

import yaml

from quorate.cli import main
from quorate.ensemble import DetectionEnsemble, read_ensemble
from tests.argo.published import problems as problems_of_kubernetes
from tests.cvat.local import PARTS
from tests.serving.published import problems


def in_s3(folder, monkeypatch):
    """The demo with weights that seem to lie in S3: they are read from here."""
    spec = yaml.safe_load((PARTS / "spec.yaml").read_text())
    for one in spec["detectors"]:
        one["weights"] = f"s3://pool/{one['weights']}"
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec | {"data": None}))
    here = {f"s3://pool/models/{path.name}": path for path in (PARTS / "models").glob("*.onnx")}
    monkeypatch.setattr(
        "quorate.detectors.onnx.session.read_bytes", lambda place: here[place].read_bytes()
    )
    return folder / "spec.yaml"


def test_the_objects_keep_the_published_schemas_and_fit(tmp_path, monkeypatch, capsys):
    spec = in_s3(tmp_path, monkeypatch)
    assert main(["render", str(spec), "--for", "kserve"]) == 0
    told = capsys.readouterr()
    made = [*yaml.safe_load_all(told.out)]
    found = {(one["kind"], one["metadata"]["name"]): one for one in made}
    assert [*found] == [
        ("InferenceService", "parts-yolo"),
        ("InferenceService", "parts-detr"),
        ("InferenceService", "parts-frcnn"),
        ("ConfigMap", "parts"),
        ("InferenceService", "parts"),
        ("InferenceGraph", "parts-graph"),
    ]
    for one in made:
        check = problems_of_kubernetes if one["kind"] == "ConfigMap" else problems
        assert check(one) == []
    assert "cannot vote" in told.err
    model = found["InferenceService", "parts-yolo"]["spec"]["predictor"]["model"]
    assert model["storageUri"] == "s3://pool/models/yolo.onnx"
    (tmp_path / "made.yaml").write_text(found["ConfigMap", "parts"]["data"]["spec.yaml"])
    ensemble = read_ensemble(tmp_path / "made.yaml")
    original = DetectionEnsemble.from_yaml(PARTS / "spec.yaml")
    assert ensemble.fusion == original.fusion
    assert [one.kind for one in ensemble.detectors] == ["remote"] * 3
    assert [one.url for one in ensemble.detectors] == [
        f"http://parts-{name}-predictor" for name in ("yolo", "detr", "frcnn")
    ]
    # What the files alone tell is said.
    assert [one.names for one in ensemble.detectors] == [
        one.load().labels for one in original.detectors
    ]
    [step] = found["InferenceGraph", "parts-graph"]["spec"]["nodes"]["root"]["steps"]
    assert step["serviceUrl"] == "http://parts-predictor/v2/models/parts/infer"
    found["InferenceGraph", "parts-graph"]["spec"]["nodes"]["root"]["stepz"] = []
    assert problems(found["InferenceGraph", "parts-graph"])


def test_weights_on_this_machine_are_refused(capsys):
    assert main(["render", str(PARTS / "spec.yaml"), "--for", "kserve"]) == 2
    assert "on this machine" in capsys.readouterr().err


def test_what_kserve_cannot_serve_is_refused(tmp_path, capsys):
    (tmp_path / "spec.yaml").write_text(
        "kind: DetectionEnsemble\nname: x\nlabels: [car]\n"
        "detectors: [{name: own, kind: container, image: 'a:1', command: [a]}]\n"
    )
    assert main(["render", str(tmp_path / "spec.yaml"), "--for", "kserve"]) == 2
    assert "'own' is of `kind: container`" in capsys.readouterr().err
