"""How trainers learnt: their events as tables, pictures, and TensorBoard's event files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from quorate.protobuf import classes
from quorate.report.curves import Line, chart_file, line_chart
from quorate.storage import write_bytes
from quorate.storage.records import framed
from quorate.training.contract import Event

COLUMNS = ("epoch", "step", "steps", "loss", "learning_rate", "images_per_second", "map", "seconds")
MOST = float(np.finfo(np.float32).max)
"""What is above it is not drawn: TensorBoard does not hold it, nor has an axis room for it."""
Curves = Mapping[str, Sequence[Event]]
"""Trainer -> its events, rising by step."""


def csv_of(curves: Curves) -> str:
    """A row an event: the trainer, the columns of `Event`, and a column for each part of a loss."""
    parts = sorted({name for said in curves.values() for event in said for name in event.losses})
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["trainer", *COLUMNS, *(f"loss/{name}" for name in parts)])
    for trainer, said in curves.items():
        for event in said:
            own = [getattr(event, name) for name in COLUMNS]
            table.writerow([trainer, *own, *(event.losses.get(name) for name in parts)])
    return file.getvalue()


def charts(curves: Curves) -> dict[str, str]:
    """Title -> inline SVG of the loss, the AP and the learning rate, of those that are known."""
    found = {}
    for title, column, up in (
        ("Loss on what is learnt from", "loss", "loss"),
        ("AP on validation", "map", "AP"),
        ("Learning rate", "learning_rate", "learning rate"),
    ):
        lines = _lines(curves, column)
        if any(np.isfinite(line.y).any() for line in lines):
            found[title] = line_chart(lines, title=title, across="epochs", up=up)
    return found


def write_curves(curves: Curves, folder: Path) -> list[str]:
    """Write `curves.csv`, `curves.svg` and `tensorboard/NAME/`; the names of the files."""
    write_bytes(folder / "curves.csv", csv_of(curves).encode())
    written = ["curves.csv"]
    if drawn := charts(curves):
        svg = chart_file(list(drawn.items()), _lines(curves, "loss"))
        write_bytes(folder / "curves.svg", svg.encode())
        written.append("curves.svg")
    for name, said in curves.items():
        file = f"tensorboard/{name}/events.out.tfevents.0000000000.quorate"
        write_bytes(folder / file, tensorboard(said))
        written.append(file)
    return written


def _lines(curves: Curves, column: str) -> list[Line]:
    found = []
    for place, (name, said) in enumerate(curves.items()):
        steps = max((event.steps for event in said), default=0) or 1
        epochs = max((event.epoch for event in said), default=0) or 1
        last = max((event.step for event in said), default=0)
        each = max(last, 1) / epochs if last < steps else steps / epochs
        x = np.array([event.step / each for event in said], np.float64)
        y = np.array([getattr(event, column) for event in said], np.float64)
        known = np.abs(y) <= MOST
        found.append(Line(name, x[known], y[known], place))
    return found


def tensorboard(said: Sequence[Event]) -> bytes:
    """The events as TensorBoard reads them: an `events.out.tfevents` file of scalars.

    Each record of the file is an `Event` (tensorflow/core/util/event.proto): it has a time, a step
    and a summary of tags and values. Times are seconds since the training began.
    """
    made = [_MESSAGES["Event"](file_version="brain.Event:2")]
    for event in said:
        values = {
            "loss": event.loss,
            "learning_rate": event.learning_rate,
            "images_per_second": event.images_per_second,
            "validation/AP": event.map,
            **{f"loss/{name}": value for name, value in event.losses.items()},
        }
        told = {tag: value for tag, value in values.items() if value is not None}
        if told:
            one = _MESSAGES["Event"](wall_time=event.seconds or 0.0, step=event.step)
            for tag, value in told.items():
                one.summary.value.add(tag=tag, simple_value=value)
            made.append(one)
    return b"".join(framed(one.SerializeToString()) for one in made)


_MESSAGES = classes(
    "quorate.events",
    {
        "Event": {
            "wall_time": (1, "double"),
            "step": (2, "int64"),
            "file_version": (3, "?string"),
            "summary": (5, "?Summary"),
        },
        "Summary": {"value": (1, "*Value")},
        "Value": {"tag": (1, "string"), "simple_value": (2, "?float")},
    },
)
