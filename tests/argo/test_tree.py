"""The tree of two workflows as a real controller (4.1.2) left them, beside this file."""

import base64
import gzip
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from quorate.argo.cluster.client import unpacked
from quorate.argo.cluster.client_kube import Kube
from quorate.argo.cluster.rest import Rest
from quorate.argo.runs import reasons
from quorate.argo.runs.finish import detector_failures
from quorate.argo.runs.reasons import duration, remedy
from quorate.argo.runs.tree import Branch, failure, shown, tree
from quorate.argo.runs.tree import nodes as tree_nodes
from quorate.argo.runs.watch import Lines, check, drawing
from quorate.errors import WorkflowError

HERE = Path(__file__).parent / "workflows"
NOW = datetime(2026, 11, 21, 14, 0, tzinfo=UTC)


def workflow(name):
    return json.loads((HERE / f"{name}.json").read_text())


def events():
    return json.loads((HERE / "events.json").read_text())["items"]


def labels(branch, depth=0):
    yield f"{'  ' * depth}{branch.label}"
    for below in branch.below:
        yield from labels(below, depth + 1)


def found(branch, label):
    return [one for one in branch.walk() if one.label == label]


def test_a_loop_has_its_parts_below_it_and_the_exit_handler_stands_last():
    assert list(labels(tree(workflow("degraded")))) == [
        "client-1",
        "  prepare",
        "  shard",
        "    shard 00000",
        "      detect-a",
        "      detect-b",
        "      fuse",
        "    shard 00001",
        "      detect-a",
        "      detect-b",
        "      fuse",
        "  publish",
        "  exit handler",
    ]


def test_the_exit_handlers_pod_is_the_exit_handler():
    given = workflow("degraded")
    nodes = given["status"]["nodes"]
    (handler,) = [one for one in nodes.values() if one["name"] == "client-1.onExit"]
    pod = handler | {"id": "tell", "name": "client-1.onExit.tell", "displayName": "tell"}
    nodes["tell"] = pod | {"boundaryID": handler["id"], "templateName": "tell"}
    handler["type"] = "DAG"
    *_, last = tree(given).below
    assert (last.label, last.pods) == ("exit handler", ("client-1-tell-tell",))
    nodes["tell"]["phase"] = "Skipped"
    *_, last = tree(given).below
    assert (last.label, last.phase, last.pods) == ("exit handler", "Succeeded", ())


def test_attempts_are_one_branch_with_what_the_last_one_said():
    first, _ = found(tree(workflow("degraded")), "detect-b")
    assert (first.phase, first.attempts) == ("Failed", 2)
    assert first.message == 'unknown command "kaputt" for "argoexec" (exit status 64)'
    assert first.pods == ("client-1-bad-2228709950", "client-1-bad-2698336187")


def test_a_pods_name_is_the_controllers():
    branch = tree(workflow("unschedulable"))
    named = {pod for one in branch.walk() for pod in one.pods}
    pods = [event["involvedObject"] for event in events()]
    assert {pod["name"] for pod in pods if pod["kind"] == "Pod"} <= named


def test_a_pod_that_was_never_scheduled_says_why():
    branch = tree(workflow("unschedulable"), reasons.warnings(events(), "client-2"))
    assert {one.message for one in found(branch, "fuse")} == {
        "given up while it waited for a node: cannot be scheduled: 0/1 nodes are available: "
        "1 node(s) didn't match Pod's node affinity/selector"
    }
    with pytest.raises(
        WorkflowError, match=r"failed: fuse: given up .*: cannot be scheduled: 0/1"
    ) as e:
        check(branch)
    assert e.value.hint.startswith("`quorate pools SPEC` lists the nodes")


def test_another_workflows_events_are_not_taken():
    assert reasons.warnings(events(), "client-1") == {}
    assert reasons.warnings(events(), "client") != {}  # a prefix up to a dash, as pods are named


def test_the_reason_is_the_last_one_that_tells_something():
    def event(reason, message, time):
        return {
            "involvedObject": {"name": "w-1"},
            "reason": reason,
            "message": message,
            "lastTimestamp": time,
        }

    said = reasons.warnings(
        [
            event("Failed", 'Failed to pull image "x": not found.', "2026-01-01T00:00:02Z"),
            event("Failed", "Error: ImagePullBackOff", "2026-01-01T00:00:03Z"),
            event("FailedScheduling", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. "
                  "preemption: 0/3 nodes are available", "2026-01-01T00:00:01Z"),
            event("Scheduled", "assigned", "2026-01-01T00:00:01.5Z"),
        ],
        "w",
    )  # fmt: skip
    assert said == {"w-1": "the image x cannot be pulled: not found"}


def test_what_a_pod_got_over_is_no_reason():
    waited = workflow("unschedulable")
    pod = "client-2-fuse-801640579"
    scheduled = {
        "involvedObject": {"name": pod, "kind": "Pod"},
        "reason": "Scheduled",
        "message": "assigned",
        "lastTimestamp": "2026-11-21T14:00:00Z",
    }
    assert pod in reasons.warnings(events(), "client-2")
    assert pod not in reasons.warnings([*events(), scheduled], "client-2")
    for node in waited["status"]["nodes"].values():
        node["phase"] = "Running"
    branch = tree(waited, reasons.warnings(events(), "client-2"))
    assert not any("scheduled" in one.message for one in branch.walk())


@pytest.mark.parametrize(
    ("message", "plain"),
    [
        ("main: Error (exit code 2): no such file.", "no such file. (exit status 2)"),
        ("main: Error (exit code 9)", "ended with exit status 9"),
        (
            "main: Error (exit code 1): time=2026-11-29T15:50:13Z level=INFO msg=x argo=true\n"
            "Traceback (most recent call last):\n  File …\n"
            "ModuleNotFoundError: No module named 'mmdet'\n"
            'time=2026-11-29T15:50:14Z level=INFO msg="no need" argo=true srcPath=/scratch\n'
            "Error: exit status 1\n",
            "ModuleNotFoundError: No module named 'mmdet' (exit status 1)",
        ),
        (
            'main: Error (exit code 1): Traceback (most recent call last):\n  File "a.py", line 1\n'
            "    run()\n    ~~~^^\nValueError: 2 errors\nbox\n    not a number\n",
            "ValueError: 2 errors / box / not a number (exit status 1)",
        ),
        (
            "main: Error (exit code 1): Collecting mmdet\n\n"
            "ERROR: Could not install: [Errno 30] Read-only file system: '/usr'\n"
            "Consider using the `--user` option.\n",
            "Collecting mmdet / ERROR: Could not install: [Errno 30] Read-only file system: '/usr'"
            " / Consider using the `--user` option. (exit status 1)",
        ),
        (
            "main: Error (exit code 134): loading\nstill loading\nterminate called\n"
            "  what():  CUDA error\nAborted (core dumped)",
            "terminate called / what(): CUDA error / Aborted (core dumped) (exit status 134)",
        ),
        (
            "main: Error (exit code 3): time=2026-11-29T15:50:14.474Z level=INFO msg=x argo=true\n"
            "Error: exit status 3",
            "ended with exit status 3",
        ),
        ("main: Error (exit code 137)", "it was killed (exit status 137)"),
        ("main: OOMKilled (exit code 137)", "it ran out of memory (OOMKilled)"),
        ("pod deleted", "its pod was deleted"),
        (
            "wait: Error (exit code 64): failed to put directory: Access Denied.; ",
            "its files could not be kept: failed to put directory: Access Denied",
        ),
        ("Unschedulable: 0/1 nodes: no. preemption: no", "cannot be scheduled: 0/1 nodes: no"),
        ("ErrImagePull: pull access denied", "ErrImagePull: pull access denied"),
        (
            'ImagePullBackOff: Back-off pulling image "r.example/x:1"',
            "the image r.example/x:1 cannot be pulled",
        ),
        (
            'ErrImagePull: failed to pull and unpack image "docker.io/library/x:1": failed to '
            'resolve reference "docker.io/library/x:1": docker.io/library/x:1: not found',
            "the image docker.io/library/x:1 cannot be pulled: docker.io/library/x:1: not found",
        ),
        ("timeout", "given up while it waited for a node"),
        (
            "Pod was active on the node longer than the specified deadline",
            "it took longer than its timeout",
        ),
        (
            "Waiting for ns/ConfigMap/quorate-pools/spot lock. Lock status: 0/4",
            "the pool spot is full (4 at once)",
        ),
    ],
)
def test_argos_messages_in_plain_words(message, plain):
    assert reasons.plain(message) == plain


def test_a_detector_that_took_too_long_is_told_with_its_limit():
    given = workflow("degraded")
    for node in given["status"]["nodes"].values():
        if node.get("templateName") == "bad":
            node["message"] = f"{reasons.LATE}."
    limited = {"name": "bad", "activeDeadlineSeconds": 7200}
    given["status"]["storedWorkflowTemplateSpec"] = {"templates": [limited]}
    assert "it took longer than its timeout (2h00m)" in {one.message for one in tree(given).walk()}


def test_fuse_is_told_why_the_detectors_of_its_shard_failed(monkeypatch):
    given = workflow("degraded")
    nodes = given["status"]["nodes"].values()
    (last,) = [n for n in nodes if n["name"].endswith("shard(1:00001).detect-b(1)")]
    last["message"] = "main: OOMKilled (exit code 137)"

    class Answers(Rest):
        def __init__(self):
            pass

        def __call__(self, method, path, *, query=None, accept=None):
            return given if path.endswith("/workflows/client-1") else {"items": []}

    monkeypatch.setattr(Kube, "of_pod", lambda namespace: Kube(Answers(), namespace))

    def reasons_of(shard):
        return detector_failures("argo", "client-1", shard)

    assert reasons_of(1) == {"b": "it ran out of memory (OOMKilled)"}
    assert reasons_of(0) == {"b": 'unknown command "kaputt" for "argoexec" (exit status 64)'}
    assert reasons_of(2) == {}
    # A child workflow has its range of the shards and nothing else.
    given["status"]["nodes"] = {
        one["id"]: one for one in nodes if ".shard" in one["name"] or one["name"] == "client-1"
    }
    assert reasons_of(1) == {"b": "it ran out of memory (OOMKilled)"}


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ("the image x:1 cannot be pulled: not found", "is its name right"),
        ("cannot be scheduled: 0/1 nodes: 1 node(s) had untolerated taint", "quorate pools SPEC"),
        ('MountVolume.SetUp failed: secret "quorate-s3" not found', "make the Secret quorate-s3"),
        ("it ran out of memory (OOMKilled)", "more `memory`"),
        ("its files could not be kept: Access Denied", "does the artifact repository name"),
        ("it took longer than its timeout (2h00m)", "a longer `timeout`"),
    ],
)
def test_what_can_be_done_about_it(message, what):
    assert what in remedy(message)


def test_a_pod_that_waits_for_its_turn_needs_no_advice():
    for message in ("", "cannot be scheduled: 0/1 nodes are available: 1 Insufficient cpu"):
        assert remedy(message) is None


def test_advice_is_given_once():
    waiting = workflow("degraded")
    for node in waiting["status"]["nodes"].values():
        if node.get("templateName") == "bad":
            node["phase"], node["message"] = "Pending", 'ErrImagePull: pulling image "x:1": no'
    stream = io.StringIO()
    lines = Lines(stream)
    for _ in range(2):
        lines(tree(waiting))
    assert stream.getvalue().count("→ is its name right") == 1
    assert "the image x:1 cannot be pulled: no" in stream.getvalue()
    console = Console(width=200, file=io.StringIO(), color_system=None)
    console.print(drawing(tree(waiting), NOW))
    assert console.file.getvalue().count("→ is its name right") == 1


def test_a_succeeded_workflow_is_no_error_whatever_failed_on_its_way():
    check(tree(workflow("degraded")))


def test_without_a_failed_task_the_workflow_speaks():
    bare = {
        "metadata": {"name": "w"},
        "status": {"phase": "Error", "message": "invalid spec: no such template"},
    }
    assert failure(tree(bare)) == ("w", "invalid spec: no such template")


def test_a_workflow_that_nobody_has_looked_at_is_pending():
    branch = tree({"metadata": {"name": "w"}})
    assert (branch.phase, branch.below, branch.seconds(NOW)) == ("Pending", (), None)


def test_a_large_workflows_nodes_are_unpacked():
    given = workflow("degraded")
    nodes = given["status"].pop("nodes")
    packed = base64.b64encode(gzip.compress(json.dumps(nodes).encode())).decode()
    given["status"]["compressedNodes"] = packed
    assert unpacked(given)["status"]["nodes"] == nodes


def loop(*phases):
    parts = tuple(Branch(label=f"shard {i}", phase=p, key=str(i)) for i, p in enumerate(phases))
    return Branch(label="shard", phase="Running", loop=True, below=parts)


def test_of_a_long_loop_what_failed_and_what_is_at_work_is_shown():
    long = loop(*["Succeeded"] * 30, "Failed", *["Running"] * 4, *["Pending"] * 20)
    kept, rest = shown(long)
    assert [one.phase for one in kept] == ["Failed"] + ["Running"] * 4 + ["Pending"] * 3
    assert rest == "30 succeeded, 17 pending"


def test_a_short_loop_is_shown_whole():
    short = loop(*["Succeeded"] * 8)
    assert shown(short) == (short.below, "")


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (0.4, "0s"), (65, "1m05s"), (7380, "2h03m")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_lines_tell_each_change_once():
    stream = io.StringIO()
    lines = Lines(stream)
    branch = tree(workflow("degraded"))
    lines(branch)
    once = stream.getvalue()
    lines(branch)
    assert stream.getvalue() == once
    told = [line.split("  ", 1)[1] for line in once.splitlines()]
    assert told[0] == "prepare  Succeeded  4s"
    assert told[-1] == "client-1  Succeeded  42s"
    assert any(line.startswith("shard 00001/detect-b  Failed  19s  unknown") for line in told)


def test_the_drawing_has_each_branch_in_a_line():
    console = Console(width=100, file=io.StringIO(), color_system=None)
    console.print(drawing(tree(workflow("degraded")), NOW))
    said = console.file.getvalue()
    assert "✖ detect-b ×2" in said
    assert "✔ shard" in said
    assert "2/2" in said


def test_a_file_that_is_not_in_the_store_is_named_with_its_bucket_and_key():
    said = "init: Error (exit code 64): artifact weights failed to load: key does not exist"
    node = {"id": "x-1", "name": "x", "type": "Pod", "phase": "Failed", "message": said}
    node["inputs"] = {"artifacts": [{"name": "weights", "s3": {"key": "models/yolo.onnx"}}]}
    store = {"artifactRepository": {"s3": {"bucket": "pool"}}}
    status = {"nodes": {"x-1": node}, "artifactRepositoryRef": store}
    (found,) = tree_nodes({"metadata": {"name": "x"}, "status": status})
    assert reasons.plain(found.message) == (
        "its files could not be fetched: weights, s3://pool/models/yolo.onnx, cannot be read: "
        "key does not exist"
    )
    assert "quorate doctor SPEC" in reasons.remedy(reasons.plain(found.message))
