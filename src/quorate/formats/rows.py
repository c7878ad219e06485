"""Shapes met one by one, gathered into columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.annotations import Annotations, Kind
from quorate.columns import Ragged

NO_POINTS: tuple[float, ...] = ()


class Rows:
    """Gathers shapes; `build` makes the columns. For readers that meet one shape at a time."""

    def __init__(self) -> None:
        self._plain: list[tuple[Any, ...]] = []
        self._boxes: list[tuple[float, float, float, float]] = []
        self._points: list[Any] = []
        self._attributes: dict[str, tuple[list[int], list[Any]]] = {}
        self._sources: dict[str, int] = {}

    def add(
        self,
        image_id: int,
        category_id: int,
        xyxy: tuple[float, float, float, float],
        *,
        kind: int = Kind.BOX,
        rotation: float = 0.0,
        occluded: bool = False,
        iscrowd: bool = False,
        z_order: int = 0,
        group: int = 0,
        source: str = "manual",
        area: float = float("nan"),
        points: Any = NO_POINTS,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """One shape more."""
        if attributes:
            row = len(self._plain)
            for name, value in attributes.items():
                rows, values = self._attributes.setdefault(name, ([], []))
                rows.append(row)
                values.append(value)
        number = self._sources.setdefault(source, len(self._sources))
        self._plain.append(
            (image_id, category_id, kind, rotation, occluded, iscrowd, z_order, group, number, area)
        )
        self._boxes.append(xyxy)
        self._points.append(points)

    def build(self) -> Annotations:
        """The columns of all shapes so far, in the order they were added."""
        n = len(self._plain)
        names = (
            "image_id", "category_id", "kind", "rotation", "occluded", "iscrowd", "z_order",
            "group", "source", "area",
        )  # fmt: skip
        columns = zip(*self._plain, strict=True) if n else ((),) * len(names)
        return Annotations.build(
            **{name: list(column) for name, column in zip(names, columns, strict=True)},
            xyxy=np.array(self._boxes, dtype=np.float64).reshape(-1, 4),
            points=Ragged.of(self._points)
            if any(len(p) for p in self._points)
            else Ragged.nothing(n),
            sources=tuple(self._sources) or ("manual",),
            attributes={
                name: scattered(n, rows, values)
                for name, (rows, values) in self._attributes.items()
            },
        )


def scattered(n: int, rows: Any, values: list[Any]) -> NDArray[Any]:
    """(n,) a column with the given values at the given rows, None elsewhere."""
    column = np.full(n, None, dtype=object)
    filled = np.empty(len(values), dtype=object)
    filled[:] = values
    column[np.asarray(rows, dtype=np.int64)] = filled
    return column
