"""Runs as rows of a table, and what they left."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from quorate.argo.names import ENSEMBLE, PARENT, RESULTS
from quorate.argo.runs.family import phases
from quorate.argo.runs.reasons import duration
from quorate.argo.runs.tree import tree
from quorate.storage import exists, join, read_bytes

if TYPE_CHECKING:
    from quorate.argo.cluster.client import Cluster
    from quorate.argo.cluster.rest import Json
    from quorate.steps import ClassSummary, Summary


def rows(
    cluster: Cluster, *, ensemble: str | None = None, everything: bool = False
) -> list[dict[str, Any]]:
    """The runs of the namespace, newest first.

    Without `everything` only those of rendered templates; the children of large runs are counted
    beside their run.
    """
    wanted = [f"{ENSEMBLE}={ensemble}"] if ensemble else [] if everything else [ENSEMBLE]
    selector = ",".join(wanted if everything else [*wanted, f"!{PARENT}"])
    now = datetime.now(UTC)
    found = cluster.workflows(selector)
    children = phases(cluster) if found else {}
    return [_row(one, now, children.get(one["metadata"]["name"])) for one in found]


def _row(
    workflow: Mapping[str, Any], now: datetime, children: Mapping[str, int] | None
) -> dict[str, Any]:
    metadata, status = workflow["metadata"], workflow.get("status") or {}
    # A workflow gets the labels of its template only when the controller has seen it.
    reference = (workflow["spec"].get("workflowTemplateRef") or {}).get("name", "")
    branch = tree({"metadata": metadata, "status": {**status, "nodes": None}})
    return {
        "name": metadata["name"],
        "ensemble": (metadata.get("labels") or {}).get(ENSEMBLE, reference),
        "phase": branch.phase + (" (degraded)" if degraded(workflow) else ""),
        "started": status.get("startedAt") or metadata["creationTimestamp"],
        "took": duration(branch.seconds(now)),
        "children": children and ", ".join(f"{n} {phase.lower()}" for phase, n in children.items()),
        "message": branch.message,
    }


def place(workflow: Mapping[str, Any]) -> str | None:
    """The S3 prefix that publish wrote to; None before it has."""
    found = next((where for name, where in left(workflow) if name == RESULTS), None)
    return found and found.rstrip("/") + "/"


def left(workflow: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the steps of a run that ended well left in S3, the last first: names and locations.

    Logs are not among it.
    """
    status = workflow.get("status") or {}
    repository = (status.get("artifactRepositoryRef") or {}).get("artifactRepository") or {}
    own = (repository.get("s3") or {}).get("bucket")
    nodes = list((status.get("nodes") or {}).values())
    nodes.sort(key=lambda node: str(node.get("finishedAt") or ""), reverse=True)
    found: dict[tuple[str, str], None] = {}
    for node in nodes:
        for artifact in (node.get("outputs") or {}).get("artifacts") or ():
            s3, name = artifact.get("s3") or {}, str(artifact["name"])
            bucket = s3.get("bucket") or own
            if name.endswith("-logs") or not (s3.get("key") and bucket):
                continue
            if node.get("phase") == "Succeeded":
                found[name, f"s3://{bucket}/{s3['key']}"] = None
    return list(found)


def degraded(workflow: Mapping[str, Any]) -> bool:
    """Whether the run ended well without one of its detectors."""
    outputs = (workflow.get("status") or {}).get("outputs") or {}
    said = {str(one["name"]): one.get("value") for one in outputs.get("parameters") or ()}
    return said.get("degraded") == "true"


def summary(results: str) -> Summary | ClassSummary:
    """The summary of a run, its files by their places in S3.

    Raises InputError where the summary does not exist or may not be read from here, StorageError
    where S3 does not answer.
    """
    from quorate.steps.summary import summary_of

    return summary_of(read_bytes(join(results, "summary.json"))).at(results)


def trained(results: str) -> Json | None:
    """What `results.json` of a training says; None for a run that is none. Raises as `summary`."""
    place = join(results, "results.json")
    if not exists(place):
        return None
    found: Json = msgspec.json.decode(read_bytes(place))
    return found
