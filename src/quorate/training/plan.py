"""What a training will do, before anything is copied or learnt."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from quorate.report.curves import Line, chart_file, line_chart
from quorate.spec.torch_trainer import TorchTrainer
from quorate.spec.training import Training
from quorate.storage import write_bytes
from quorate.training.checks import check_spec
from quorate.training.judging import ready
from quorate.training.schedules import averaged_from, factors
from quorate.training.split import learnt_from
from quorate.training.truth import labelled, unlearnt
from quorate.training.work import TrainingWork

SCHEDULES = "schedules.svg"


@dataclass(frozen=True)
class Step:
    """One trainer: what it is, and how many steps it does of how many pictures, about."""

    trainer: str
    kind: str
    epochs: int
    batch_size: int
    steps: int
    begins: str


@dataclass(frozen=True)
class Plan:
    """What would be done; `files` are those that were written below the training's folder."""

    name: str
    pictures: int
    boxes: int
    labels: dict[str, int]
    learnt: int
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    files: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """One line of what is learnt from."""
        return (
            f"{self.name}: {self.pictures:,} labelled pictures, {self.boxes:,} boxes of "
            f"{len(self.labels)} labels; about {self.learnt:,} pictures to learn from"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def plan(training: Training, work: TrainingWork) -> Plan:
    """Read the labels, and check what can be checked without a picture.

    Raises as `prepare` and `train` do: for data that nothing can be learnt from, a checkpoint that
    is not there, an ensemble that does not fit.
    """
    check_spec(training)
    dataset = labelled(training)
    ready(training, dataset.labels.names)
    shapes = dataset.annotations
    assert shapes is not None  # `labelled` has refused it
    count = np.bincount(shapes.category_id, minlength=len(dataset.labels) + 1)[1:]
    labels = dict(zip(dataset.labels.names, count.tolist(), strict=True))
    learnt = learnt_from(dataset.images, training.split)
    steps = [
        Step(
            trainer=one.name,
            kind=one.kind,
            epochs=one.epochs,
            batch_size=one.batch_size,
            steps=math.ceil(learnt / one.batch_size) * one.epochs,
            begins="from scratch" if one.checkpoint is None else f"from {one.checkpoint}",
        )
        for one in training.trainers
    ]
    drawn, notes = _schedules(training, learnt)
    if drawn:
        write_bytes(work.root / SCHEDULES, drawn.encode())
    return Plan(
        name=training.name,
        pictures=len(dataset.images),
        boxes=len(shapes),
        labels=labels,
        learnt=learnt,
        steps=tuple(steps),
        notes=(*dataset.notes, *notes, *unlearnt(dataset)),
        files=(SCHEDULES,) if drawn else (),
    )


def _schedules(training: Training, learnt: int) -> tuple[str, list[str]]:
    """The learning rate of every step as an SVG file, '' where none is known; notes on averages."""
    lines: list[Line] = []
    notes: list[str] = []
    for trainer in training.trainers:
        if not isinstance(trainer, TorchTrainer):
            continue
        each = math.ceil(learnt / trainer.batch_size)
        part = factors(trainer.schedule, trainer.epochs, each)
        epochs = (np.arange(len(part)) + 0.5) / each
        lines.append(Line(trainer.name, epochs, part * trainer.learning_rate, len(lines)))
        other = trainer.backbone_learning_rate
        if other is not None and other != trainer.learning_rate:
            lines.append(Line(f"{trainer.name}, backbone", epochs, part * other, len(lines)))
        first = averaged_from(trainer.schedule, trainer.epochs, each)
        if first is not None:
            notes.append(
                f"{trainer.name}: the weights of all steps from epoch {first / each:.4g} on are "
                "averaged."
            )
    if not lines:
        return "", notes
    title = "Learning rate"
    chart = line_chart(lines, title=title, across="epochs", up="learning rate")
    return chart_file([(f"{training.name}: {title.lower()}", chart)], lines), notes
