"""What of a spec is looked at before anything is copied or learnt.

What it names has to be there, and settings that a library is handed unread have to be its own.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

from quorate.errors import InputError, nearest_file
from quorate.spec.torch_trainer import TorchvisionTrainer, TransformersTrainer
from quorate.spec.trainer import Trainer
from quorate.spec.training import Training
from quorate.storage import exists, is_s3, open_tree


def check_spec(training: Training) -> None:
    """Refuse what can be known to fail without the data.

    Raises SpecError for an ensemble that the trained detectors cannot join, InputError for a
    checkpoint that is not there and for a name in a `config` that its library has not.
    """
    from quorate.training.judging import ensemble_of  # of which a step that splits has no need

    ensemble_of(training)
    check_checkpoints(training)
    _configs(training)


def check_checkpoints(training: Training) -> None:
    """InputError for a checkpoint that is not there; nothing is fetched."""
    for trainer in training.trainers:
        place = trainer.checkpoint
        if place is None or exists(place):
            continue
        try:
            with open_tree(place) as tree:
                there = any(True for _ in tree.names())
        except InputError:
            there = False
        if not there:
            raise InputError(
                f"{trainer.name}: the checkpoint {place}: no such file or folder.",
                hint=_instead(trainer, place),
            )


def _instead(trainer: Trainer, place: str) -> str | None:
    """What to do about a checkpoint that is not there."""
    if is_s3(place):
        return None
    folder, name = os.path.split(place.rstrip("/"))
    if trainer.kind == "transformers" and not os.path.isdir(folder):
        model = f"{os.path.basename(folder)}/{name}"  # as the Hugging Face hub names its models
        return (
            "a model of the Hugging Face hub is fetched first: "
            f"`hf download {model} --local-dir {name}`, then `checkpoint: {name}`"
        )
    return nearest_file(place)


def _configs(training: Training) -> None:
    """InputError for a name in a `config` that its library has not.

    Else it would be told when that trainer's turn comes, after the others have learnt for hours.
    Without torch, and for a DETR whose architecture only its checkpoint tells, the trainer itself
    looks.
    """
    asked = [one for one in training.trainers if getattr(one, "config", None)]
    if not asked or not find_spec("torch"):
        return
    for trainer in asked:
        if isinstance(trainer, TorchvisionTrainer):
            from quorate.training.torch import torchvision

            torchvision.check_fields(trainer)
        elif isinstance(trainer, TransformersTrainer) and trainer.architecture is not None:
            from quorate.training.torch import detr

            detr.check_config(trainer, trainer.architecture)
