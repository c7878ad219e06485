"""Starting a run on the cluster: of an ensemble, or of a template that is there already."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from glob import has_magic, iglob
from typing import TYPE_CHECKING, Any

from quorate.argo.cluster.changes import digest
from quorate.argo.names import DIGEST
from quorate.argo.runs.upload import plan_uploaded
from quorate.errors import ClusterError, InputError, SpecError, did_you_mean
from quorate.progress import Progress, silent
from quorate.spec import Ensemble
from quorate.spec.training import Training
from quorate.storage import is_s3

if TYPE_CHECKING:
    from quorate.argo.cluster.client import Cluster
    from quorate.argo.cluster.rest import Json

DATA, OUT = "cvat-annotation-path", "cvat-output-path"
OF_TEMPLATE = "workflows.argoproj.io/workflow-template"
"""The label by which Argo's user interface finds a template's workflows."""
_PATH = re.compile(r"[/~\\]|\.\.?(?:[/\\]|$)|[A-Za-z]:[/\\]|[a-z]+://", re.IGNORECASE)
"""How a path of a machine begins, or an address, but never a key of a bucket."""
BEGUN = 10.0
"""Seconds to wait until a controller starts a workflow."""


@dataclass(frozen=True)
class Submitted:
    """A run that the cluster accepted: its name and namespace, and its template.

    applied   what was done to the template: created, updated, unchanged; "" for another's
    """

    name: str
    namespace: str
    template: str
    applied: str = ""


def submit(
    plan: Ensemble | Training,
    cluster: Cluster,
    *,
    data: str | None = None,
    out: str | None = None,
    parameters: Mapping[str, str] | None = None,
    upload: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Submitted:
    """Render an ensemble or a training, create or update its template, and start a run of it.

    Arguments and errors are those of `DetectionEnsemble.submit`.
    """
    if upload:
        plan = plan_uploaded(plan, data, progress=progress or silent)
        data = None
    elif data is None and plan.data and not is_s3(plan.data):
        data = plan.data
    _refuse_local(data)
    template = rendered(plan)
    given = arguments(template, data=data, out=out, parameters=parameters)
    applied = cluster.apply(template, overwrite=overwrite)
    return start(cluster, template, given, applied=applied)


def submit_from(cluster: Cluster, template: str, **given: Any) -> Submitted:
    """Start a run of a template that the cluster has; `given` are those of `arguments`."""
    found = template_of(cluster, template)
    return start(cluster, found, arguments(found, **given))


def template_of(cluster: Cluster, template: str) -> Json:
    """A template that the cluster has; InputError with the names of those that it has."""
    try:
        return cluster.template(template)
    except InputError as error:
        names = [str(one["metadata"]["name"]) for one in cluster.templates()]
        known = f"there are {', '.join(names)}" if names else "there is none"
        raise InputError(
            f"{cluster.where}: no WorkflowTemplate is called '{template}'.",
            hint=did_you_mean(template, names) or known,
        ) from error


def _refuse_local(data: str | None) -> None:
    """SpecError for data that is on this machine, or that only a path of some machine can be."""
    if data is None or is_s3(data):
        return
    here = os.path.exists(data) or (has_magic(data) and any(iglob(data)))
    if here or _PATH.match(data):
        raise SpecError(
            f"data: {data} is on {'this' if here else 'some'} machine, where no pod can read it.",
            hint="--upload puts a folder or a ZIP archive into the cluster's bucket; or give "
            "s3://BUCKET/KEY, or a key of that bucket",
        )


def rendered(plan: Ensemble | Training) -> Json:
    """The WorkflowTemplate as JSON, with a digest of itself for its workflows."""
    from quorate.argo.render import workflow_template

    return _marked(workflow_template(plan).to_dict())


def arguments(
    template: Mapping[str, Any],
    *,
    data: str | None = None,
    out: str | None = None,
    parameters: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The parameters of a run, checked against those of its template.

    Raises InputError for one that the template does not have, one outside its enum, one given
    twice, and one that has no default and is not given; SpecError for data on this machine.
    """
    given = dict(parameters or {})
    for name, value, option in ((DATA, data, "--data"), (OUT, out, "--out")):
        if value is not None and name in given:
            raise InputError(f"{option} and -p {name}=… say the same thing: give one of them.")
        given |= {} if value is None else {name: value}
    _refuse_local(given.get(DATA))
    if is_s3(given.get(OUT, "")):
        said = f"{given[OUT]}: results go into the cluster's own bucket."
        raise InputError(said, hint="give a folder in it: --out NAME")
    listed = (template["spec"].get("arguments") or {}).get("parameters") or ()
    known = {str(one["name"]): one for one in listed}
    name = template["metadata"]["name"]
    for key, value in given.items():
        if key not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise InputError(
                f"The template {name} has no parameter '{key}'.",
                hint=did_you_mean(key, known) or has,
            )
        choices = known[key].get("enum")
        if choices and value not in choices:
            near = did_you_mean(value, choices)
            raise InputError(f"{key}: '{value}' is none of {', '.join(choices)}.", hint=near)
    for key, one in known.items():
        if key not in given and one.get("value") is None and one.get("default") is None:
            what = "--data" if key == DATA else f"-p {key}=…"
            raise InputError(f"The template {name} needs a value for {key}.", hint=what)
    return given


def start(
    cluster: Cluster,
    template: Mapping[str, Any],
    given: Mapping[str, str],
    *,
    applied: str = "",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Submitted:
    """Create the workflow: a reference to the template and arguments, and what it is marked with.

    The controller and argo-server see a new template with a delay. After a change this waits until
    the run has started, and starts it again if that was with an older template.
    """
    name = str(template["metadata"]["name"])
    parameters = [{"name": key, "value": value} for key, value in given.items()]
    workflow = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "generateName": f"{name}-",
            "labels": {OF_TEMPLATE: name, **(labels or {})},
            "annotations": dict(annotations or {}),
        },
        "spec": {
            "workflowTemplateRef": {"name": name},
            "arguments": {"parameters": parameters},
        },
    }
    fresh = applied not in ("", "unchanged")
    for wait in (0.3, 1.0, 2.0, 4.0, 8.0):
        try:
            run = str(cluster.create(workflow)["metadata"]["name"])
        except InputError as error:
            if not (fresh and "not found" in error.message):
                raise
        else:
            if not (fresh and _stale(cluster, run, template)):
                return Submitted(run, cluster.namespace, name, applied)
            cluster.delete(run)
        time.sleep(wait)
    raise ClusterError(
        f"{cluster.where}: Argo does not notice the template {name}.",
        hint="is the workflow-controller running, and does it watch this namespace?",
    )


def _marked(template: Json) -> Json:
    """The template with a digest of itself as an annotation of each of its workflows."""
    text = json.dumps(template, sort_keys=True)
    metadata = template["spec"].setdefault("workflowMetadata", {})
    own = hashlib.sha256(text.encode()).hexdigest()[:16]
    metadata["annotations"] = {**(metadata.get("annotations") or {}), DIGEST: own}
    return template


def _stale(cluster: Cluster, run: str, template: Mapping[str, Any]) -> bool:
    """Whether a run started with an older state of its template, or without any."""
    wanted = digest(template)
    until = time.monotonic() + BEGUN
    while time.monotonic() < until:
        workflow = cluster.workflow(run)
        status = workflow.get("status") or {}
        if status.get("phase"):
            said = str(status.get("message"))
            found = (workflow["metadata"].get("annotations") or {}).get(DIGEST)
            missing = "workflowtemplates" in said and "not found" in said
            return missing or (wanted is not None and found != wanted)
        time.sleep(0.3)
    return False  # no controller has seen it yet: when one does, it will know the template
