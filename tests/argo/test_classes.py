"""A classification ensemble as a DAG: what is rendered, and that its commands give a run's bytes.

The commands of the template's containers are run here, in the DAG's order, with what Argo would put
into them; a cluster adds the pods.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from quorate import ClassificationEnsemble, OnnxClassifier, read_ensemble
from quorate.argo.render import workflow_template
from quorate.argo.runs.upload import as_uploaded
from tests.argo.published import problems
from tests.classifiers.models import COLOURS, colours, plain

NAMES = ("one", "two")


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(5)
    (tmp_path / "pool").mkdir()
    for i in range(10):
        Image.fromarray(plain(*rng.integers(0, 255, 3))).save(tmp_path / "pool" / f"{i}.png")
    (tmp_path / "pool/bad.png").write_bytes(b"no picture")
    colours(tmp_path / "one.onnx")
    colours(tmp_path / "two.onnx", end="none", bias=(0, 1.0, 0))
    return tmp_path


def ensemble(folder, **more):
    classifiers = tuple(
        OnnxClassifier(name=name, weights=str(folder / f"{name}.onnx"), scale=1 / 255)
        for name in NAMES
    )
    return ClassificationEnsemble(
        name="colours", labels=COLOURS, classifiers=classifiers,
        publish={"formats": ["cvat", "csv", "coco"]}, **more,
    )  # fmt: skip


def templates(spec):
    found = yaml.safe_load(workflow_template(as_uploaded(spec)).to_yaml())["spec"]
    return found, {one["name"]: one for one in found["templates"]}


def test_a_container_for_each_classifier_then_fusion_then_publishing(folder):
    spec, found = templates(ensemble(folder))
    shard = [task["name"] for task in found["shard"]["dag"]["tasks"]]
    assert [n for n in shard if n != "measure"] == ["detect-one", "detect-two", "fuse"]
    option = {one["name"]: one for one in spec["arguments"]["parameters"]}["ensemble-option"]
    assert (option["value"], option["enum"]) == ("sum", ["sum", "majority", "product", "max"])
    for name in NAMES:
        container = found[f"detect-{name}"]["container"]
        assert container["image"].startswith("quorate-cpu")
    text = workflow_template(as_uploaded(ensemble(folder))).to_yaml()
    assert "2 of 2 classifiers must finish" in " ".join(text.split())


def text_of(found):
    """The spec that the template carries."""
    artifacts = found["prepare"]["inputs"]["artifacts"]
    return next(one for one in artifacts if "raw" in one)["raw"]["data"]


def test_what_is_rendered_keeps_the_published_schemas(folder):
    pools = {"spot": {"gpus": 1, "parallelism": 2, "fallback": "big"}, "big": {"cpu": "2"}}
    for more in ({}, {"pools": pools, "workflow": {"pool": "spot", "one_pod": 0}}):
        given = as_uploaded(ensemble(folder, **more))
        assert problems(yaml.safe_load(workflow_template(given).to_yaml())) == []


class Pods:
    """Runs the commands of a template's containers, one folder being /scratch of all pods."""

    def __init__(self, found, scratch, folder, *, one_pod):
        self.found, self.scratch, self.one_pod = found, scratch, one_pod
        for name in NAMES:  # what Argo brings as artifacts
            (scratch / "weights" / name).mkdir(parents=True)
            shutil.copy(folder / f"{name}.onnx", scratch / "weights" / name)
        self.values = {
            "{{workflow.parameters.cvat-annotation-path}}": str(folder / "pool"),
            "{{workflow.parameters.ensemble-option}}": "sum",
            "{{workflow.parameters.shard-size}}": "auto" if one_pod else "4",
            "{{workflow.parameters.one-pod}}": str(one_pod),
            "{{retries}}": "0",
            "{{workflow.namespace}}": "",
            "{{workflow.name}}": "",
        }
        raw = text_of(found)
        (scratch / "spec.yaml").write_text(raw.replace("/scratch", str(scratch)))

    def run(self, name, *, status=0, **inputs):
        words = self.found[name]["container"]["command"]
        given = {f"{{{{inputs.parameters.{k}}}}}": v for k, v in inputs.items()} | self.values
        said = []
        for word in words:
            for old, new in given.items():
                word = word.replace(old, new)
            said.append(word.replace("/scratch", str(self.scratch)))
        assert said[0] == "quorate", said
        while "--workflow" in said:  # there is no API server to ask
            at = said.index("--workflow")
            del said[at : at + 4]
        at = said.index("--checkpoint") if "--checkpoint" in said else None
        if at is not None:
            del said[at : at + 2]
        ended = subprocess.run(
            [sys.executable, "-m", *said], capture_output=True, text=True, check=False
        )
        assert ended.returncode == status, ended.stderr
        return ended


def published(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for part in ("cvat", "csv", "coco")
        for path in sorted((folder / part).rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("one_pod", [0, 100])
def test_the_pods_publish_the_bytes_of_a_run(folder, one_pod):
    spec = ensemble(folder)
    spec.run(folder / "pool", folder / "here")
    _, found = templates(spec)
    scratch = folder / "scratch"
    pods = Pods(found, scratch, folder, one_pod=one_pod)
    pods.run("prepare")
    count = int((scratch / "shards").read_text())
    assert count == (0 if one_pod else 3)  # 0: the pod of prepare has done it all
    for shard in range(count):
        place = {"run": "", "shard": f"{shard:05d}"}
        for name in NAMES:
            pods.run(f"detect-{name}", **place)
        status = {f"status-{name}": "Succeeded" for name in NAMES}
        pods.run("fuse", **place, **status)
    if count:
        pods.run("publish")
    assert published(scratch / "results") == published(folder / "here")


def test_a_pod_that_fails_costs_its_vote_as_in_a_run(folder):
    spec = ensemble(folder, quorum=1)
    _, found = templates(spec)
    scratch = folder / "scratch"
    pods = Pods(found, scratch, folder, one_pod=0)
    (scratch / "weights/two/two.onnx").write_bytes(b"no model")
    pods.run("prepare")
    for shard in range(3):
        place = {"run": "", "shard": f"{shard:05d}"}
        pods.run("detect-one", **place)
        assert "two.onnx" in pods.run("detect-two", status=2, **place).stderr
        pods.run("fuse", **place, **{"status-one": "Succeeded", "status-two": "Failed"})
    pods.run("publish")
    assert (scratch / "degraded").read_text() == "true"
    alone = spec.model_copy(update={"classifiers": spec.classifiers[:1]})
    alone.run(folder / "pool", folder / "here")
    rows = (scratch / "results/csv/labels.csv").read_text().splitlines()
    own = (folder / "here/csv/labels.csv").read_text().splitlines()
    cells = [row.split(",")[:9] for row in rows]
    assert cells == [row.split(",")[:9] for row in own]


def test_the_spec_in_the_template_is_a_classification_ensemble(folder, tmp_path):
    _, found = templates(ensemble(folder))
    raw = text_of(found)
    path = tmp_path / "given.yaml"
    path.write_text(raw)
    spec = read_ensemble(path)
    assert isinstance(spec, ClassificationEnsemble)
    assert [Path(one.weights).name for one in spec.classifiers] == ["one.onnx", "two.onnx"]
