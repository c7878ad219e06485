"""An ensemble as a WorkflowTemplate: a pure function, the same bytes for the same spec.

    ensemble ─┬─ prepare ─┬─ shards ── shard(00000) ── measure ─┬─ detect-A ─┬─ fuse ─┬─ publish
              │           │            shard(00001)             └─ detect-B ─┘        │
              │           └─ children ── workflows of a range of shards each ─────────┘
              └─ exit

Where the pictures' sizes are known, or are few, `measure` is left out and prepare reads them.
Where there is little to fuse, no detector failed and none has a fallback, `fuse` is left out and
publish fuses: one pod fewer is faster. Where pictures are few, `prepare` does it all
(`one_pod.py`) and gives 0 shards. `children` replaces `shards` where these are too many for one
workflow. Templates that a child runs too have the parameter `run`: the run that the child belongs
to (`files.py`).

The entrypoint is a template of steps, not a DAG, because a stopped run must be able to go on. Argo
fails a DAG that is told to stop before the pods in it have ended; in a DAG around it, publish would
be omitted at that moment, as the successor of nothing. A retry takes away what came after the pods
that failed, would leave publish as it is, and would wait for ever: a DAG is executed from its end.
"""

from __future__ import annotations

import json

from hera.workflows import DAG, Artifact, Container, Parameter, Step, Steps, Task
from hera.workflows import models as m

from quorate.argo.rendering import children, detectors, exits, files, one_pod, overlay, pods
from quorate.argo.rendering.manifest import (
    GIVEN,
    Template,
    check_parameters,
    manifest,
    parameters,
    spec_text,
    too_long,
)
from quorate.spec import Ensemble

ADDED = len("-xxxxx") + len("-00000")
"""Characters that a run adds to the ensemble's name, and a child to the run's."""
TOLERATED = ("Succeeded", "Failed", "Errored", "Skipped", "Omitted")
SHARDS = "{{steps.prepare.outputs.parameters.shards}}"
FUSE = "{{steps.prepare.outputs.parameters.fuse}}"
MEASURE = "{{steps.prepare.outputs.parameters.measure}}"


def workflow_template(ensemble: Ensemble) -> Template:
    """The WorkflowTemplate that runs an ensemble; SpecError where it could not run."""
    too_long(ensemble.name, ADDED, "a run and its children add")
    given = spec_text(files.as_in_pods(ensemble).to_yaml(), ensemble.name)
    # How many shards a workflow holds depends on the weight of its template, once it is made.
    draft = json.dumps(_template(ensemble, given, 1).to_dict()["spec"], separators=(",", ":"))
    check_parameters(ensemble.name, parameters(ensemble), draft)
    return _template(ensemble, given, children.most(ensemble, len(draft)))


def _template(ensemble: Ensemble, given: str, most: int) -> Template:
    """The WorkflowTemplate whose workflows hold at `most` so many shards."""
    return manifest(
        ensemble.workflow,
        ensemble.name,
        labels={"used-by": "cvat"},
        entrypoint="ensemble",
        on_exit=exits.NAME,
        hooks=exits.hooks(ensemble),
        arguments=parameters(ensemble),
        title=f"Ensemble {ensemble.name}",
        description=_description(ensemble),
        templates=[
            *_run(ensemble, given, most),
            _measure(ensemble),
            _shard(ensemble),
            *(one for d in ensemble.members for one in detectors.templates(ensemble, d)),
            _fuse(ensemble),
            _publish(ensemble),
            *exits.templates(ensemble, given),
        ],
    )


def _description(ensemble: Ensemble) -> str:
    names = ", ".join(detector.name for detector in ensemble.members)
    return (
        f"Runs {names} over a data set; {ensemble.needed} of {len(ensemble.members)} "
        f"{ensemble.noun}s must finish. Writes {', '.join(ensemble.publish.formats)}."
    )


def _run(ensemble: Ensemble, given: str, most: int) -> list[Container | DAG | Steps]:
    """The entrypoint, prepare, and the shards, in this workflow or in its children."""
    count = "asInt(steps['prepare'].outputs.parameters.shards)"
    run = {"run": files.PREFIX}
    entry = Steps(
        name="ensemble",
        sub_steps=[
            Step(name="prepare", template="prepare"),
            [
                Step(
                    name="shards",
                    template="shards",
                    when=f"{{{{={count} > 0 && {count} <= {most}}}}}",
                    arguments={
                        **run,
                        "start": "0",
                        "count": SHARDS,
                        "fuse": FUSE,
                        "measure": MEASURE,
                    },
                ),
                Step(
                    name="children",
                    template="children",
                    when=f"{{{{={count} > {most}}}}}",
                    arguments={**run, "shards": SHARDS, "measure": MEASURE},
                ),
            ],
            Step(name="publish", template="publish", when=f"{{{{={count} > 0}}}}"),
        ],
    )
    shards = DAG(
        name="shards",
        inputs=[Parameter(name=name) for name in ("run", "start", "count", "fuse", "measure")],
        tasks=[
            Task(
                name="shard",
                template="shard",
                arguments={
                    "run": files.RUN,
                    "shard": "{{item}}",
                    "fuse": "{{inputs.parameters.fuse}}",
                    "measure": "{{inputs.parameters.measure}}",
                },
                with_sequence=m.Sequence(
                    start=m.IntOrString(root="{{inputs.parameters.start}}"),
                    count=m.IntOrString(root="{{inputs.parameters.count}}"),
                    format="%05d",
                ),
            )
        ],
    )
    return [entry, _prepare(ensemble, given), shards, *children.templates(ensemble, most)]


def _prepare(ensemble: Ensemble, given: str) -> Container:
    spec, path = files.spec_at_start(ensemble.workflow.git, given)
    command = pods.command("prepare", "--data", GIVEN % "cvat-annotation-path", spec=path)
    command += ["--method", GIVEN % "ensemble-option", "--shard-size", GIVEN % "shard-size"]
    found: list[Parameter | Artifact] = []
    for option, name in (("--count", "shards"), ("--fuse", "fuse"), ("--measure", "measure")):
        file = f"{files.SCRATCH}/{name}"
        command += [option, file]
        found.append(Parameter(name=name, value_from=m.ValueFrom(path=file)))
    found.append(files.left("work", "work/", run=files.PREFIX, passing=True))
    alone = one_pod.pictures(ensemble) is not None
    if alone:
        command += [*one_pod.options(ensemble), "--degraded", files.DEGRADED]
        found += files.published(optional=True)
    prepare = pods.container(
        ensemble.workflow,
        "prepare",
        command,
        one_pod.run(ensemble) if alone else pods.step(ensemble, "prepare", overlay.LARGE),
        inputs=[spec, *(one_pod.weights(ensemble) if alone else ())],
        outputs=found,
    )
    if alone:
        prepare.synchronization = detectors.semaphore(one_pod.place(ensemble))
        prepare.retry_strategy = pods.retries(ensemble.workflow, or_if=one_pod.CRASHED)
    return prepare


def _measure(ensemble: Ensemble) -> Container:
    """What it leaves, a shard's list of pictures, takes the place of the one that it was given."""
    return pods.container(
        ensemble.workflow,
        "measure",
        pods.command("measure", "--shard", files.SHARD),
        pods.step(ensemble, "prepare", overlay.READING),
        inputs=[*(Parameter(name=key) for key in detectors.INPUTS), *files.of_shard()],
        outputs=[files.left("measured", f"work/{files.OF_SHARD}/images.json")],
    )


def _shard(ensemble: Ensemble) -> DAG:
    """One shard: measured, then all detectors side by side, then fusion, however they ended."""
    measure = Task(
        name="measure",
        template="measure",
        when="{{=inputs.parameters.measure == 'true'}}",
        arguments=detectors.PASSED,
    )
    ready = "(measure.Succeeded || measure.Skipped)"
    tasks = [
        Task(
            name=f"detect-{d.name}",
            template=f"detect-{d.name}",
            arguments=detectors.PASSED,
            depends=ready,
        )
        for d in ensemble.members
    ]
    # Where the shard could not be measured, that is its failure, and nobody's votes are counted.
    ended = [ready] + [
        "(" + " || ".join(f"{task.name}.{result}" for result in TOLERATED) + ")" for task in tasks
    ]
    # Only the status of a task that may fail can be used: Argo would wait for ever for its outputs.
    statuses = {f"status-{d.name}": f"{{{{tasks.detect-{d.name}.status}}}}"
                for d in ensemble.members}  # fmt: skip
    failed = [f"tasks['{task.name}'].status != 'Succeeded'" for task in tasks]
    # After a failed detector the votes are counted here: a lost quorum is then the failure of the
    # shard, and a retry runs the detector again. A task that is left out has the result of those
    # before it: a shard whose detectors all succeeded succeeds without this one. But a detector
    # with several tries leads here from each of them, and the first that failed would count.
    several = any(len(pods.tries(ensemble, one)) > 1 for one in ensemble.members)
    needed = f"{{{{=inputs.parameters.fuse == 'true' || {' || '.join(failed)}}}}}"
    fuse = Task(
        name="fuse",
        template="fuse",
        depends=" && ".join(ended),
        when=None if several else needed,
        arguments={**detectors.PASSED, **statuses},
    )
    return DAG(
        name="shard",
        inputs=[Parameter(name=key) for key in (*detectors.INPUTS, "fuse", "measure")],
        fail_fast=False,
        tasks=[measure, *tasks, fuse],
    )


def _fuse(ensemble: Ensemble) -> Container:
    command = pods.command("fuse", "--shard", files.SHARD)
    command += pods.OF_WORKFLOW
    inputs: list[Parameter | Artifact] = [Parameter(name=key) for key in detectors.INPUTS]
    for name in (detector.name for detector in ensemble.members):
        inputs.append(Parameter(name=f"status-{name}"))
        command += ["--status", f"{name}={{{{inputs.parameters.status-{name}}}}}"]
    boxes = f"work/{files.OF_SHARD}/detections/"
    inputs += [*files.of_shard(), files.taken("detections", boxes, run=files.RUN, optional=True)]
    return pods.container(
        ensemble.workflow,
        "fuse",
        command,
        pods.step(ensemble, "fuse"),
        inputs=inputs,
        outputs=[files.left("fused", f"work/{files.OF_SHARD}/fused/")],
        service_account_name=ensemble.workflow.fuse_service_account,
        automount_service_account_token=True,
    )


def _publish(ensemble: Ensemble) -> Container:
    return pods.container(
        ensemble.workflow,
        "publish",
        pods.command("publish", "--out", files.RESULTS, "--degraded", files.DEGRADED),
        pods.step(ensemble, "publish", overlay.LARGE),
        inputs=[files.taken("work", "work/")],
        outputs=files.published(),
    )
