"""The parameters of a rendered ensemble: what Argo's form asks, and a bridge to CVAT fills.

The form shows them in this order, each name as it stands, an enum as a list to choose from and a
description as a tooltip.
"""

from __future__ import annotations

from hera.workflows import Parameter

from quorate.spec import EnsembleSpec

GIVEN = "{{workflow.parameters.%s}}"
"""What a run was given for a parameter."""
METHODS = ("affirmative", "consensus", "unanimous", "wbf")
"""Methods that need nothing but their name; the spec's own joins them."""
DUMPS = (
    "CVAT for images 1.1",
    "COCO 1.0",
    "Datumaro 1.0",
    "PASCAL VOC 1.1",
    "YOLO 1.1",
    "Ultralytics YOLO Detection 1.0",
)
"""CVAT's names of the formats that `prepare` reads; it finds out which it was given."""


def output_path() -> Parameter:
    """Where results go."""
    return Parameter(
        name="cvat-output-path",
        value="quorate",
        description="The folder of the cluster's bucket that results are put in, below the "
        "namespace: NAMESPACE/THIS/NAME OF THE RUN/results/.",
    )


def parameters(ensemble: EnsembleSpec) -> list[Parameter]:
    """The arguments of the workflow, each with a default where there can be one."""
    data = ensemble.data if ensemble.data and ensemble.data.startswith("s3://") else None
    own = ensemble.fusion.method
    size = ensemble.workflow.shard_size
    pictures = Parameter(
        name="cvat-annotation-path",
        description="The pictures: a folder of pictures, a COCO or CVAT data set, or a ZIP "
        "archive; s3://BUCKET/KEY, or a key in the cluster's own bucket.",
    )
    if data:  # given None, Hera would write the word null
        pictures.value = data
    return [
        pictures,
        output_path(),
        Parameter(
            name="dump-format",
            value=DUMPS[0],
            enum=list(DUMPS),
            description="The format that CVAT exports the task in, with its pictures. Data that "
            "is there already may be of any of these.",
        ),
        Parameter(
            name="ensemble-option",
            value=own,
            enum=list(dict.fromkeys((*METHODS, own))),
            description="Which boxes count: those of any detector (affirmative), of more than half "
            "(consensus), of all (unanimous), or weighted boxes fusion (wbf).",
        ),
        Parameter(
            name="shard-size",
            value="auto" if size is None else str(size),
            description="Pictures of each shard: the pictures that one pod of a detector looks "
            "at. auto chooses from their number.",
        ),
    ]
