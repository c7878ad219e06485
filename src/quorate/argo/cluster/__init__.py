"""Talking to a cluster.

In the order to read: `client` is what can be asked of a namespace, answered by `client_server`
(argo-server) or `client_kube` (a kubeconfig), both on `rest`; `this_workflow` is what a pod sees
of its own workflow; `pools` the nodes there are; `registry` whether a registry has an image.
"""
