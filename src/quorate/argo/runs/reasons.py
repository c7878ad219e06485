"""Why a pod waits or failed, in plain words: from Argo's messages and Kubernetes' events."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from quorate.argo.cluster.rest import Json
from quorate.argo.names import SEMAPHORES

# Argo's own words for a pod that starts, and those that do not say why a pod waits or failed.
_STARTING = ("", "PodInitializing", "ContainerCreating")
SILENT = (*_STARTING, "timeout", "pod deleted")
GIVEN_UP = "given up while it waited for a node"
"""Argo calls it "timeout": the pod's `pendingTimeout` was over."""
LATE = "Pod was active on the node longer than the specified deadline"
UNSCHEDULED = "cannot be scheduled"
NOT_PULLED = "cannot be pulled"
TOO_LONG = "it took longer than its timeout"
OUT_OF_MEMORY = "it ran out of memory"
LINES, LONGEST = 3, 400
"""Of a container that crashed: the last lines that are told, and the characters of them."""
# The reasons of events that say what is wrong with a pod …
_TROUBLE = {
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
# … and of those that say that earlier trouble is over.
_OVER = {"Scheduled", "Pulled", "Started"}
# Messages that repeat an earlier event without its cause.
_NO_CAUSE = ("", "Error: ImagePullBackOff", "Error: ErrImagePull", "Error: ErrImageNeverPull")
_FULL = re.compile(rf"Waiting for .+/{SEMAPHORES}/(\S+) lock\. Lock status: \d+/(\d+)\b.*")
_EXIT = re.compile(r"main: (\w+) \(exit code (\d+)\)(?:: (.+))?")
_CRASH = re.compile(r"(main: \w+ \(exit code \d+\)): (.+)", re.DOTALL)
# What Argo's executor writes around what a container prints.
_NOISE = re.compile(r"time=\S+ .*\bargo=true\b.*|Error: exit status \d+")
_OF_ARGO = re.compile(r"(init|wait): Error \(exit code \d+\): (.+?)[.; ]*")
_ARTIFACT = re.compile(r"artifact ([-\w]+) failed to load")
_MISSING = re.compile(r"s3://\S+, cannot be read: .*(?:does not exist|NoSuchKey|no such key)", re.I)
_FILES = {"init": "its files could not be fetched", "wait": "its files could not be kept"}
_KILLED = {"137": "it was killed", "143": "it was told to end"}
_IMAGE = re.compile(
    r'.*(?:pull(?:ing| and unpack)? image|default image tag) "([^"]+)"(?:(?:.*")?: (.+))?'
)
_SECRET = re.compile(r"""secrets? "?([^" ]+)"? not found""", re.IGNORECASE)


def warnings(events: Iterable[Json], workflow: str) -> dict[str, str]:
    """The latest trouble of each of a workflow's pods, by pod name; nothing where it is over."""
    latest: dict[str, tuple[datetime, str]] = {}
    for event in events:
        pod = str((event.get("involvedObject") or {}).get("name", ""))
        text, reason = str(event.get("message") or "").strip(), event.get("reason")
        if not (pod == workflow or pod.startswith(f"{workflow}-")) or text in _NO_CAUSE:
            continue
        when = _when(event)
        if reason in _TROUBLE | _OVER and (pod not in latest or when >= latest[pod][0]):
            latest[pod] = (when, "" if reason in _OVER else sentence(str(reason), text))
    return {pod: said for pod, (_, said) in latest.items() if said}


def sentence(reason: str, message: str) -> str:
    """An event's message in plain words."""
    message = " ".join(message.split()).rstrip(".")
    if reason == "FailedScheduling":
        # What the scheduler appends about preempting other pods does not help who waits.
        told = re.split(r"[.,] (?:preemption:|no new claims)", message)[0]
        return f"{UNSCHEDULED}: {told}"
    if found := _IMAGE.fullmatch(message):
        image, cause = found.groups()
        return f"the image {image} {NOT_PULLED}" + (f": {cause}" if cause else "")
    return message


def remedy(message: str) -> str | None:
    """What a person can do about a pod that waits or failed with this message."""
    if NOT_PULLED in message:
        return (
            "is its name right, and may the nodes pull it? `workflow: {images: …}` or a detector's "
            "`image` names it, `workflow: {image_pull_secrets: …}` names the credentials"
        )
    if UNSCHEDULED in message and any(word in message for word in ("selector", "taint", "nvidia")):
        return "`quorate pools SPEC` lists the nodes, and which pools of the spec fit them"
    if found := _SECRET.search(message):
        return f"make the Secret {found[1]}; `quorate doctor SPEC` lists all that are missing"
    if _MISSING.search(message):
        return "put the file there, or correct the spec: `quorate doctor SPEC` looks for each file"
    if message.startswith(tuple(_FILES.values())):
        return (
            "does the artifact repository name the right store, and a Secret with its keys? "
            "`quorate doctor` looks at it"
        )
    if message.startswith(OUT_OF_MEMORY):
        return "give the detector's pool, or the step, more `memory`: `workflow: {steps: …}`"
    if message.startswith(TOO_LONG):
        return "give the detector a longer `timeout`, or its shards fewer pictures"
    return None


def plain(message: str) -> str:
    """One of Argo's messages in plain words: the step's own sentence where it left one.

    Of a container that left none, Argo has the end of its log: its last lines are told.
    """
    if crash := _CRASH.fullmatch(message.strip()):
        printed = _last_lines(crash[2])
        message = f"{crash[1]}: {printed}" if printed else crash[1]
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


def _last_lines(log: str) -> str:
    """How a log ends, in one line; of a traceback of Python, what was raised.

    One line alone is the sentence that a step left, and is told whole.
    """
    lines = [line.rstrip() for line in log.splitlines() if line.strip()]
    lines = [line for line in lines if not _NOISE.fullmatch(line)]
    if len(lines) < 2:
        return "".join(lines)
    frames = [i for i, line in enumerate(lines) if line.startswith(("Traceback ", "  File "))]
    if frames:
        raised = (i for i in range(frames[-1] + 1, len(lines)) if not lines[i].startswith("    "))
        lines = lines[next(raised, -1) :]
    told = " / ".join(line.strip() for line in lines[-LINES:])
    return told if len(told) <= LONGEST else f"… {told[-LONGEST:]}"


def with_place(message: str, node: Json, bucket: str) -> str:
    """Argo's message that an artifact cannot be fetched, with the place that it was looked for."""
    keys = {
        one.get("name"): (one.get("s3") or {}).get("key")
        for one in (node.get("inputs") or {}).get("artifacts") or ()
    }

    def placed(found: re.Match[str]) -> str:
        key = keys.get(found[1])
        return f"{found[1]}, s3://{bucket}/{key}, cannot be read" if key else found[0]

    return _ARTIFACT.sub(placed, message)


def why(message: str, warning: str, limit: int | None = None) -> str:
    """A node's message in plain words, with Kubernetes' warning where Argo does not say why.

    `limit` is how many seconds its pod may take.
    """
    if warning and message == "timeout":
        return f"{GIVEN_UP}: {warning}"
    if warning and (message in SILENT or message.startswith(LATE)):
        return warning
    said = plain(message)
    return f"{said} ({duration(limit)})" if said == TOO_LONG and limit else said


def duration(seconds: float | None) -> str:
    """Seconds as 7s, 1m05s, 2h03m; "" for None."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def _when(event: Json) -> datetime:
    said = (
        (event.get("series") or {}).get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or (event.get("metadata") or {}).get("creationTimestamp")
    )
    return datetime.fromisoformat(said) if said else datetime.min.replace(tzinfo=UTC)
