"""The spec as a manifest: pure functions, without clock, network or environment.

In the order to read: `template` is the whole DAG; `detectors` one detector on one shard; `exits`
tells how a run starts and ends; `children` are workflows for a range of shards each, where one
cannot hold all, and `sizing` says how many it can hold; `pods` is what all pods share; `paths` and
`artifacts` say where files are in a pod and in the bucket, and how they get there; `weights` which
files of a detector are artifacts; `parameters` what a run can be given; `manifest` what surrounds
the templates; `offline` the templates without an ensemble; `hera_extensions` what Hera lacks.
"""
