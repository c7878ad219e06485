"""Where things lie: in a pod, and in the bucket that the artifact repository names.

    PREFIX/work/…          the work folder (`steps/work.py`), file by file
    PREFIX/results/…       what publish wrote
    PREFIX/checkpoints/…   finished parts of detectors that are still at work

A path below /scratch is the same as the key below PREFIX, so each step finds the work folder as
on one machine. PREFIX is {namespace}/{cvat-output-path}/{name of the workflow}.
"""

from __future__ import annotations

PREFIX = "{{workflow.namespace}}/{{workflow.parameters.cvat-output-path}}/{{workflow.name}}"
"""Of the workflow that a person started; its children get it as the parameter `run`."""
RUN = "{{inputs.parameters.run}}"
"""The same, inside a template that a child may run as well."""
SHARD = "{{inputs.parameters.shard}}"

SCRATCH = "/scratch"
WORK = f"{SCRATCH}/work"
RESULTS = f"{SCRATCH}/results"
GIVEN = f"{SCRATCH}/spec.yaml"
"""The spec as it was rendered; prepare resolves it into the work folder."""
RESOLVED = f"{WORK}/spec.yaml"
GIT = f"{SCRATCH}/git"
IMAGES = f"{SCRATCH}/images"


def of_shard(inside: str = "") -> str:
    """A place of the shard at work, below the work folder."""
    return f"shards/{SHARD}/{inside}"


def detections(detector: str) -> str:
    """Where a detector leaves its boxes of the shard at work, below the work folder."""
    return of_shard(f"detections/{detector}")


def weights(detector: str, location: str) -> str:
    """Where a file of a detector lies in its pod."""
    return f"{SCRATCH}/weights/{detector}/{location.rstrip('/').rpartition('/')[2]}"
