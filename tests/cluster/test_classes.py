"""An ensemble of classifiers as a DAG on a real Argo Workflows, against the same ensemble here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.cluster.runs import files_of, messages, nodes, quorate

pytestmark = pytest.mark.usefixtures("argo", "installed")

SORTING = Path(__file__).parents[2] / "docs/examples/sorting"
NAMES = ("resnet", "googlenet")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """What `quorate run` publishes on this machine."""
    out = tmp_path_factory.mktemp("here")
    quorate("run", SORTING / "spec.yaml", "--out", out)
    return out


@pytest.fixture(scope="module")
def spec(runs):
    """The example's spec as it is written for a cluster."""
    spec = yaml.safe_load((SORTING / "spec.yaml").read_text(encoding="utf-8"))
    for name in ("images", "models"):
        runs.bucket.put_folder(SORTING / name, f"{runs.prefix}/sorting/{name}")
    where = f"s3://{runs.bucket.name}/{runs.prefix}/sorting"
    for classifier in spec["classifiers"]:
        classifier["weights"] = f"{where}/{classifier['weights']}"
    workflow = {"images": {"cpu": runs.image}, "bucket": runs.bucket.name}
    spec |= {"name": "classes-sorting", "data": f"{where}/images/", "workflow": workflow}
    path = runs.folder / "sorting.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    return path


def labels(files):
    """Of the files that a run publishes, those whose every byte is settled by spec and data."""
    found = {n: data for n, data in files.items() if n.startswith(("cvat/", "coco/", "csv/"))}
    assert len(found) == 4, sorted(files)
    return found


def test_a_pod_for_each_classifier_gives_the_bytes_of_this_machine(runs, here, spec):
    name = runs.create(runs.template(spec), one_pod=0)
    workflow = runs.wait(name)
    assert workflow["status"]["phase"] == "Succeeded", messages(workflow)
    for classifier in NAMES:
        assert len(nodes(workflow, f"detect-{classifier}")) == 1
    published = runs.results(name)
    assert labels(published) == labels(files_of(here))
    summary = json.loads(published["summary.json"])
    assert [one["name"] for one in summary["classifiers"]] == list(NAMES)
    assert summary["ensemble"] == json.loads((here / "summary.json").read_text())["ensemble"]


def test_few_pictures_are_one_pod_with_the_same_bytes(runs, here, spec):
    name = runs.create(runs.template(spec), one_pod=200)
    workflow = runs.wait(name)
    assert workflow["status"]["phase"] == "Succeeded", messages(workflow)
    assert not nodes(workflow, "publish")
    assert labels(runs.results(name)) == labels(files_of(here))
