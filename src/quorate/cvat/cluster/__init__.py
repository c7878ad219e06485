"""A task of CVAT annotated on a cluster.

Read `exporting` and `handing_over` (pictures to where pods read them), `dag` (a run for a task),
`bringing_back` (its results into the task), and `on_cluster`, which does it all.
"""
