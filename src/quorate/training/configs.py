"""What the spec hands to a library unread, looked at before anything is copied or learnt."""

from __future__ import annotations

from importlib.util import find_spec

from quorate.spec.torch_trainer import TorchvisionTrainer, TransformersTrainer
from quorate.spec.training import Training


def check_configs(training: Training) -> None:
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
