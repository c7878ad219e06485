"""What a run changes of a training: the parameters of a form, as text, laid over the spec.

Empty text leaves what the spec says. Hyperparameters are lines: `learning_rate: 0.0001`, or
`learning_rate=0.0001`, for every trainer that knows the setting; `NAME.learning_rate: 0.0001` for
one alone. A trainer in a container knows every setting.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from quorate.errors import InputError, SpecError, did_you_mean
from quorate.spec.base import load_yaml
from quorate.spec.trainer import ASIDE, ContainerTrainer, Trainer
from quorate.spec.training import Training
from quorate.spec.words import meant_key
from quorate.storage import is_s3, join, open_tree

OTHERWISE = ("name", "kind", "checkpoint", *ASIDE)
"""Fields that hyperparameters do not change: the spec says who learns, and where."""
_LINE = re.compile(r"\s*([A-Za-z0-9][-\w.]*)\s*=(.*)")


def changed(
    training: Training,
    *,
    epochs: str = "",
    batch_size: str = "",
    checkpoint: str = "",
    hyperparameters: str = "",
) -> Training:
    """The training with what a run was given; SpecError or InputError where that cannot be."""
    said: dict[str, Any] = {}
    for name, text in (("epochs", epochs), ("batch_size", batch_size)):
        if text.strip():
            if not text.strip().isdecimal():
                raise InputError(f"{name.replace('_', '-')}: '{text}' is no whole number.")
            said[name] = int(text)
    lines = settings(hyperparameters)
    trainers: list[Trainer] = [one.model_copy(update=said) for one in training.trainers]
    for key, value in lines.items():
        trainers = _with(trainers, key, value)
    if checkpoint.strip():
        trainers = [
            one.model_copy(update={"checkpoint": _own(checkpoint.strip(), one.name)})
            for one in trainers
        ]
    return training.model_copy(update={"trainers": tuple(trainers)})


def settings(text: str) -> dict[str, Any]:
    """Hyperparameters by name; SpecError for lines that are none."""
    lines = []
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        lines.append(f"{found[1]}: {found[2].strip()}" if found else line)
    said = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return load_yaml("\n".join(lines), origin="hyperparameters") if said else {}


def _with(trainers: list[Trainer], key: str, value: Any) -> list[Trainer]:
    """The trainers with one setting; SpecError where nobody knows it."""
    names = [one.name for one in trainers]
    who, dot, field = key.partition(".")
    if isinstance(value, Mapping) and key in names:
        for inner, one in value.items():
            trainers = _with(trainers, f"{key}.{inner}", one)
        return trainers
    if not dot:
        who, field = "", key
    elif who not in names:
        raise SpecError(
            f"hyperparameters: no trainer is called '{who}'.",
            hint=did_you_mean(who, names) or f"there are {', '.join(names)}",
        )
    meant = [one for one in trainers if not who or one.name == who]
    knowing = [one for one in meant if _knows(one, field)]
    if not knowing:
        known = sorted({name for one in meant for name in _fields(one)})
        near = meant_key(field, known)
        raise SpecError(
            f"hyperparameters: {' and '.join(one.name for one in meant)} "
            f"{'knows' if len(meant) == 1 else 'know'} no '{field}'.",
            hint=f"did you mean '{near}'?" if near else f"there are {', '.join(known)}",
        )
    return [_set(one, field, value) if one in knowing else one for one in trainers]


def _fields(trainer: Trainer) -> set[str]:
    return set(type(trainer).model_fields) - {*OTHERWISE, "hyperparameters"}


def _knows(trainer: Trainer, field: str) -> bool:
    if field in OTHERWISE:
        raise SpecError(
            f"hyperparameters: '{field}' is for the spec to say.",
            hint="a checkpoint is a parameter of its own" if field == "checkpoint" else None,
        )
    return field in _fields(trainer) or isinstance(trainer, ContainerTrainer)


def _set(trainer: Trainer, field: str, value: Any) -> Trainer:
    if field in _fields(trainer):
        return trainer.model_copy(update={field: value})
    return trainer.model_copy(update={"hyperparameters": {**trainer.hyperparameters, field: value}})


def _own(checkpoint: str, name: str) -> str:
    """A trainer's own folder in a checkpoint that has one for it; else the checkpoint.

    Of what a training left for a trainer, `model/` is what another begins with.
    """
    try:
        with open_tree(checkpoint) as tree:
            names = list(tree.names())
    except InputError:  # a file
        return checkpoint
    folder = checkpoint if checkpoint.endswith("/") else f"{checkpoint}/"
    for inside in (f"{name}/model/", f"{name}/out/model/", f"{name}/", "model/"):
        if any(one.startswith(inside) for one in names):
            return f"{join(folder, inside.rstrip('/'))}/"
    return folder if is_s3(checkpoint) else checkpoint
