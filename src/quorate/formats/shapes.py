"""Geometry that several formats need: rings, areas, ellipses as pixels."""

from __future__ import annotations

from typing import Any

import numpy as np


def polygon_rings(points: Any) -> list[Any]:
    """The rings of a polygon: (x, y, x, y, …) each."""
    parted = np.flatnonzero(np.isnan(points[::2]))
    return (
        [ring[~np.isnan(ring)] for ring in np.split(points, parted * 2)]
        if len(parted)
        else [points]
    )


def shoelace(ring: Any) -> float:
    """The signed area of a ring."""
    x, y = ring[::2], ring[1::2]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def ellipse(xyxy: Any, rotation: float, width: int, height: int) -> Any:
    """(height, width) bool, the pixels whose centre is inside an ellipse."""
    (cx, cy), (rx, ry) = (xyxy[:2] + xyxy[2:]) / 2, (xyxy[2:] - xyxy[:2]) / 2
    if rx <= 0 or ry <= 0:
        return np.zeros((height, width), dtype=bool)
    x, y = np.arange(width) + 0.5 - cx, np.arange(height)[:, None] + 0.5 - cy
    cos, sin = np.cos(np.deg2rad(rotation)), np.sin(np.deg2rad(rotation))
    return ((x * cos + y * sin) / rx) ** 2 + ((y * cos - x * sin) / ry) ** 2 <= 1
