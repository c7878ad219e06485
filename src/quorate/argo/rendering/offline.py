"""Templates that need no ensemble: one pod each, over files that are in S3 already."""

from __future__ import annotations

from hera.workflows import Parameter

from quorate.argo.rendering import files, overlay, pods
from quorate.argo.rendering.manifest import GIVEN, METHODS, Template, manifest, output_path
from quorate.spec import WorkflowSettings

RESULTS = Parameter(
    name="results",
    value="s3://BUCKET/results/*.json",
    description="The detections, one file for each detector: COCO results (.json, .json.gz), "
    ".parquet, a VOC or YOLO folder or CVAT XML in S3. A pattern with * finds all that match.",
)
LABELS = Parameter(
    name="labels",
    value="",
    description="What files mean by their categories, FILE=WHAT with ; between several: "
    "yolo.json=1:person,2:car;detr.json=s3://BUCKET/names.txt. Else leave it empty.",
)


def fuse_files(settings: WorkflowSettings) -> Template:
    """`quorate fuse` in a pod: the results of several detectors to one."""
    command = ["quorate", "fuse", GIVEN % "results", "--out", f"{files.RESULTS}/fused.json"]
    command += ["--method", GIVEN % "ensemble-option", "--iou", GIVEN % "iou"]
    command += ["--min-score", GIVEN % "min-score", "--images", GIVEN % "images"]
    command += ["--labels", GIVEN % "labels"]
    return _one(
        settings,
        "fuse-files",
        command,
        title="Fuse files of detections",
        description="Fuses the detections of several detectors, found in S3, to one COCO results "
        "file. No detector runs.",
        arguments=[
            RESULTS,
            Parameter(
                name="images",
                value="",
                description="The data set whose pictures and labels are meant, in S3: needed "
                "where the files do not agree on their numbers; else leave it empty.",
            ),
            LABELS,
            Parameter(
                name="ensemble-option",
                value="wbf",
                enum=[*METHODS, "nms", "soft_nms", "nmw", "nmm"],
                description="Which boxes count: those of any detector (affirmative), of more than "
                "half (consensus), of all (unanimous), or weighted boxes fusion (wbf) and its kin.",
            ),
            Parameter(name="iou", value="0.55", description="Boxes overlap above this IoU."),
            Parameter(
                name="min-score",
                value="0",
                description="Boxes that score less take no part, from 0 to 1.",
            ),
        ],
    )


def evaluate(settings: WorkflowSettings) -> Template:
    """`quorate evaluate` in a pod: COCO metrics of files of detections."""
    command = ["quorate", "evaluate", GIVEN % "results", "--truth", GIVEN % "truth"]
    command += ["--labels", GIVEN % "labels"]
    return _one(
        settings,
        "evaluate",
        [*command, "--per-category", "--out", f"{files.RESULTS}/metrics.json"],
        title="Evaluate detections",
        description="Measures files of detections in S3 against an annotated data set: COCO's AP "
        "and its kin, for each file and each label.",
        arguments=[
            RESULTS,
            Parameter(
                name="truth",
                value="s3://BUCKET/data/",
                description="The annotated data set in S3: COCO, CVAT, VOC or YOLO, a folder or a "
                "ZIP archive.",
            ),
            LABELS,
        ],
    )


def _one(
    settings: WorkflowSettings,
    name: str,
    command: list[str],
    *,
    title: str,
    description: str,
    arguments: list[Parameter],
) -> Template:
    pod = pods.container(
        settings,
        name,
        command,
        pods.Run(settings.images.cpu, size=overlay.LARGE),
        outputs=[files.left("results", "results/", run=files.PREFIX)],
    )
    return manifest(
        settings,
        name,
        title=title,
        description=description,
        entrypoint=name,
        arguments=[*arguments, output_path()],
        templates=[pod],
    )
