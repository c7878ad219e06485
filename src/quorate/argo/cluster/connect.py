"""Which way leads to the cluster."""

from __future__ import annotations

import os

from quorate.argo.cluster.client import WITHOUT_SERVER, Cluster
from quorate.errors import AccessError


def connect(*, server: str | None = None, namespace: str | None = None) -> Cluster:
    """The way to the cluster: argo-server where one is named, else the kubeconfig.

    Args:
        server: argo-server as HOST:PORT or URL; default ARGO_SERVER.
        namespace: default ARGO_NAMESPACE, else that of the kubeconfig's context.

    Raises:
        AccessError: there is neither.
        MissingExtraError: reading the kubeconfig needs the package `kubernetes`.
    """
    given = (("-n", namespace, "ARGO_NAMESPACE"), ("--server", server, "ARGO_SERVER"))
    cluster = _way(
        server or os.environ.get("ARGO_SERVER"), namespace or os.environ.get("ARGO_NAMESPACE")
    )
    cluster.options = "".join(
        f" {option} {value}"
        for option, value, variable in given
        if value and value != os.environ.get(variable)
    )
    return cluster


def _way(server: str | None, namespace: str | None) -> Cluster:
    if server:
        from quorate.argo.cluster.client_server import ArgoServer

        return ArgoServer.at(server, namespace=namespace)
    from quorate.argo.cluster.client_kube import Kube

    try:
        return Kube.of_kubeconfig(namespace=namespace)
    except AccessError as error:
        hint = error.hint or f"export KUBECONFIG, or {WITHOUT_SERVER}"
        raise AccessError(error.message, hint=hint) from None
