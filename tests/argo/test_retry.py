"""What goes on when a run that was stopped, or failed, is tried again."""

import base64
import gzip
import json

import pytest

from quorate.argo.cluster.client import unpacked
from quorate.argo.cluster.retry import checked, formulated, selector
from quorate.errors import InputError


class Run:
    """A workflow, node by node; a node's id is its name."""

    def __init__(self, phase="Failed", **spec):
        self.nodes = {}
        self.json = {
            "metadata": {
                "name": "w",
                "resourceVersion": "7",
                "labels": {"workflows.argoproj.io/completed": "true", "a": "b"},
            },
            "spec": {"shutdown": "Stop", **spec},
            "status": {
                "phase": phase,
                "message": "Stopped with strategy 'Stop'",
                "finishedAt": "2026-01-01T00:00:00Z",
                "conditions": [{"type": "Completed", "status": "True"}],
                "storedWorkflowTemplateSpec": {"shutdown": "Stop", "templates": []},
                "nodes": self.nodes,
            },
        }

    def add(self, name, kind, phase, boundary=None, children=(), template=None):
        node = {"id": name, "name": name, "type": kind, "phase": phase, "children": list(children)}
        node |= {"boundaryID": boundary} if boundary else {}
        node |= {"templateName": template} if template else {}
        self.nodes[name] = node

    def retried(self, name, *phases, boundary):
        """A task that Argo tries again, with its tries."""
        tries = [f"{name}({at})" for at in range(len(phases))]
        phase = phases[-1] if phases else "Failed"
        self.add(name, "Retry", phase, boundary, tries)
        for one, phase in zip(tries, phases, strict=True):
            self.add(one, "Pod", phase, boundary, template="detect")

    def shard(self, number, *detectors, phase="Failed"):
        name = f"w[1].shards.shard({number}:{number:05d})"
        tasks = [f"{name}.detect-{letter}" for letter, _ in zip("abc", detectors, strict=False)]
        self.add(name, "DAG", phase, "w[1].shards", tasks, "shard")
        for task, phases in zip(tasks, detectors, strict=True):
            if phases is not None:
                self.retried(task, *phases, boundary=name)
        return name


@pytest.fixture
def stopped():
    """One shard done, one at work, one that waited for a pool, one with nothing left to do."""
    run = Run()
    run.add("w", "Steps", "Failed", children=["w[0]"])
    run.add("w[0]", "StepGroup", "Succeeded", "w", ["w[0].prepare"])
    run.retried("w[0].prepare", "Failed", "Succeeded", boundary="w")
    run.nodes["w[0].prepare(1)"]["children"] = ["w[1]"]
    run.add("w[1]", "StepGroup", "Failed", "w", ["w[1].shards", "w[1].children"])
    run.add("w[1].children", "Skipped", "Skipped", "w")
    run.add("w[1].shards", "DAG", "Failed", "w", ["w[1].shards.shard"])
    shards = [
        run.shard(0, ["Succeeded"], ["Failed"], phase="Succeeded"),
        run.shard(1, ["Succeeded"], ["Failed"]),
        run.shard(2, ["Succeeded"], []),
        run.shard(3, ["Succeeded"], ["Succeeded"]),
    ]
    run.add("w[1].shards.shard", "TaskGroup", "Failed", "w[1].shards", shards, "shard")
    run.nodes["w[1].shards.shard"]["displayName"] = "shard"
    run.add("w.onExit", "DAG", "Succeeded", children=["w.onExit.tell"])
    run.add("w.onExit.tell", "Pod", "Succeeded", "w.onExit")
    return run


def test_what_succeeded_stays_and_what_did_not_is_decided_anew(stopped):
    again, pods = formulated(stopped.json)
    nodes = again["status"]["nodes"]
    shard = "w[1].shards.shard({0}:{0:05d})"
    running = {name for name, one in nodes.items() if one["phase"] == "Running"}
    assert running == {
        "w", "w[1]", "w[1].shards", "w[1].shards.shard", *(shard.format(n) for n in (1, 2, 3))
    }  # fmt: skip
    for number in range(4):
        assert f"{shard.format(number)}.detect-a(0)" in nodes
    # The detector that failed in a shard that succeeded is no part of this.
    assert nodes[f"{shard.format(0)}.detect-b"]["phase"] == "Failed"
    gone = set(stopped.nodes) - set(nodes)
    assert gone == {
        f"{shard.format(1)}.detect-b", f"{shard.format(1)}.detect-b(0)",
        f"{shard.format(2)}.detect-b", "w[1].children", "w.onExit", "w.onExit.tell",
    }  # fmt: skip
    assert nodes[shard.format(1)]["children"] == [f"{shard.format(1)}.detect-a"]
    assert nodes["w[0].prepare"]["children"] == ["w[0].prepare(0)", "w[0].prepare(1)"]
    assert len(pods) == 2


def test_the_workflow_is_one_that_a_controller_takes_up(stopped):
    again, _ = formulated(stopped.json)
    assert again["metadata"]["labels"] == {"a": "b"}
    assert again["metadata"]["resourceVersion"] == "7"  # a change in the meantime is no success
    assert again["spec"] == {}
    status = again["status"]
    assert status["conditions"] == [{"type": "Completed", "status": "False"}]
    assert not {"phase", "message"} & set(status)
    assert status["finishedAt"] is None
    assert "shutdown" not in status["storedWorkflowTemplateSpec"]
    assert stopped.json["spec"] == {"shutdown": "Stop"}  # what was given is as it was
    assert stopped.nodes["w"]["phase"] == "Failed"


def test_argos_own_retry_is_enough_where_every_failure_has_a_pod():
    run = Run()
    run.add("w", "Steps", "Failed")
    run.add("w[1].shards", "DAG", "Failed", "w")
    run.shard(0, ["Failed"], ["Succeeded"])
    assert selector(run.json) is None


def test_argo_server_is_told_of_the_shards_that_its_own_retry_would_leave(stopped):
    assert selector(stopped.json) == "templateName=shard,displayName!=shard,phase!=Succeeded"


def test_argo_server_is_told_of_one_dag_that_was_stopped_before_it_began():
    run = Run()
    run.add("w", "Steps", "Failed")
    run.retried("w[0].prepare", "Succeeded", boundary="w")
    run.add("w[1].shards", "DAG", "Failed", "w")
    assert selector(run.json) == "id=w[1].shards"


def test_argo_server_is_told_of_what_was_omitted_as_the_successor_of_nothing():
    """In a template whose entrypoint is a DAG: a retry of Argo's would never end."""
    run = Run()
    run.add("w", "DAG", "Failed", children=["w.prepare"])
    run.retried("w.prepare", "Succeeded", boundary="w")
    run.add("w.shards", "DAG", "Failed", "w", ["w.shards.detect"])
    run.retried("w.shards.detect", "Failed", boundary="w.shards")
    run.add("w.children", "Skipped", "Skipped", "w", ["w.publish"])
    run.add("w.publish", "Skipped", "Omitted", "w")
    assert selector(run.json) == "id=w.publish"
    assert "w.publish" not in formulated(run.json)[0]["status"]["nodes"]
    # After an ordinary failure it comes after the pod, and Argo forgets it with that.
    run.nodes["w.shards.detect(0)"]["children"] = ["w.publish"]
    assert selector(run.json) is None


def test_a_run_that_was_stopped_before_anything_began():
    run = Run()
    run.add("w", "Steps", "Failed")
    with pytest.raises(InputError, match="own retry cannot go on") as error:
        selector(run.json)
    assert "submit it again" in error.value.hint
    again, pods = formulated(run.json)
    assert again["status"]["nodes"]["w"]["phase"] == "Running"
    assert pods == []


def test_only_what_failed_is_tried_again():
    with pytest.raises(InputError, match="has succeeded"):
        checked(Run("Succeeded").json)
    with pytest.raises(InputError, match="has not ended yet") as error:
        checked(Run("Running").json)
    assert "quorate stop w" in error.value.hint


def test_a_run_whose_exit_handler_alone_failed_is_not_begun_again():
    run = Run()
    run.add("w", "Steps", "Succeeded")
    run.add("w.onExit", "Pod", "Failed")
    again, pods = formulated(run.json)
    assert set(again["status"]["nodes"]) == {"w"}
    assert again["status"]["nodes"]["w"]["phase"] == "Succeeded"
    assert len(pods) == 1


def test_many_nodes_are_compressed_as_argo_does():
    run = Run()
    run.add("w", "DAG", "Failed")
    for number in range(12_000):
        run.add(f"w.{number}", "Pod", "Succeeded", "w", template="detect")
    again, _ = formulated(run.json)
    packed = again["status"]["compressedNodes"]
    assert again["status"]["nodes"] is None
    assert json.loads(gzip.decompress(base64.b64decode(packed)))["w"]["phase"] == "Running"
    assert len(unpacked(again)["status"]["nodes"]) == 12_001


def test_nodes_in_argos_database_are_argo_servers():
    run = Run()
    run.json["status"] |= {"nodes": None, "offloadNodeStatusVersion": "fnv:1"}
    with pytest.raises(InputError, match="in Argo's database"):
        formulated(run.json)
