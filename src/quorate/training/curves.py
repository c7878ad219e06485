"""How trainers learnt: their events as tables, pictures, and TensorBoard's event files."""

from __future__ import annotations

import csv
import io
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from quorate.report.curves import Line, chart_file, line_chart
from quorate.storage import write_bytes
from quorate.training.contract import Event

COLUMNS = ("epoch", "step", "steps", "loss", "learning_rate", "images_per_second", "map", "seconds")
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
    for title, column, across, up, top in (
        ("Loss on what is learnt from", "loss", "epochs", "loss", None),
        ("AP on validation", "map", "epochs", "AP", None),
        ("Learning rate", "learning_rate", "epochs", "learning rate", None),
    ):
        lines = _lines(curves, column)
        if any(np.isfinite(line.y).any() for line in lines):
            found[title] = line_chart(lines, title=title, across=across, up=up, top=top)
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
        known = np.isfinite(y)
        found.append(Line(name, x[known], y[known], place))
    return found


def tensorboard(said: Sequence[Event]) -> bytes:
    """The events as TensorBoard reads them: an `events.out.tfevents` file of scalars.

    Records are framed as TensorFlow's TFRecord (length, its masked CRC-32C, data, its masked
    CRC-32C), each a protocol buffer `Event` (tensorflow/core/util/event.proto) written by hand: it
    has a time, a step and a summary of tags and values. Times are seconds since the training began.
    """
    records = [_field(1, struct.pack("<d", 0.0), 1) + _field(3, b"brain.Event:2")]
    for event in said:
        values = {
            "loss": event.loss,
            "learning_rate": event.learning_rate,
            "images_per_second": event.images_per_second,
            "validation/AP": event.map,
            **{f"loss/{name}": value for name, value in event.losses.items()},
        }
        summary = b"".join(
            _field(1, _field(1, tag.encode()) + _field(2, struct.pack("<f", value), 5))
            for tag, value in values.items()
            if value is not None
        )
        if summary:
            time = _field(1, struct.pack("<d", event.seconds or 0.0), 1)
            records.append(time + _field(2, _varint(event.step), 0) + _field(5, summary))
    return b"".join(map(_record, records))


def _field(number: int, data: bytes, kind: int = 2) -> bytes:
    """A field of a protocol buffer: of kind 2 (bytes) its length stands before it."""
    head = _varint(number << 3 | kind)
    return head + (_varint(len(data)) if kind == 2 else b"") + data


def _varint(value: int) -> bytes:
    data = b""
    while value > 127:
        data += bytes([value & 127 | 128])
        value >>= 7
    return data + bytes([value])


def _record(data: bytes) -> bytes:
    head = struct.pack("<Q", len(data))
    return head + _masked(head) + data + _masked(data)


def _masked(data: bytes) -> bytes:
    """TFRecord's masked CRC-32C (tensorflow/core/lib/hash/crc32c.h)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _table() -> list[int]:
    """CRC-32C (Castagnoli) of each byte, the polynomial reflected."""
    found = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        found.append(byte)
    return found


_CRC = _table()
