"""The independent reader: what datumaro makes of our files."""

from __future__ import annotations

import warnings
from pathlib import Path


def boxes_by_datumaro(folder: Path, format: str) -> set[tuple]:
    """(picture without ending, label, x1, y1, x2, y2) of each box."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # datumaro's own
        import datumaro as dm

        found = dm.Dataset.import_from(str(folder), format)
        labels = found.categories()[dm.AnnotationType.label]
        return {
            (item.id, labels[shape.label].name, *(round(float(p), 2) for p in shape.points))
            for item in found
            for shape in item.annotations
            if shape.type == dm.AnnotationType.bbox
        }
