"""The whole way over a cluster: a task's pictures to its pods, and their boxes into the task."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quorate.argo.runs.submit import DATA, Submitted, rendered, template_of
from quorate.argo.runs.upload import bucket_of, uploaded
from quorate.argo.runs.watch import Show, check, follow
from quorate.cvat.client import Client
from quorate.cvat.cluster import dag
from quorate.cvat.cluster.bringing_back import bring_back
from quorate.cvat.cluster.dag import FORMAT, Origin
from quorate.cvat.cluster.handing_over import hand_over
from quorate.cvat.publishing.publish import Published
from quorate.cvat.run import fitting
from quorate.cvat.task import Place, Task, tasks
from quorate.ensemble import DetectionEnsemble
from quorate.errors import InputError
from quorate.progress import Progress, silent
from quorate.spec import EnsembleSpec
from quorate.storage import is_s3, s3

if TYPE_CHECKING:
    from quorate.argo.cluster.client import Cluster
    from quorate.argo.cluster.rest import Json

FOLDER = "cvat"
"""Where tasks are handed over in the cluster's bucket, by default."""


@dataclass(frozen=True)
class OnCluster:
    """How a task is annotated on a cluster.

    cluster        a namespace with Argo, of `quorate.argo.cluster.connect`
    to             where pictures are handed over, such as s3://bucket/cvat; default: `cvat` in the
                   spec's `workflow: {bucket: …}`, else in QUORATE_BUCKET
    parameters     of the template, as of `quorate submit -p`; with `dump-format` CVAT exports in
                   that format
    cloud_storage  the number that CVAT knows the bucket by, for CVAT to write there itself
    upload         put weights that lie here into the bucket first
    """

    cluster: Cluster
    to: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    cloud_storage: int | None = None
    upload: bool = False


def submit(
    place: str | Place,
    what: DetectionEnsemble | str,
    on: OnCluster,
    *,
    client: Client | None = None,
    frames: str | None = None,
    add_labels: bool = False,
    tracks: bool = False,
    progress: Progress = silent,
    done: list[Submitted] | None = None,
    left: list[str] | None = None,
) -> list[Submitted]:
    """Start a run on a cluster for a task, a job, or each task of a project; one run a task.

    Args:
        place: such as 12, 'job:34', 'project:5', or an address in CVAT.
        what: an ensemble, whose `data` is not used; or the name of a template of the cluster.
        on: where and how it runs.
        client: default: of the place's address and the environment, see `Client.connect`.
        frames: ranges such as '0-99,150' of a task's frames, as the API numbers them.
        add_labels: as for `annotate`; with an ensemble, or a template that was rendered of one.
        tracks: as for `annotate`, when the boxes come back.
        progress: told how far the pictures' way is.
        done: a list that has the runs of a project that are started, where an error ends it; it is
            returned.
        left: where it is given, tasks of a project that cannot be annotated do not keep the others
            from it: why they are left out is added here.

    Raises:
        LabelError: labels that do not fit, before any work.
        SpecError, InputError: what could not run there, before any work.
        AccessError, ServerError, StorageError, ClusterError: CVAT, the store or the cluster
            refuses, or does not answer.
    """
    place = Place.parse(place) if isinstance(place, str) else place
    client = client or Client.connect(place.server)
    to, ensemble, template = _planned(what, on, progress)
    spec = ensemble or dag.spec_of(template)
    if add_labels and spec is None:
        raise InputError(f"--add-labels: the template {what} does not say which it needs.")
    runs = [] if done is None else done
    known = dag.parameters_of(template)
    applied = ""
    for task in tasks(client, place, frames, left, videos=tracks):
        task = fitting(client, task, spec, add_labels=add_labels)
        data = None
        if DATA in known:
            data = hand_over(
                client,
                task,
                to,
                dump_format=on.parameters.get(FORMAT, known.get(FORMAT)),
                cloud_storage=on.cloud_storage,
                progress=progress,
            ).location
        if ensemble is not None:
            applied = "unchanged" if applied else on.cluster.apply(template)
        origin = Origin(
            client.server,
            f"job:{place.id}" if place.what == "job" else f"task:{task.id}",
            frames,
            data,
            tracks,
        )
        parameters = on.parameters
        runs.append(
            dag.start(on.cluster, template, task, origin, parameters=parameters, applied=applied)
        )
    return runs


def _planned(
    what: DetectionEnsemble | str, on: OnCluster, progress: Progress
) -> tuple[str, EnsembleSpec | None, Json]:
    """Where pictures go, the ensemble if it is one, the template; what cannot run is refused."""
    ensemble: EnsembleSpec | None = None
    if not isinstance(what, str):
        # What is handed over has the task's own names.
        publish = what.publish.model_copy(update={"folder": ""})
        ensemble = what.model_copy(update={"data": None, "publish": publish})
    bucket = s3.split(on.to)[0] if on.to and is_s3(on.to) else None
    if bucket is None:
        bucket = bucket_of(ensemble) if ensemble else os.environ.get("QUORATE_BUCKET")
    if not bucket:
        raise InputError(
            "The cluster's bucket must be known.", hint="--to s3://BUCKET/cvat, or QUORATE_BUCKET"
        )
    if ensemble is None:
        template = template_of(on.cluster, str(what))
    else:
        ensemble = uploaded(ensemble, None, bucket, progress=progress) if on.upload else ensemble
        template = rendered(ensemble)
    dag.check(template, on.parameters, bucket)
    return on.to or f"s3://{bucket}/{FOLDER}", ensemble, template


def import_run(
    cluster: Cluster,
    run: str,
    *,
    client: Client | None = None,
    place: Place | None = None,
    replace: bool = False,
    show: Show = lambda branch: None,
    progress: Progress = silent,
) -> tuple[Client, Task, Published]:
    """Wait until a run has ended, and bring what it decided into its task.

    Returns who asked CVAT, the task and what became of the shapes.

    Args:
        cluster: where it runs.
        run: the workflow's name.
        client: default: of the environment; it must be the server that the run was started for.
        place: the task or job, where the run does not say it.
        replace: as for `annotate`.
        show: shown the run whenever it changes.
        progress: told how many shapes are created.

    Raises:
        WorkflowError: the run failed; the sentence says why.
        InputError, LabelError, AccessError, ServerError, StorageError, BusyError: see
            `bring_back`.
    """
    workflow = cluster.workflow(run)
    origin = Origin("", str(place)) if place else Origin.of(workflow)
    client = client or Client.connect()  # never what a workflow says: that may lead anywhere
    if origin.server not in ("", client.server):
        raise InputError(
            f"The run {run} was started for {origin.server}, and the results would go to "
            f"{client.server}.",
            hint="name the task if they shall: --task 12",
        )
    workflow, branch = follow(cluster, run, show)
    check(branch, cluster.options)
    task = next(tasks(client, place or Place.parse(origin.place))).only(origin.frames)
    published = bring_back(
        client,
        task,
        workflow,
        bucket=origin.bucket or os.environ.get("QUORATE_BUCKET"),
        replace=replace,
        tracks=origin.tracks,
        progress=progress,
    )
    return client, task, published
