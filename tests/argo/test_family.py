"""A run and its children, seen and told as one."""

import io
import re
import zlib
from datetime import UTC, datetime

import pytest
from rich.console import Console

from quorate.argo.cluster.client import LogLine
from quorate.argo.cluster.rest import ConflictError
from quorate.argo.names import pod_name
from quorate.argo.runs import family
from quorate.argo.runs.logs import Logs
from quorate.argo.runs.runs import rows
from quorate.argo.runs.tree import children, tree
from quorate.argo.runs.watch import check, drawing, explained
from quorate.errors import InputError, WorkflowError

PHASE, COMPLETED = family.PHASE, family.COMPLETED


def key(name):
    """A node's id: the workflow's name for its root, else a number of its own."""
    own = re.split(r"[.[]", name)[0]
    return name if own == name else f"{own}-{zlib.crc32(name.encode())}"


def node(name, kind, phase, boundary=None, template=None, message=""):
    display = name if name.endswith(".onExit") else name.rpartition(".")[2]
    found = {"id": key(name), "name": name, "displayName": display, "type": kind, "phase": phase}
    found |= {"boundaryID": key(boundary)} if boundary else {}
    found |= {"templateName": template} if template else {}
    return found | ({"message": message} if message else {})


def workflow(name, phase, nodes, parent=None):
    labels = {"quorate/ensemble": "street"}
    if phase:
        labels |= {PHASE: phase}
    if phase in ("Succeeded", "Failed"):
        labels[COMPLETED] = "true"
    status = {"phase": phase, "nodes": {one["id"]: one for one in nodes}}
    if phase in ("Succeeded", "Failed"):
        status["finishedAt"] = "2026-01-01T00:00:00Z"
    metadata = {"name": name, "labels": labels | ({"quorate/parent": parent} if parent else {})}
    metadata |= {"creationTimestamp": "2026-01-01T00:00:00Z", "uid": name}
    return {"metadata": metadata, "spec": {}, "status": status}


def child(number, phase, shards):
    name = f"w-{number:05d}"
    nodes = [node(name, "DAG", phase, template="shards")]
    nodes.append(node(f"{name}.shard", "TaskGroup", phase, name, "shard"))
    for shard, (ended, message) in shards.items():
        part = f"{name}.shard({shard}:{shard:05d})"
        nodes.append(node(part, "DAG", ended, name, "shard"))
        nodes.append(node(f"{part}.detect-a", "Retry", ended, part, "detect-a"))
        pod = node(f"{part}.detect-a(0)", "Pod", ended, part, "detect-a", message)
        nodes.append(pod)
    nodes.append(node(f"{name}.onExit", "Suspend", "Succeeded"))
    found = workflow(name, phase, nodes, parent="w")
    found["spec"] = {"arguments": {"parameters": [{"name": "count", "value": "5"}]}}
    return found


def run(phase, *tasks):
    nodes = [
        node("w", "Steps", phase),
        node("w[0]", "StepGroup", "Succeeded", "w"),
        node("w[0].prepare", "Retry", "Succeeded", "w", "prepare"),
        node("w[0].prepare(0)", "Pod", "Succeeded", "w", "prepare"),
        node("w[1]", "StepGroup", phase, "w"),
        node("w[1].shards", "Skipped", "Skipped", "w"),
        node("w[1].children", "DAG", phase, "w", "children"),
        node("w[1].children.keep", "Pod", "Succeeded", "w[1].children", "keep"),
        node("w[1].children.child", "TaskGroup", phase, "w[1].children", "child"),
    ]
    for number, ended in enumerate(tasks):
        name = f"w[1].children.child({number}:{number:05d})"
        nodes.append(node(name, "Retry", ended, "w[1].children", "child"))
        said = "main: Error (exit code 64)" if ended == "Failed" else ""
        nodes.append(node(f"{name}(0)", "Pod", ended, "w[1].children", "child", said))
    return workflow("w", phase, nodes)


class Namespace:
    """The workflows of a namespace, as far as they are asked for here."""

    options = ""

    def __init__(self, *workflows):
        self.there = {one["metadata"]["name"]: one for one in workflows}
        self.told = []

    def workflow(self, name):
        if name not in self.there:
            raise InputError(f"{name} not found")
        return self.there[name]

    def workflows(self, selector=""):
        return [
            one for one in self.there.values() if "quorate/parent" not in one["metadata"]["labels"]
        ]

    def labelled(self, selector):
        return [one for one in self.there.values() if self._has(one, selector)]

    def _has(self, one, selector):
        labels = one["metadata"]["labels"]
        for part in selector.replace("Failed,Error", "Failed;Error").split(","):
            if " in " in part:
                key, _, values = part.partition(" in ")
                if labels.get(key) not in values.strip("()").split(";"):
                    return False
            elif "!=" in part:
                key, _, value = part.partition("!=")
                if labels.get(key) == value:
                    return False
            elif "=" in part:
                key, _, value = part.partition("=")
                if labels.get(key) != value:
                    return False
            elif part not in labels:
                return False
        return True

    def events(self, name):
        return []

    def stop(self, name, *, now=False):
        if self.workflow(name)["status"].get("finishedAt"):
            raise InputError(f"The workflow {name} has ended already.")
        self.told.append(("stop", name))

    def retry(self, workflow):
        self.told.append(("retry", workflow["metadata"]["name"]))

    def logs(self, workflow, *, pods=None, follow=False):
        for one in self.there[workflow]["status"]["nodes"].values():
            if one["type"] == "Pod":
                pod = pod_name({"metadata": {"name": workflow}}, one["name"], one["id"],
                               one["templateName"])  # fmt: skip
                if pods is None or pod in pods:
                    yield LogLine(pod, f"said by {one['name']}")


@pytest.fixture
def failed():
    """Two children have ended, one of them badly; one is at work."""
    return Namespace(
        run("Failed", "Succeeded", "Failed", "Running"),
        child(0, "Succeeded", {0: ("Succeeded", "")}),
        child(1, "Failed", {1: ("Failed", "main: Error (exit code 2): no boxes"),
                            2: ("Succeeded", "")}),
        child(2, "Running", {3: ("Running", "")}),
    )  # fmt: skip


def test_a_child_is_seen_with_its_shards_while_it_is_at_work_or_failed(failed):
    branch = explained(failed, failed.workflow("w"))
    paths = dict(branch.paths())
    assert paths["child 00000"].below == ()
    assert paths["child 00001"].progress == "2/5"
    assert paths["child 00002"].progress == "0/5"
    assert "child 00002/shard 00003/detect-a" in paths
    assert paths["prepare"].phase == "Succeeded"
    assert not [path for path in paths if "[" in path or "exit" in path]
    console = Console(width=100, color_system=None, file=io.StringIO())
    console.print(drawing(branch, datetime(2026, 1, 1, tzinfo=UTC)))
    assert "shard 00003" in console.file.getvalue()


def test_a_run_says_what_its_child_failed_of(failed):
    with pytest.raises(WorkflowError, match="The workflow w failed: detect-a: no boxes"):
        check(explained(failed, failed.workflow("w")))


def test_a_child_that_is_gone_is_no_hindrance(failed):
    del failed.there["w-00001"]
    assert family.at_work(failed, failed.workflow("w")).keys() == {"w-00002"}
    branch = explained(failed, failed.workflow("w"))
    assert dict(branch.paths())["child 00001"].phase == "Failed"


def test_children_are_those_that_tasks_wait_for(failed):
    assert children(failed.workflow("w")) == {
        "w-00000": "Succeeded", "w-00001": "Failed", "w-00002": "Running"
    }  # fmt: skip
    assert children(failed.workflow("w-00001")) == {}


def test_a_run_is_stopped_before_its_children(failed):
    failed.there["w"] = run("Running", "Succeeded", "Failed", "Succeeded")
    assert family.stop(failed, "w") == ["w", "w-00002"]
    assert failed.told == [("stop", "w"), ("stop", "w-00002")]


def test_children_that_outlived_their_run_are_stopped(failed):
    failed.there["w"] = run("Failed", "Succeeded", "Failed", "Failed")
    assert family.stop(failed, "w") == ["w-00002"]


def test_what_has_ended_whole_is_not_stopped():
    ended = Namespace(run("Failed", "Failed"), child(0, "Failed", {0: ("Failed", "")}))
    with pytest.raises(InputError, match="has ended already"):
        family.stop(ended, "w")
    with pytest.raises(InputError, match="not found"):
        family.stop(ended, "other")


def test_a_child_that_failed_is_tried_again_before_its_run(failed):
    assert family.retry(failed, "w") == ["w-00001", "w"]
    assert failed.told == [("retry", "w-00001"), ("retry", "w")]


def test_a_retry_is_asked_for_again_where_the_workflow_changed_meanwhile(failed, monkeypatch):
    monkeypatch.setattr(family.time, "sleep", lambda seconds: None)
    refused, plain = [ConflictError("modified")] * 2, failed.retry

    def retry(workflow):
        if refused:
            raise refused.pop()
        plain(workflow)

    monkeypatch.setattr(failed, "retry", retry)
    assert family.retry(failed, "w") == ["w-00001", "w"]
    assert failed.told == [("retry", "w-00001"), ("retry", "w")]
    refused += [ConflictError("modified")] * 9
    with pytest.raises(ConflictError):
        family.retry(failed, "w")


def test_no_child_is_tried_again_where_its_run_goes_on(failed):
    failed.there["w"] = run("Running", "Succeeded", "Failed", "Running")
    with pytest.raises(InputError, match="has not ended yet"):
        family.retry(failed, "w")
    assert failed.told == []


def test_a_list_counts_the_children_by_phase(failed):
    (row,) = rows(failed)
    assert row["name"] == "w"
    assert row["children"] == "1 succeeded, 1 failed, 1 running"
    (row,) = rows(Namespace(run("Running")))
    assert row["children"] is None


@pytest.mark.parametrize(
    ("task", "found"),
    [
        ("prepare", {"prepare"}),
        ("shard 00001/detect-a", {"child 00001/shard 00001/detect-a"}),
        ("child 00002/shard 00003/detect-a", {"child 00002/shard 00003/detect-a"}),
    ],
)
def test_a_task_is_found_in_the_child_that_has_it(failed, task, found):
    assert {line.task for line in Logs(failed, "w", task).lines()} == found


def test_all_that_was_written_has_its_task(failed):
    tasks = [line.task for line in Logs(failed, "w").lines()]
    assert {"prepare", "child 00000/shard 00000/detect-a"} <= set(tasks)
    followed = [line.task for line in Logs(failed, "w").lines(follow=True)]
    assert sorted(followed) == sorted(tasks)


def test_an_unknown_task_is_refused_with_what_there_is(failed):
    with pytest.raises(InputError, match="has no task 'detect-b'") as error:
        Logs(failed, "w", "detect-b")
    assert "did you mean 'detect-a'?" in error.value.hint


def test_a_tree_without_children_is_as_it_was(failed):
    alone = tree(failed.workflow("w"))
    assert not [one for one in alone.walk() if one.label.startswith("shard")]
