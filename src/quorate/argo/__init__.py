"""Argo Workflows: an ensemble or a training as a WorkflowTemplate, and what is asked of a cluster.

render.py     the door: nothing behind it, Hera neither, is imported before it is needed
names.py      names that templates, the chart and the commands agree on
rendering/    the spec as a manifest
cluster/      talking to a cluster
runs/         starting runs, and seeing how they go
doctor/       what would be in the way of a run
"""
