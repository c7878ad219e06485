"""Read and write data sets and annotations, whatever the format.

A format is one module (or a small package) with `recognise`, `read` and `write`, and one line in
`registry.FORMATS`. To add one: write the module, its test, its files under `tests/formats/assets`,
and the line; `read` then finds it by itself, and `write` by its name. A name `datumaro:NAME` stands
for any format that the `datumaro` package knows.

What a source does not tell, or what was left out, is in `Dataset.notes` and `Written.notes`, a
sentence each. Nothing is dropped without one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate import lazily

# A name is imported when it is first used: who reads results lists needs no reader of CVAT's XML.
_HOMES = {
    "base": ("Format", "Source", "Written"),
    "detections.reading": ("DetectionFile", "read_detections"),
    "registry": ("FORMATS", "READS", "WRITES", "read", "write"),
    "coco.results_writing": ("write_results",),
}

__all__ = [
    "FORMATS",
    "READS",
    "WRITES",
    "DetectionFile",
    "Format",
    "Source",
    "Written",
    "read",
    "read_detections",
    "write",
    "write_results",
]

if TYPE_CHECKING:
    from quorate.formats.base import Format, Source, Written
    from quorate.formats.coco.results_writing import write_results
    from quorate.formats.detections.reading import DetectionFile, read_detections
    from quorate.formats.registry import FORMATS, READS, WRITES, read, write


__getattr__ = lazily(__name__, _HOMES)
