"""Which way leads to the cluster."""

from __future__ import annotations

import os

from quorate.argo.cluster.client import Cluster
from quorate.argo.cluster.client_kube import Kube
from quorate.argo.cluster.client_server import ArgoServer


def connect(*, server: str | None = None, namespace: str | None = None) -> Cluster:
    """The way to the cluster: argo-server where one is named, else the kubeconfig.

    Args:
        server: argo-server as HOST:PORT or URL; default ARGO_SERVER.
        namespace: default ARGO_NAMESPACE, else that of the kubeconfig's context.

    Raises:
        AccessError: there is neither.
        MissingExtraError: reading the kubeconfig needs the package `kubernetes`.
    """
    known = {"-n": os.environ.get("ARGO_NAMESPACE"), "--server": os.environ.get("ARGO_SERVER")}
    given = {"-n": namespace, "--server": server}
    further = {key: value for key, value in given.items() if value and value != known[key]}
    server, namespace = server or known["--server"], namespace or known["-n"]
    cluster: Cluster
    if server:
        cluster = ArgoServer.at(server, namespace=namespace)
    else:
        cluster = Kube.of_kubeconfig(namespace=namespace)
    cluster.options = "".join(f" {key} {value}" for key, value in further.items())
    return cluster
