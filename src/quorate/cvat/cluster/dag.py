"""A run on a cluster for a task of CVAT: how it is started, and what it tells of the task."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import ValidationError

from quorate.argo.names import CVAT, ENSEMBLE
from quorate.argo.runs import submit
from quorate.argo.runs.submit import DATA, OUT, Submitted
from quorate.cvat.pictures import DRAWN
from quorate.cvat.task import Task
from quorate.errors import InputError, SpecError
from quorate.spec import EnsembleSpec
from quorate.spec.base import load_yaml
from quorate.storage import exists, is_s3, join, open_tree, s3

if TYPE_CHECKING:
    from quorate.argo.cluster.client import Cluster
    from quorate.argo.cluster.rest import Json

FORMAT = "dump-format"
CHECKPOINT = "cvat-finetune-checkpoint"
CLASSES, TASK = "cvat-num-classes", "cvat-task-id"
TASK_LABEL, JOB_LABEL = "cvat-task-id", "cvat-job-id"


class Origin(msgspec.Struct, frozen=True):
    """What a run was started for; the workflow bears it as an annotation.

    server  of CVAT
    place   such as 'task:12' or 'job:34'
    frames  ranges of them, as `quorate cvat run --frames` takes them; None: all
    data    where its pictures were handed over
    tracks  whether boxes shall be joined to tracks when they come back
    """

    server: str
    place: str
    frames: str | None = None
    data: str | None = None
    tracks: bool = False

    @classmethod
    def of(cls, workflow: Mapping[str, Any]) -> Origin:
        """What a workflow says of itself; InputError for one that was not started for CVAT."""
        metadata = workflow["metadata"]
        said = (metadata.get("annotations") or {}).get(CVAT)
        try:
            if said:
                return msgspec.json.decode(said, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        raise InputError(
            f"The run {metadata['name']} does not say for which task of CVAT it was started.",
            hint="name it: --task 12",
        )

    @property
    def bucket(self) -> str | None:
        """The bucket that its pictures were handed over in."""
        return s3.split(self.data)[0] if self.data else None


def parameters_of(template: Mapping[str, Any]) -> dict[str, str | None]:
    """The parameters of a template, or of a run, with their values; None for one without."""
    found = (template["spec"].get("arguments") or {}).get("parameters") or ()
    return {str(one["name"]): one.get("value", one.get("default")) for one in found}


def spec_of(template: Mapping[str, Any]) -> EnsembleSpec | None:
    """The ensemble of a template of ours, as far as it can be read here; None in others."""
    if ENSEMBLE not in (template["metadata"].get("labels") or {}):
        return None
    for one in template["spec"].get("templates") or ():
        for artifact in (one.get("inputs") or {}).get("artifacts") or ():
            text = (artifact.get("raw") or {}).get("data")
            if artifact["name"] == "spec" and text:
                # A kind of detector that is not installed here, or another version's field.
                with suppress(SpecError, ValidationError):
                    value = load_yaml(text, origin=template["metadata"]["name"])
                    return EnsembleSpec.parsed(value, context={"folder": Path("/")})
    return None


def check(template: Mapping[str, Any], parameters: Mapping[str, str], bucket: str) -> None:
    """Raise InputError for what keeps a template from being run for a task, before any work.

    A parameter that it does not have or cannot have that value; a checkpoint that is not in the
    bucket; no parameter that tells it of the task; names that would not be the task's.
    """
    known = parameters_of(template)
    if not {DATA, TASK} & known.keys():
        raise InputError(
            f"The template {template['metadata']['name']} knows no task: it has no parameter "
            f"{DATA}.",
            hint="templates for CVAT are labelled used-by=cvat",
        )
    spec = spec_of(template)
    if spec is not None and spec.publish.folder:
        raise InputError(
            f"The template {template['metadata']['name']} puts the folder '{spec.publish.folder}' "
            "before names, and what is handed over has the task's own.",
            hint="render it without `publish: {folder: …}`, or give the spec: --submit",
        )
    filled = {name: "" for name in (DATA, OUT, CLASSES, TASK) if name in known}
    submit.arguments(template, parameters=filled | dict(parameters))
    checkpoint = parameters.get(CHECKPOINT, known.get(CHECKPOINT) or "")
    if checkpoint:
        place = checkpoint if is_s3(checkpoint) else join(f"s3://{bucket}", checkpoint)
        if not exists(place) and not _folder(place):
            raise InputError(f"{CHECKPOINT}: {place}: there is no such file or folder.")


def _folder(place: str) -> bool:
    with open_tree(place) as tree:
        return any(True for _ in tree.names())


def start(
    cluster: Cluster,
    template: Json,
    task: Task,
    origin: Origin,
    *,
    parameters: Mapping[str, str] | None = None,
    applied: str = "",
) -> Submitted:
    """Start a run of a template for a task.

    What the template knows of `cvat-annotation-path`, `cvat-output-path`, `cvat-num-classes` and
    `cvat-task-id` is filled in, where `parameters` do not say it. The workflow is labelled
    `cvat-task-id` and `cvat-job-id`; this is the task's number too where no job was meant.

    Args:
        cluster: a namespace with Argo.
        template: as the cluster has it, or is just given it.
        task: the task, or the part of it that is meant.
        origin: the same as the run will tell it, with its pictures where the template asks.
        parameters: of the template.
        applied: what was done to the template, see `Submitted`.

    Raises:
        InputError: parameters that the template does not take.
        AccessError, ClusterError: the cluster refuses, or does not answer.
    """
    known = parameters_of(template)
    drawn = [label for label in task.labels if label.type in DRAWN]
    filled = {CLASSES: str(len(drawn)), TASK: str(task.id)}
    if origin.data is not None:
        key = s3.split(origin.data)[1]
        ours = ENSEMBLE in (template["metadata"].get("labels") or {})
        # Steps of ours read any bucket; Argo's artifacts name keys of its own one.
        filled[DATA] = origin.data if ours else key
        filled[OUT] = f"{key.removesuffix('/task.zip')}-results"
    given = {name: value for name, value in filled.items() if name in known}
    given |= parameters or {}
    return submit.start(
        cluster,
        template,
        submit.arguments(template, parameters=given),
        applied=applied,
        labels={TASK_LABEL: str(task.id), JOB_LABEL: origin.place.partition(":")[2]},
        annotations={CVAT: msgspec.json.encode(origin).decode()},
    )
