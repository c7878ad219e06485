"""Why a pod does not run: what Kubernetes' events say of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from quorate.argo.cluster.rest import Json
from quorate.argo.names import SEMAPHORES

# Argo's own word for a pod it gave up waiting for, and for those it says nothing useful about.
_STARTING = ("", "PodInitializing", "ContainerCreating")
_SILENT = (*_STARTING, "timeout", "pod deleted")
GIVEN_UP = "given up while it waited for a node"
"""What Argo calls "timeout": a pod's `pendingTimeout` was over."""
LATE = "Pod was active on the node longer than the specified deadline"
UNSCHEDULED = "cannot be scheduled"
NOT_PULLED = "cannot be pulled"
TOO_LONG = "it took longer than its timeout"
OUT_OF_MEMORY = "it ran out of memory"
_KEPT = {
    "FailedScheduling",
    "Failed",
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InspectFailed",
    "InvalidImageName",
    "FailedMount",
    "FailedAttachVolume",
    "FailedCreatePodSandBox",
    "Evicted",
    "Preempted",
    "OOMKilling",
    "NodeNotReady",
}
# With these a pod has got over what was said of it before.
_OVERCOME = {"Scheduled", "Pulled", "Started"}
# What Kubernetes repeats without the cause, which stands in an event before it.
_FULL = re.compile(rf"Waiting for .+/{SEMAPHORES}/(\S+) lock\. Lock status: \d+/(\d+)\b.*")
_EXIT = re.compile(r"main: (\w+) \(exit code (\d+)\)(?:: (.+))?")
_OF_ARGO = re.compile(r"(init|wait): Error \(exit code \d+\): (.+?)[.; ]*")
_FILES = {"init": "its files could not be fetched", "wait": "its files could not be kept"}
_KILLED = {"137": "it was killed", "143": "it was told to end"}
_IMAGE = re.compile(
    r'.*(?:pull(?:ing| and unpack)? image|default image tag) "([^"]+)"(?:(?:.*")?: (.+))?'
)
_SECRET = re.compile(r"""secrets? "?([^" ]+)"? not found""", re.IGNORECASE)
_EMPTY = ("", "Error: ImagePullBackOff", "Error: ErrImagePull", "Error: ErrImageNeverPull")


def warnings(events: Iterable[Json], workflow: str) -> dict[str, str]:
    """The last telling warning of each of a workflow's pods, by pod name."""
    latest: dict[str, tuple[datetime, str]] = {}
    for event in events:
        pod = str((event.get("involvedObject") or {}).get("name", ""))
        text = str(event.get("message") or "").strip()
        reason = event.get("reason")
        if not (pod == workflow or pod.startswith(f"{workflow}-")) or text in _EMPTY:
            continue
        if reason not in _KEPT and reason not in _OVERCOME:
            continue
        when = _when(event)
        if pod not in latest or when >= latest[pod][0]:
            said = "" if reason in _OVERCOME else sentence(str(reason), text)
            latest[pod] = (when, said)
    return {pod: said for pod, (_, said) in latest.items() if said}


def sentence(reason: str, message: str) -> str:
    """A warning in a person's words."""
    message = " ".join(message.split()).rstrip(".")
    if reason == "FailedScheduling":
        # What the scheduler appends about evicting others is of no use to who waits.
        told = re.split(r"[.,] (?:preemption:|no new claims)", message)[0]
        return f"{UNSCHEDULED}: {told}"
    if found := _IMAGE.fullmatch(message):
        image, cause = found.groups()
        return f"the image {image} {NOT_PULLED}" + (f": {cause}" if cause else "")
    return message


def remedy(message: str) -> str | None:
    """What a person can do about a pod that waits or failed, by what is told of it."""
    if NOT_PULLED in message:
        return (
            "is its name right, and may the nodes pull it? `workflow: {images: …}` or a detector's "
            "`image` names it, `workflow: {image_pull_secrets: …}` says who asks"
        )
    if UNSCHEDULED in message and any(word in message for word in ("selector", "taint", "nvidia")):
        return "`quorate pools SPEC` lists the nodes, and which pools of the spec fit them"
    if found := _SECRET.search(message):
        return f"make the Secret {found[1]}; `quorate doctor SPEC` lists all that are missing"
    if message.startswith(tuple(_FILES.values())):
        return (
            "does the artifact repository name the right store, and a Secret with its keys? "
            "`quorate doctor` looks at it"
        )
    if message.startswith(OUT_OF_MEMORY):
        return "give the detector's pool more `memory`"
    if message.startswith(TOO_LONG):
        return "give the detector a longer `timeout`, or its shards fewer pictures"
    return None


def pending(node: Mapping[str, Any]) -> str | None:
    """What Argo says of a pod that waits, where that tells why."""
    message = str(node.get("message") or "")
    if node.get("type") != "Pod" or node.get("phase") != "Pending" or message in _SILENT:
        return None
    return plain(message)


def plain(message: str) -> str:
    """One of Argo's messages in a person's words: the step's own sentence where it left one."""
    message = " ".join(message.split())
    if message in _STARTING:
        return ""
    if message == "timeout":
        return GIVEN_UP
    if message == "pod deleted":
        return "its pod was deleted"
    if message.startswith(LATE):
        return TOO_LONG
    if full := _FULL.fullmatch(message):
        return f"the pool {full[1]} is full ({full[2]} at once)"
    if message.startswith("Unschedulable: "):
        return sentence("FailedScheduling", message.removeprefix("Unschedulable: "))
    if found := _OF_ARGO.fullmatch(message):
        return f"{_FILES[found[1]]}: {found[2]}"
    found = _EXIT.fullmatch(message)
    if not found:
        return sentence("", message)
    reason, status, told = found.groups()
    if reason == "OOMKilled":
        return f"{OUT_OF_MEMORY} (OOMKilled)"
    said = told or _KILLED.get(status)
    return f"{said} (exit status {status})" if said else f"ended with exit status {status}"


def why(message: str, warning: str | None, limit: int | None = None) -> str:
    """A node's message, with the reason where Argo's own does not give it.

    `limit` is the time in seconds that its pod may take.
    """
    if warning and message == "timeout":
        return f"{GIVEN_UP}: {warning}"
    if warning and (message in _SILENT or message.startswith(LATE)):
        return warning
    said = plain(message)
    return f"{said} ({duration(limit)})" if said == TOO_LONG and limit else said


def duration(seconds: float | None) -> str:
    """Seconds as 7s, 1m05s, 2h03m."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def in_doubt(node: Mapping[str, Any]) -> bool:
    """Whether only Kubernetes' events can say why this pod waits, or was given up."""
    silent = str(node.get("message") or "") in _SILENT
    phase = node.get("phase")
    return node.get("type") == "Pod" and silent and phase in ("Pending", "Failed", "Error")


def pod_name(workflow: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    """The name of a node's pod, as the controller makes it."""
    name = str(workflow["metadata"]["name"])
    annotations = workflow["metadata"].get("annotations") or {}
    if annotations.get("workflows.argoproj.io/pod-name-format", "v2") == "v1":
        return str(node["id"])
    if node.get("name") == name:
        return name
    template = node.get("templateName") or (node.get("templateRef") or {}).get("template") or ""
    prefix = f"{name}-{template}" if template else name
    return f"{prefix[:242]}-{str(node['id']).rpartition('-')[2]}"


def _when(event: Json) -> datetime:
    series = event.get("series") or {}
    said = (
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or (event.get("metadata") or {}).get("creationTimestamp")
    )
    return datetime.fromisoformat(said) if said else datetime.min.replace(tzinfo=UTC)
