"""A training as a WorkflowTemplate: a pure function, the same bytes for the same spec.

    training ─┬─ learn ── split ─┬─ trainer-A: train-A ── evaluate-A ─┬─ compare ── release
              │                  └─ trainer-B: train-B ── evaluate-B ─┘
              ├─ predict
              └─ exit

The parameter `job` says whether a run learns or predicts: one template is what people choose, for
both. All trainers work at the same time, each on its pool and in its image; one that fails costs
only itself. Ours and others' run alike: an init container of ours puts what a trainer is given
where it finds it, with the checkpoint of a pod that was killed, and a sidecar of ours keeps the
checkpoints that it writes. What a trainer left is checked and measured by a pod of ours, on the
same pictures with the same code.

Steps within steps, not DAGs, because a stopped run must be able to go on (`template.py`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from hera.workflows import (
    DAG,
    Artifact,
    Container,
    Env,
    Parameter,
    Step,
    Steps,
)
from hera.workflows import models as m
from hera.workflows.models import Synchronization

from quorate.argo.names import TRAINER
from quorate.argo.rendering import detectors, exits, files, overlay, pods
from quorate.argo.rendering.manifest import (
    GIVEN,
    Template,
    check_parameters,
    dump_format,
    further,
    manifest,
    output_path,
    pictures,
    spec_text,
    too_long,
)
from quorate.argo.rendering.pods import Place
from quorate.spec.text import seconds
from quorate.spec.trainer import ContainerTrainer, Trainer
from quorate.spec.training import Training

ADDED = len("-xxxxx")
"""Characters that a run adds to the training's name."""
DUMPS = (
    "COCO 1.0",
    "CVAT for images 1.1",
    "CVAT for video 1.1",
    "Datumaro 1.0",
    "LabelMe 3.0",
    "MOT 1.1",
    "PASCAL VOC 1.1",
    "TFRecord 1.0",
    "YOLO 1.1",
    "Ultralytics YOLO Detection 1.0",
)
"""CVAT's names of the formats that are learnt from; `split` finds out which it was given."""
TRAINING, INFERENCE = "training", "inference"
CHECKPOINT = "cvat-finetune-checkpoint"
OWN = "as the spec says"
CODE = "QUORATE_CODE"
RESULTS = "results.json"
"""What compare says of the trainers, among its results."""
TRAINED_ON = f"{files.WORK}/training.yaml"
"""The spec as `split` resolved it, with what the run was given."""
FORM = {
    "cvat-annotation-path": {"displayName": "Path to dataset", "visibility": "private"},
    "cvat-output-path": {"displayName": "Path to the results", "visibility": "private"},
    "dump-format": {"displayName": "Format that CVAT exports the task in"},
    "job": {"displayName": "Train, or infer with what was trained"},
    "epochs": {"displayName": "Epochs"},
    "batch-size": {"displayName": "Batch size"},
    CHECKPOINT: {"displayName": "Checkpoint to begin with"},
    "cvat-num-classes": {"displayName": "Number of classes", "visibility": "private"},
    "hyperparameters": {"displayName": "Hyperparameters", "type": "textarea"},
}
"""What the companion's form is told; Argo's own asks for every parameter by its name."""


def workflow_template(training: Training) -> Template:
    """The WorkflowTemplate that trains; SpecError where it could not run."""
    too_long(training.name, ADDED, "a run adds")
    given = spec_text(files.training_in_pods(training).to_yaml(), training.name)
    made = _template(training, given)
    draft = json.dumps(made.to_dict()["spec"], separators=(",", ":"))
    check_parameters(training.name, parameters(training), draft)
    return made


def _template(training: Training, given: str) -> Template:
    names = ", ".join(one.name for one in training.trainers)
    return manifest(
        training.workflow,
        training.name,
        labels={"used-by": "cvat"},
        form=FORM,
        entrypoint="training",
        on_exit=exits.NAME,
        hooks=exits.hooks(training),
        arguments=parameters(training),
        title=f"Training {training.name}",
        description=f"Trains {names} on labelled pictures, measures them on pictures held out, and "
        f"publishes the best; or predicts with a detector that was published.",
        templates=[
            *_run(training, given),
            *(one for trainer in training.trainers for one in _trainer(training, trainer)),
            _compare(training),
            *([_release(training)] if training.publish else []),
            _predict(training, given),
            *exits.templates(training, given, summary=RESULTS),
        ],
    )


def parameters(training: Training) -> list[Parameter]:
    """What a run can be given; empty: as the spec says."""
    return [
        pictures(
            training.data,
            "The labelled pictures: a dump of CVAT, as a ZIP archive or a folder, or another data "
            "set that is read; s3://BUCKET/KEY, or a key in the cluster's own bucket.",
        ),
        output_path(),
        dump_format(DUMPS),
        Parameter(
            name="job",
            value=TRAINING,
            enum=[TRAINING, INFERENCE],
            description="training learns from labelled pictures; inference finds boxes on "
            f"pictures with the detector at {CHECKPOINT}, for CVAT to import.",
        ),
        Parameter(
            name="epochs",
            value=_common(training.trainers, "epochs"),
            description=f"How often all pictures are seen. Empty: {OWN} of each trainer.",
        ),
        Parameter(
            name="batch-size",
            value=_common(training.trainers, "batch_size"),
            description=f"Pictures a step. Empty: {OWN} of each trainer.",
        ),
        Parameter(
            name=CHECKPOINT,
            value="",
            description="What every trainer begins with: a file or a folder, s3://BUCKET/KEY or a "
            "key in the cluster's own bucket; in a folder with folders named as trainers, each has "
            "its own. It is looked for before anything starts. Empty: "
            f"{OWN}. For inference: the folder of a published detector.",
        ),
        Parameter(
            name="cvat-num-classes",
            value="",
            description="How many labels the data has, if that is to be compared; a bridge to "
            "CVAT fills it.",
        ),
        Parameter(
            name="hyperparameters",
            value="",
            description="Further settings, one a line: learning_rate: 0.0001, or learning_rate="
            "0.0001; of one trainer alone NAME.learning_rate: 0.0001.",
        ),
        *further(training.workflow),
    ]


def _common(trainers: Sequence[Trainer], field: str) -> str:
    """The value that all trainers share; "" where they differ."""
    values = {getattr(one, field) for one in trainers}
    return str(values.pop()) if len(values) == 1 else ""


def _run(training: Training, given: str) -> list[Container | Steps]:
    """The entrypoint, the steps of a training, and the first of them."""
    job = "{{workflow.parameters.job}}"
    entry = Steps(
        name="training",
        sub_steps=[
            [
                Step(name="learn", template="learn", when=f"{job} != {INFERENCE}"),
                Step(name="predict", template="predict", when=f"{job} == {INFERENCE}"),
            ]
        ],
    )
    tolerated = m.ContinueOn(failed=True, error=True)
    # Only the status of a step that may fail can be used: Argo would wait for ever for its outputs.
    statuses = {f"status-{one.name}": f"{{{{steps.{TRAINER}{one.name}.status}}}}"
                for one in training.trainers}  # fmt: skip
    steps: list[Any] = [
        Step(name="split", template="split"),
        [
            Step(
                name=f"{TRAINER}{one.name}", template=f"{TRAINER}{one.name}", continue_on=tolerated
            )
            for one in training.trainers
        ],
        Step(name="compare", template="compare", arguments=statuses),
    ]
    if training.publish:
        steps.append(Step(name="release", template="release"))
    return [entry, Steps(name="learn", sub_steps=steps), _split(training, given)]


def _split(training: Training, given: str) -> Container:
    spec, path = files.spec_at_start(training.workflow.git, given)
    command = pods.command("split", "--data", GIVEN % "cvat-annotation-path", spec=path)
    for name in ("epochs", "batch-size", "hyperparameters"):
        command += [f"--{name}", GIVEN % name]
    command += ["--checkpoint", GIVEN % CHECKPOINT, "--classes", GIVEN % "cvat-num-classes"]
    return pods.container(
        training.workflow,
        "split",
        command,
        pods.step(training, "prepare", overlay.LARGE),
        inputs=[spec],
        outputs=[files.left("work", "work/", run=files.PREFIX, passing=True)],
    )


def _trainer(training: Training, trainer: Trainer) -> list[Container | DAG | Steps]:
    """One trainer: what it does, then what that is worth."""
    name = trainer.name
    whole = Steps(
        name=f"{TRAINER}{name}",
        sub_steps=[
            Step(name=f"train-{name}", template=f"train-{name}"),
            Step(name=f"evaluate-{name}", template=f"evaluate-{name}"),
        ],
    )
    one = partial(_try, training, trainer)
    tries = detectors.tried("train", name, pods.tries(training, trainer), one, {})
    return [whole, *tries, _evaluate(training, trainer)]


def _try(
    training: Training,
    trainer: Trainer,
    called: str,
    place: Place,
    limit: Synchronization | None,
    last: bool,
) -> Container:
    at, pool = place
    settings, folder = training.workflow, f"{files.WORK}/trainers/{trainer.name}"
    data, out = f"{folder}/data", f"{folder}/out"
    kept = ["--checkpoints", f"{files.PREFIX}/checkpoints/{trainer.name}"]
    ours = not isinstance(trainer, ContainerTrainer)
    given = ["--data", data, "--out", out]
    env = dict(pods.NAMELESS)
    command, args = ["quorate", "step", "train", *given], []
    if isinstance(trainer, ContainerTrainer):
        detectors.refuse_without_image(trainer.name, trainer.image, "trainer")
        command, args = [*trainer.command], [*trainer.args, *given]
        env |= trainer.env | ({CODE: files.GIT} if settings.git else {})
    env |= {"QUORATE_DATA": data, "QUORATE_OUT": out}
    give = pods.command("give", "--trainer", trainer.name, *kept, spec=TRAINED_ON)
    keep = ["quorate", "step", "keep-checkpoints", "--out", out, *kept]
    image = trainer.image or (settings.images.cuda if ours else "")
    return pods.container(
        settings,
        called,
        command,
        pods.Run(image, (pool,), overlay.HEAVY, ours, last and not (pool and pool.pending_timeout)),
        inputs=[
            files.taken("spec", "work/training.yaml"),
            files.taken("prepared", "work/prepared.json"),
            files.taken("data", "work/data/"),
            *([files.git(settings.git)] if settings.git and not ours else []),
        ],
        outputs=[files.left("trained", f"work/trainers/{trainer.name}/out/", run=files.PREFIX,
                            optional=True, passing=True)],
        labels={"quorate/trainer": trainer.name} | ({"quorate/pool": at} if at else {}),
        active_deadline_seconds=seconds(trainer.timeout) if trainer.timeout else None,
        pending_timeout=pool.pending_timeout if pool else None,
        synchronization=limit,
        args=args or None,
        env=[Env(name=name, value=value) for name, value in env.items()],
        init_containers=[pods.beside(settings, "stage", give)],
        sidecars=[pods.beside(settings, "keep", keep)],
    )  # fmt: skip


def _evaluate(training: Training, trainer: Trainer) -> Container:
    name = trainer.name
    command = pods.command("evaluate", "--trainer", name, spec=TRAINED_ON)
    command += ["--checkpoints", f"{files.PREFIX}/checkpoints/{name}"]
    command += pods.OF_WORKFLOW
    told = any("trained" in target.when for target in training.notify)
    return pods.container(
        training.workflow,
        f"evaluate-{name}",
        command,
        pods.step(training, "fuse", overlay.HEAVY),
        env=exits.secrets(training.notify) if told else None,
        inputs=[
            files.taken("spec", "work/training.yaml"),
            files.taken("prepared", "work/prepared.json"),
            files.taken("data", "work/data/"),
            files.taken("test", "work/test/", optional=True),
            files.taken("left", f"work/trainers/{name}/out/"),
        ],
        outputs=[
            files.left(file.partition(".")[0], f"work/trainers/{name}/{file}", run=files.PREFIX,
                       optional=True, passing=True)
            for file in ("trained.json", "failed.json", "found.parquet")
        ],
    )  # fmt: skip


def _compare(training: Training) -> Container:
    command = pods.command("compare", "--out", files.RESULTS, spec=TRAINED_ON)
    command += ["--degraded", files.DEGRADED]
    command += pods.OF_WORKFLOW
    inputs: list[Parameter | Artifact] = [files.taken("work", "work/")]
    for name in (one.name for one in training.trainers):
        inputs.append(Parameter(name=f"status-{name}"))
        command += ["--status", f"{name}={{{{inputs.parameters.status-{name}}}}}"]
    return pods.container(
        training.workflow,
        "compare",
        command,
        pods.step(training, "publish", overlay.HEAVY),
        inputs=inputs,
        outputs=files.published(),
        service_account_name=training.workflow.fuse_service_account,
        automount_service_account_token=True,
    )


def _release(training: Training) -> Container:
    return pods.container(
        training.workflow,
        "release",
        ["quorate", "step", "release", files.RESULTS, "--to", str(training.publish),
         "--run", "{{workflow.name}}"],
        pods.step(training, "publish"),
        inputs=[files.taken("results", "results/")],
    )  # fmt: skip


def _predict(training: Training, given: str) -> Container:
    spec, path = files.spec_at_start(training.workflow.git, given)
    command = pods.command("predict", "--data", GIVEN % "cvat-annotation-path", spec=path)
    command += ["--detector", GIVEN % CHECKPOINT, "--out", files.RESULTS]
    command += ["--degraded", files.DEGRADED]
    pool = pods.tries(training, training.trainers[0])[0]
    return pods.container(
        training.workflow,
        "predict",
        [*command, *detectors.workers(pool[1])],
        pods.step(training, "publish", overlay.HEAVY),
        inputs=[spec],
        outputs=files.published(),
    )
