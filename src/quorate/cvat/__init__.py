"""A CVAT server and ensembles.

Annotating a task from here: read `client` (how the server is asked), `task` (what a task, job or
project holds), `pictures` (its frames as a data set), the room `publishing` (boxes into the task),
and `run`, which does it all. The room `cluster` does the same on Argo Workflows.

Where CVAT asks: `functions` is an ensemble as a function of CVAT's; `nuclio` serves such functions
to CVAT's dialog, `auto_annotation` gives them to CVAT's own SDK and command line (`function` is the
module to name).

What is said of servers here was seen on CVAT 2.15 to 2.73, or read in their public source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate import lazily

_HOMES = {
    "auto_annotation": ("DetectionFunction", "detection_function"),
    "client": ("Client",),
    "cluster.on_cluster": ("OnCluster", "import_run", "submit"),
    "publishing.publish": ("Published",),
    "run": ("Annotated", "annotate", "undo"),
}

__all__ = [
    "Annotated",
    "Client",
    "DetectionFunction",
    "OnCluster",
    "Published",
    "annotate",
    "detection_function",
    "import_run",
    "submit",
    "undo",
]

if TYPE_CHECKING:
    from quorate.cvat.auto_annotation import DetectionFunction, detection_function
    from quorate.cvat.client import Client
    from quorate.cvat.cluster.on_cluster import OnCluster, import_run, submit
    from quorate.cvat.publishing.publish import Published
    from quorate.cvat.run import Annotated, annotate, undo


__getattr__ = lazily(__name__, _HOMES)
