"""The page of the trainers' fields is made from the fields themselves."""

import os
from pathlib import Path
from typing import get_args

from pydantic_core import PydanticUndefined

from quorate.spec.base import SpecModel
from quorate.spec.schedule import Schedule
from quorate.spec.torch_trainer import TorchTrainer, TorchvisionTrainer, TransformersTrainer
from quorate.spec.trainer import ContainerTrainer, Trainer

PAGE = Path(__file__).parents[2] / "docs/reference/trainers.md"
HEAD = """# Trainers

The fields of the entries under `trainers:` of [a training](../guides/training.md), made from the
program itself: `UPDATE=1 make test` rewrites it. Lengths of a schedule are in epochs, and their sum
may not be longer than `epochs`; heights are shares of `learning_rate`. A field that is not known is
an error.

"""
SAID = {
    "Trainer": "Every trainer",
    "TorchTrainer": "`kind: transformers` and `kind: torchvision`",
    "TransformersTrainer": "`kind: transformers` alone",
    "TorchvisionTrainer": "`kind: torchvision` alone",
    "ContainerTrainer": "`kind: container` alone",
}
SHORT = "`schedule: one_cycle` is short for `schedule: {method: one_cycle}`."
BEFORE = {
    "TransformersTrainer": "[The parts of DETR](../concepts/detr.md) tells what they do.",
    "ContainerTrainer": "It keeps [the trainer contract](trainer-contract.md).",
}


def shown(value) -> str:
    """A default as YAML has it."""
    if value is PydanticUndefined:
        return "must be said"
    if value is None:
        return ""
    if isinstance(value, SpecModel):
        method = getattr(value, "method", None)
        return f"`{method}`" if method else ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`" if value else ""
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def table(model: type[SpecModel], *above: type[SpecModel]) -> list[str]:
    """The fields of a model that none of those above it has."""
    lines = ["| field | default | |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        if any(name in one.model_fields for one in above) or name in ("kind", "method"):
            continue
        default = "" if field.default_factory else shown(field.default)
        about = (field.description or "").replace("|", "\\|")
        lines.append(f"| `{name}` | {default} | {about} |")
    return lines


def page() -> str:
    parts: list[str] = []
    for model, above in (
        (Trainer, ()),
        (TorchTrainer, (Trainer,)),
        (TransformersTrainer, (TorchTrainer,)),
        (TorchvisionTrainer, (TorchTrainer,)),
        (ContainerTrainer, (Trainer,)),
    ):
        said = [BEFORE[model.__name__], ""] if model.__name__ in BEFORE else []
        parts += [f"## {SAID[model.__name__]}", *said, *table(model, *above), ""]
    parts += [
        "## Schedules",
        "`schedule: one_cycle` is short for `schedule: {method: one_cycle}`.",
        "",
    ]
    for kind in get_args(Schedule):
        parts += [f"### `{kind.model_fields['method'].default}`", (kind.__doc__ or "").strip(), ""]
        parts += [*table(kind), ""]
    text = "\n".join(line.strip() for part in parts for line in part.splitlines() or [""])
    return HEAD + text.rstrip() + "\n"


def test_the_page_has_every_field():
    if os.environ.get("UPDATE"):
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page(), "UPDATE=1 make test rewrites it"
