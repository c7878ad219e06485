"""A workflow as a pod of its own sees it, with the rights of the pod's service account.

Needs neither the package `kubernetes` nor a kubeconfig, which the images do not have.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from quorate.argo.cluster.client import unpacked
from quorate.argo.cluster.rest import Json, Rest
from quorate.argo.runs.reasons import warnings
from quorate.argo.runs.tree import FAILED, failure, tree

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts the account's token, and the certificate of who signs the API server's."""


class OwnWorkflow:
    """One workflow: read it, ask why its pods waited or failed, label it."""

    def __init__(self, rest: Rest, namespace: str, name: str) -> None:
        self._rest = rest
        self._path = f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/workflows/{name}"
        self._events = f"/api/v1/namespaces/{namespace}/events"
        self._name = name

    @classmethod
    def of_pod(cls, namespace: str, name: str, *, account: Path | None = None) -> Self | None:
        """From inside a pod; None elsewhere, and where the pod has no token."""
        account = account or ACCOUNT
        host, token = os.environ.get("KUBERNETES_SERVICE_HOST"), account / "token"
        if not host or not token.exists():
            return None
        import urllib3

        port = os.environ.get("KUBERNETES_SERVICE_PORT_HTTPS", "443")
        address = f"https://{f'[{host}]' if ':' in host else host}:{port}"
        pool = urllib3.PoolManager(ca_certs=str(account / "ca.crt"))
        # Read anew each time: a token is valid for an hour and replaced before.
        rest = Rest(
            pool,
            address,
            authorization=lambda: f"Bearer {token.read_text(encoding='utf-8').strip()}",
            where="the cluster's API server",
            renew="does the pod's service account still exist?",
        )
        return cls(rest, namespace, name)

    def read(self) -> Json:
        """The workflow, its nodes unpacked; errors as those of `Rest`."""
        return unpacked(self._rest("GET", self._path))

    def warnings(self) -> dict[str, str]:
        """What Kubernetes last complained of, for each pod of the workflow that it did."""
        query = {"fieldSelector": "involvedObject.kind=Pod"}
        found = self._rest("GET", self._events, query=query).get("items") or []
        return warnings(found, self._name)

    def reasons(self, shard: int) -> dict[str, str]:
        """Why detectors failed on a shard, by name, in the words of `quorate status`."""
        found = {}
        for path, one in tree(self.read(), self.warnings()).paths():
            task, _, detector = path.partition("/detect-")
            if task == f"shard {shard:05d}" and "/" not in detector and one.phase in FAILED:
                _, found[detector] = failure(one)
        return {detector: said for detector, said in found.items() if said}

    def label(self, name: str, value: str) -> None:
        """Set one label; errors as those of `Rest`."""
        self._rest("PATCH", self._path, {"metadata": {"labels": {name: value}}})
