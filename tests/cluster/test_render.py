"""What only a real controller shows of a rendered template: tries, missing keys, children."""

import json

import pytest
import yaml

from quorate import DetectionEnsemble
from quorate.argo.rendering import children
from tests.cluster.conftest import ROOT
from tests.cluster.runs import PARTS, nodes, quorate

pytestmark = pytest.mark.usefixtures("argo", "installed")


def of_one_detector(runs, name, **changes):
    """The demo with its first detector alone."""
    path = runs.spec(name, quorum=1, fusion="wbf", **changes)
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec["detectors"] = spec["detectors"][:1]
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    return path, spec


def test_a_pod_without_a_node_is_given_up_and_another_pool_tried(runs):
    pools = {
        "render-none": {
            "node_selector": {"quorate.test/no": "such"},
            "pending_timeout": "10s",
            "fallback": "render-any",
        },
        "render-any": {},
    }
    path, spec = of_one_detector(runs, "render-fallback", pools=pools)
    spec["detectors"][0]["pool"] = "render-none"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    ended = runs.wait(runs.create(runs.template(path)))
    assert ended["status"]["phase"] == "Succeeded"
    (first,) = nodes(ended, "try-1-yolo")
    assert (first["phase"], first["message"]) == ("Failed", "timeout")
    assert [node["phase"] for node in nodes(ended, "try-2-yolo", kind="Retry")] == ["Succeeded"]


def test_weights_that_are_missing_are_named_and_not_asked_for_again(runs):
    path, spec = of_one_detector(runs, "render-missing")
    spec["detectors"][0]["weights"] += ".old"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    name = runs.create(runs.template(path))
    ended = runs.wait(name)
    assert ended["status"]["phase"] in ("Failed", "Error")
    tried = [node for node in nodes(ended) if node["templateName"] == "detect-yolo"]
    assert len(tried) == 1
    assert "artifact weights failed to load" in tried[0]["message"]
    assert "key does not exist" in tried[0]["message"]
    said = quorate("status", name, check=False).stdout
    assert f"weights, {spec['detectors'][0]['weights']}, cannot be read: " in said
    assert "→ put the file there" in said


@pytest.fixture(scope="module")
def parted(runs, tmp_path_factory):
    """A run of three shards, where a workflow holds two, and the same run on this machine."""
    path, _ = of_one_detector(runs, "render-children")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(children, "most", lambda ensemble, given: 2)
        template = DetectionEnsemble.from_yaml(path).workflow_template().to_yaml()
    runs.kubectl("apply", "--validate=strict", "--filename=-", given=template)
    runs.made.append("workflowtemplate/render-children")
    ended = runs.wait(runs.create("render-children", shard_size=20))
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec["data"] = str(PARTS / "images")
    spec["detectors"][0]["weights"] = str(PARTS / "models" / "yolo.onnx")
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    here = tmp_path_factory.mktemp("here")
    quorate("run", path, "--out", here)
    return ended, here


def test_more_shards_than_a_workflow_holds_run_in_children_with_the_same_result(runs, parted):
    ended, here = parted
    assert ended["status"]["phase"] == "Succeeded"
    name = ended["metadata"]["name"]
    made = [runs.kubectl.get("workflow", f"{name}-{number:05d}") for number in range(3)]
    assert [len(nodes(child, "fuse")) for child in made] == [1, 1, 1]
    assert all(child["metadata"]["ownerReferences"][0]["name"] == name for child in made)
    published = runs.results(name)
    for file in ("cvat/annotations.xml", "coco/annotations/instances_default.json"):
        assert published[file] == (here / file).read_bytes()


def test_a_node_weighs_no_more_than_what_shards_are_reckoned_with(parted, runs):
    from quorate.argo.rendering.children import GROUP_BYTES, NODE_BYTES

    ended, _ = parted
    name = ended["metadata"]["name"]
    for workflow in (ended, runs.kubectl.get("workflow", f"{name}-00000")):
        for node in workflow["status"]["nodes"].values():
            weight = len(json.dumps(node, separators=(",", ":")))
            limit = NODE_BYTES if node["type"] in ("Pod", "Retry") else GROUP_BYTES
            assert weight <= limit, node["name"]


def test_the_work_folder_goes_with_the_workflow_and_results_stay(parted, runs):
    ended, _ = parted
    name = ended["metadata"]["name"]
    prefix = f"{runs.kubectl.namespace}/quorate/{name}/"
    assert any(key.startswith(f"{prefix}work/") for key in runs.bucket.keys(prefix))
    runs.kubectl("delete", "workflow", name, "--timeout=120s")
    left = runs.bucket.keys(prefix)
    assert left
    assert all(key.startswith(f"{prefix}results/") for key in left)
    runs.bucket.remove(prefix)


def shipped(runs, name, **parameters):
    """Run a shipped template with the image under test; the finished workflow."""
    text = (ROOT / "workflows" / name / "template.yaml").read_text(encoding="utf-8")
    template = yaml.safe_load(text)
    template["metadata"]["name"] = f"render-{name}"
    template["spec"]["templates"][0]["container"]["image"] = runs.image
    runs.kubectl("apply", "--validate=strict", "--filename=-", given=json.dumps(template))
    runs.made.append(f"workflowtemplate/render-{name}")
    return runs.wait(runs.create(f"render-{name}", **parameters))


def test_files_in_s3_are_fused_and_measured_by_the_shipped_templates(runs, tmp_path):
    out = tmp_path / "out"
    quorate("run", PARTS / "spec.yaml", "--out", out)
    where = f"s3://{runs.bucket.name}/{runs.prefix}"
    results = sorted((out / "work/shards/00000/detections").glob("*/detections.parquet"))
    for path in results:
        runs.bucket.put(f"{runs.prefix}/results/{path.parent.name}.parquet", path.read_bytes())
    given = {"results": f"{where}/results/*.parquet", "images": f"{where}/images/"}
    fused = shipped(runs, "fuse-files", **given)
    assert fused["status"]["phase"] == "Succeeded", fused["status"]
    published = runs.results(fused["metadata"]["name"])["fused.json"]
    copies = [tmp_path / f"{path.parent.name}.parquet" for path in results]
    for path, copy in zip(results, copies, strict=True):
        copy.write_bytes(path.read_bytes())
    here = tmp_path / "fused.json"
    quorate("fuse", *copies, "--images", PARTS / "images", "--iou", 0.55, "--out", here)
    assert published == here.read_bytes()

    measured = shipped(runs, "evaluate", results=given["results"], truth=given["images"])
    assert measured["status"]["phase"] == "Succeeded", measured["status"]
    metrics = json.loads(runs.results(measured["metadata"]["name"])["metrics.json"])
    assert len(metrics) == 3
