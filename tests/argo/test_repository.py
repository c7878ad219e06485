"""docs/examples/repository: a template written by hand, as a spec; `UPDATE=1` rewrites it."""

import json
import os
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from quorate import DetectionEnsemble
from quorate.argo.doctor.pods import pods
from quorate.detectors.container import ContainerDetector
from quorate.spec import Unanimous
from tests.cluster.runs import PARTS

HERE = Path(__file__).parents[2] / "docs/examples/repository"


def test_the_template_is_what_is_rendered():
    rendered = DetectionEnsemble.from_yaml(HERE / "spec.yaml").workflow_template().to_yaml()
    if os.environ.get("UPDATE"):
        (HERE / "template.yaml").write_text(rendered, encoding="utf-8")
    assert (HERE / "template.yaml").read_text(encoding="utf-8") == rendered, "UPDATE=1 rewrites it"


@pytest.mark.parametrize("name", ["yolo", "retinanet"])
def test_what_the_page_promises_stands_in_the_template(name):
    template = yaml.safe_load((HERE / "template.yaml").read_text(encoding="utf-8"))
    by_name = {one["name"]: one for one in template["spec"]["templates"]}
    detect = by_name[f"detect-{name}"]
    code = next(one for one in detect["inputs"]["artifacts"] if one["name"] == "git")
    assert code["path"] == detect["container"]["workingDir"]
    pod = pods(template)[f"detect-{name}"]["spec"]
    assert pod["nodeSelector"] == {"beta.kubernetes.io/instance-type": "Standard_NC6"}
    main = next(one for one in pod["containers"] if one["name"] == "main")
    assert {"name": "output", "mountPath": "/mnt/output"} in main["volumeMounts"]
    claims = template["spec"]["volumeClaimTemplates"]
    assert claims[0]["spec"]["resources"]["requests"] == {"storage": "2Gi"}
    results = next(o for o in by_name["publish"]["outputs"]["artifacts"] if o["name"] == "results")
    assert results["s3"]["key"] == (
        "{{workflow.namespace}}/{{workflow.parameters.cvat-output-path}}/{{workflow.name}}/results/"
    )


def test_the_repositorys_programs_vote(tmp_path):
    def theirs(name, *more):
        out = str(tmp_path / name)
        predict = [sys.executable, str(HERE / "predict.py"), "--model", name, "--out", out, *more]
        both = shlex.join(predict), shlex.join([sys.executable, str(HERE / "from_voc.py"), out])
        return ContainerDetector(name=name, command=("sh", "-c", " && ".join(both)))

    pictures = PARTS / "images"
    DetectionEnsemble(
        name="repository",
        labels=("bolt",),
        detectors=(theirs("yolo"), theirs("retinanet", "--threshold", "0.5")),
        fusion=Unanimous(),
    ).run(str(pictures), str(tmp_path / "out"))
    summary = json.loads((tmp_path / "out/summary.json").read_text(encoding="utf-8"))
    number = len([*pictures.rglob("*.jpg"), *pictures.rglob("*.png")])
    assert number == 60
    assert [one["boxes"] for one in summary["detectors"]] == [number, number]
    assert summary["votes"] == {"2": number}
