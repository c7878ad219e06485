"""Pools that are shared by shards, and specs that lie in a repository, on a real controller."""

import pytest
import yaml

from quorate.storage import RESULTS
from tests.cluster.runs import nodes

pytestmark = pytest.mark.usefixtures("argo", "installed")


@pytest.fixture
def one_at_once(pool_of):
    """A pool that one pod may use at once."""
    return pool_of("narrow", 1)


def test_the_shards_of_a_run_share_a_pool(runs, one_at_once):
    path = runs.spec(
        "pools-narrow", quorum=1, fusion="wbf", pools={one_at_once: {"parallelism": 1}}
    )
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec["detectors"] = spec["detectors"][:1]
    spec["detectors"][0]["pool"] = one_at_once
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    name = runs.create(runs.template(path), shard_size=20)
    held = []

    def look(workflow):
        status = workflow.get("status", {})
        holding = (status.get("synchronization") or {}).get("semaphore", {}).get("holding") or []
        held.extend(len(one.get("holders") or ()) for one in holding)
        return False

    ended = runs.wait(name, until=look)
    assert ended["status"]["phase"] == "Succeeded"
    assert max(held) == 1
    pods = [node for node in nodes(ended) if node["templateName"] == "detect-yolo"]
    assert len(pods) == 3


def test_a_spec_is_read_from_its_repository_when_the_run_starts(runs, repository):
    path = runs.spec("pools-git", quorum=1, fusion="wbf")
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec["detectors"] = spec["detectors"][:1]
    kept = yaml.safe_dump({**spec, "publish": {"formats": ["voc"], "report": False}})
    url = repository({"street/spec.yaml": kept})
    spec["workflow"]["git"] = {"repo": url, "revision": "v3", "path": "street/spec.yaml"}
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    ended = runs.wait(runs.create(runs.template(path)))
    assert ended["status"]["phase"] == "Succeeded", ended["status"]
    published = runs.results(ended["metadata"]["name"])
    assert {name.partition("/")[0] for name in published} == {"voc", "summary.json", RESULTS}
