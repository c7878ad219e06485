"""Where a run on the cluster left its results, and its summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from quorate.argo.names import RESULTS
from quorate.storage import join, read_bytes

if TYPE_CHECKING:
    from quorate.steps import Summary


def place(workflow: Mapping[str, Any]) -> str | None:
    """The S3 prefix that publish wrote to; None before it has."""
    status = workflow.get("status") or {}
    repository = (status.get("artifactRepositoryRef") or {}).get("artifactRepository") or {}
    for node in (status.get("nodes") or {}).values():
        for artifact in (node.get("outputs") or {}).get("artifacts") or ():
            s3 = artifact.get("s3") or {}
            if node.get("phase") == "Succeeded" and artifact["name"] == RESULTS and s3.get("key"):
                bucket = s3.get("bucket") or (repository.get("s3") or {}).get("bucket")
                return f"s3://{bucket}/{s3['key'].rstrip('/')}/" if bucket else None
    return None


def degraded(workflow: Mapping[str, Any]) -> bool:
    """Whether the run ended well without one of its detectors."""
    outputs = (workflow.get("status") or {}).get("outputs") or {}
    said = {str(one["name"]): one.get("value") for one in outputs.get("parameters") or ()}
    return said.get("degraded") == "true"


def summary(results: str) -> Summary:
    """The summary of a run, its files by their places in S3.

    Raises InputError where the summary does not exist or may not be read from here, StorageError
    where S3 does not answer.
    """
    import msgspec

    from quorate.steps import Summary

    return msgspec.json.decode(read_bytes(join(results, "summary.json")), type=Summary).at(results)
