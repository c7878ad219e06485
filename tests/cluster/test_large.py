"""A pool of more pictures than prepare measures itself, on a real Argo Workflows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from quorate.argo.rendering import children
from quorate.ensemble import DetectionEnsemble
from tests.benchmarks.pools import make, network
from tests.cluster.runs import annotations, files_of, messages, nodes, quorate

pytestmark = pytest.mark.usefixtures("argo", "installed")

MANY = 8200
DAMAGED = {"00000/00000000.png": b"", "00007/00007123.png": b"version https://git-lfs"}


@pytest.mark.parametrize("held", [None, 1], ids=["one workflow", "children"])
def test_many_pictures_are_measured_by_their_shards_and_published_as_here(
    runs, tmp_path, monkeypatch, held
):
    """`held`: the shards that one workflow may hold; fewer than two take children."""
    if held:
        monkeypatch.setattr(children, "most", lambda ensemble, given: held)
    pool = tmp_path / "pool"
    make(MANY, pool)
    for name, data in DAMAGED.items():
        (pool / name).write_bytes(data)
    with ThreadPoolExecutor(16) as threads:
        files = files_of(pool).items()
        list(
            threads.map(lambda one: runs.bucket.put(f"{runs.prefix}/pool/{one[0]}", one[1]), files)
        )
    weights = network(tmp_path / "yolo.onnx", 5, 0.0)
    runs.bucket.put(f"{runs.prefix}/yolo.onnx", (tmp_path / "yolo.onnx").read_bytes())
    where = f"s3://{runs.bucket.name}/{runs.prefix}"
    own = {
        "labels": ["car", "person"],
        "quorum": 1,
        "publish": {"formats": ["cvat", "coco"], "report": False},
    }
    given = runs.spec(
        f"large-{held or 'whole'}",
        data=f"{where}/pool/",
        detectors=[{"name": "yolo", "kind": "onnx", "weights": f"{where}/yolo.onnx"}],
        **own,
    )
    local = yaml.safe_load(given.read_text()) | {"data": str(pool)}
    local["detectors"][0]["weights"] = weights
    local.pop("workflow")
    (tmp_path / "local.yaml").write_text(yaml.safe_dump(local))
    manifest = DetectionEnsemble.from_yaml(given).workflow_template().to_dict()
    template = manifest["metadata"]["name"]
    runs.kubectl.apply(manifest)
    runs.made.append(f"workflowtemplate/{template}")
    finished = runs.wait(runs.create(template, shard_size=4100))
    assert finished["status"]["phase"] == "Succeeded", messages(finished)
    name = finished["metadata"]["name"]
    parts = [finished]
    if held:
        parts = [runs.kubectl.get("workflow", f"{name}-{number:05d}") for number in range(2)]
    measured = [one["phase"] for part in parts for one in nodes(part, "measure")]
    assert measured == ["Succeeded"] * 2
    quorate("run", tmp_path / "local.yaml", "--out", tmp_path / "here")
    published, here = runs.results(name), files_of(tmp_path / "here")
    assert annotations(published) == annotations(here)
    told = yaml.safe_load(published["summary.json"])["skipped"]
    assert [one["file_name"] for one in told] == list(DAMAGED)
    assert told == yaml.safe_load(here["summary.json"])["skipped"]
