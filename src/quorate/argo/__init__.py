"""Argo Workflows: an ensemble as a WorkflowTemplate, and what is asked of a cluster.

From the spec to the manifest, in the order to read; all pure functions:

    render.py        the door: nothing behind it, Hera neither, is imported before it is needed
    template.py      the whole DAG, drawn; prepare, the shards, fuse, publish
    detectors.py     one detector at work on one shard, and its tries
    exits.py         what is told when a run starts and ends
    children.py      workflows for a range of shards each, where one cannot hold all
    sizing.py        how many it can hold
    pods.py          what all pods have in common: image, rights, retries, pool
    places.py        where things lie, in a pod and in the bucket
    artifacts.py     how they come and go
    weights.py       which files of a detector come as artifacts
    parameters.py    what a run is asked: Argo's form, the bridge to CVAT
    manifest.py      what is around the templates of every manifest
    newer.py         fields of Argo that Hera does not know
    names.py         names that templates, the chart and the commands agree on
    offline.py       the templates that need no ensemble

Starting and seeing runs:

    client.py        a cluster's namespace: client_server.py by argo-server, client_kube.py by a
                     kubeconfig; own.py is what a pod sees of its own workflow; rest.py below all
    submit.py        render, apply, create; upload.py takes local files along
    tree.py          a workflow's nodes as a person sees them
    reasons.py       why a pod waits or failed, in words, and what to do about it
    watch.py         the tree while it changes
    runs.py          runs as a table; results.py what they left

Before anything runs:

    doctor.py        what would be in the way: doctor_namespace.py, doctor_spec.py
    pools.py         the nodes there are, and which pools of a spec fit them
    registry.py      whether a registry has an image
"""
