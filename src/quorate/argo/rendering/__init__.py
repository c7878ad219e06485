"""The spec as a manifest: pure functions, without clock, network or environment.

In the order to read: `template` draws the whole DAG; `detectors` one detector at work on one
shard; `exits` what is told when a run starts and ends; `children` workflows for a range of shards
each, where one cannot hold all, and `sizing` how many it can hold; `pods` what all pods have in
common; `paths` where things lie in a pod and in the bucket; `artifacts` how they come and go;
`weights` which files of a detector come as artifacts; `parameters` what a run is asked;
`manifest` what is around the templates; `offline` the templates that need no ensemble;
`hera_extensions` fields of Argo that Hera does not know.
"""
