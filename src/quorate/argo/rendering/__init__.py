"""The spec as a manifest: pure functions, without clock, network or environment.

In the order to read: `template` is the whole DAG; `detectors` one detector on one shard; `one_pod`
all of a small run; `exits` tells how a run starts and ends; `children` are workflows for a range of
shards each, where one cannot hold all; `pods` is what all pods share; `files` says where files are
in a pod and in the bucket, and how they get there; `manifest` what surrounds the templates, and
what a run can be given; `training` is the DAG of a training; `offline` the templates without an
ensemble.
"""
