"""Talking to a cluster.

In the order to read: `rest` makes requests; `client` is what can be asked of a namespace, answered
by `client_server` (argo-server) or `client_kube` (the Kubernetes API); `connect` chooses between
them; `streams` reads several logs at the same time; `pools` are the nodes; `registry` says whether
an image can be pulled.
"""
