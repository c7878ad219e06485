"""Trainings on the cluster: what they learn from, their specs, their trainers."""

from __future__ import annotations

import uuid

import yaml

from tests.training.pictures import TRAINER

SCRIPT = TRAINER.read_text(encoding="utf-8")


def training(runs, data, *trainers, workflow=None, **more):
    """The file of a training; its results are released to a store of the module's own."""
    name = f"train-{uuid.uuid4().hex[:6]}"
    settings = {"images": {"cpu": runs.image}, "bucket": runs.bucket.name}
    spec = {
        "kind": "Training",
        "name": name,
        "data": data,
        "split": {"validation": 0.3},
        "trainers": list(trainers),
        "publish": f"s3://{runs.bucket.name}/{runs.prefix}/store",
        "workflow": settings | (workflow or {}),
    }
    path = runs.folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(spec | more), encoding="utf-8")
    return path


def trainer(runs, name, **more):
    """The numpy trainer, which needs no image but ours."""
    return {"name": name, "kind": "container", "image": runs.image, "epochs": 8,
            "command": ["python3", "-c", SCRIPT], "batch_size": 8} | more  # fmt: skip


KERAS = {
    "name": "keras",
    "kind": "container",
    "command": ["python3", "/opt/trainer/trainer.py"],
    "epochs": 20,
    "batch_size": 4,
    "hyperparameters": {"image_size": 64, "width": 8, "learning_rate": 0.003},
}
"""The trainer of containers/tensorflow-trainer, without its image."""


def killed(runs, workflow, trainer):
    """Delete the pod of a trainer at work."""
    where = f"workflows.argoproj.io/workflow={workflow},quorate/trainer={trainer}"
    [pod] = runs.kubectl("get", "pods", f"--selector={where}", "--output=name").split()
    runs.kubectl("delete", "--now", pod)
