"""Runs as rows of a table, and the pods of their tasks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from quorate.argo.names import ENSEMBLE, PARENT
from quorate.argo.runs.outcome import degraded
from quorate.argo.runs.reasons import duration
from quorate.argo.runs.tree import tree
from quorate.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from quorate.argo.cluster.client import Cluster


def rows(
    cluster: Cluster, *, ensemble: str | None = None, everything: bool = False
) -> list[dict[str, Any]]:
    """The runs of the namespace, newest first.

    Without `everything` only those of rendered templates, and not the children of large runs.
    """
    wanted = [f"{ENSEMBLE}={ensemble}"] if ensemble else [] if everything else [ENSEMBLE]
    selector = ",".join(wanted if everything else [*wanted, f"!{PARENT}"])
    now = datetime.now(UTC)
    return [_row(workflow, now) for workflow in cluster.workflows(selector)]


def _row(workflow: Mapping[str, Any], now: datetime) -> dict[str, Any]:
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
        "message": branch.message,
    }


def pods_of(workflow: Mapping[str, Any], task: str | None) -> dict[str, str]:
    """The pods of a run, or of one task of it, and each pod's task.

    Raises InputError for an unknown task.
    """
    found = [(path, one) for path, one in tree(workflow).paths() if one.pods]
    if task is not None:
        names = [path for path, _ in found] + [one.label for _, one in found]
        found = [(path, one) for path, one in found if task in (path, one.label)]
        if not found:
            known = ", ".join(dict.fromkeys(names[len(names) // 2 :])) or "none with a pod"
            raise InputError(
                f"The run {workflow['metadata']['name']} has no task '{task}'.",
                hint=did_you_mean(task, names) or f"there are {known}",
            )
    return {pod: path for path, one in found for pod in one.pods}
