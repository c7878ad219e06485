"""Where a point of a view lies in the picture: the way back for boxes, and for masks.

Coordinates are continuous, as everywhere: a pixel is a square, pixel 0 spans 0..1, and x2 and y2
are exclusive. A map knows both frames and is defined from the view to the picture, which is the
direction in which pixels are fetched and found boxes travel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int]
Points = NDArray[np.float64]
OUTLINE = 17
"""Points on each side of a box whose sides do not stay straight."""


@dataclass(frozen=True, eq=False)
class AffineMap:
    """Straight lines stay straight: flips, turns, resizing, shifts, crops, rotation, shear.

    picture  (height, width) of the picture
    view     (height, width) of the view
    matrix   float64 (2, 3), a point of the view -> of the picture
    """

    picture: Shape
    view: Shape
    matrix: Points

    @classmethod
    def of(cls, picture: Shape, view: Shape, *rows: Sequence[float]) -> AffineMap:
        """A map from the two rows of its matrix."""
        return cls(picture, view, np.array(rows, dtype=np.float64))

    @property
    def upright(self) -> bool:
        """Whether boxes stay boxes: every map but a rotation or a shear."""
        (a, b), (c, d) = self.matrix[:, :2]
        return bool((b == 0 and c == 0) or (a == 0 and d == 0))

    @property
    def window(self) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2: the part of the picture that the view shows; all of it, or a crop.

        A rotated or sheared view shows all of the picture.
        """
        height, width = self.picture
        if not self.upright:
            return 0.0, 0.0, float(width), float(height)
        frame = np.array([[0, 0, self.view[1], self.view[0]]])
        x1, y1, x2, y2 = self.enclosing_boxes(frame)[0].tolist()
        return max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))

    def to_picture(self, points: Points) -> Points:
        """(n, 2) points x, y of the view -> (n, 2) of the picture."""
        return points @ self.matrix[:, :2].T + self.matrix[:, 2]

    def boxes_to_picture(self, xyxy: NDArray[np.floating]) -> Points:
        """(n, 4) boxes of the view -> float64 (n, 4) of the picture, not clipped.

        The box around the ellipse that a box holds, once that is mapped. An upright map takes a
        box to just its own place. After a rotation or a shear the box around the mapped corners
        would grow, since a detector's box in the view is already one around a turned object; the
        ellipse is nearer to what people draw (Kalra et al., Towards Rotation Invariance in Object
        Detection, ICCV 2021, arXiv:2109.13488; `ellipse` of Albumentations' `Rotate`).
        """
        centre, half = self._centres(xyxy)
        return _boxes(centre, np.sqrt(half**2 @ self.matrix[:, :2].T ** 2))

    def enclosing_boxes(self, xyxy: NDArray[np.floating]) -> Points:
        """(n, 4) likewise, the box around the mapped corners: nothing of the view's box is lost."""
        centre, half = self._centres(xyxy)
        return _boxes(centre, half @ np.abs(self.matrix[:, :2].T))

    def _centres(self, xyxy: NDArray[np.floating]) -> tuple[Points, Points]:
        box = np.asarray(xyxy, dtype=np.float64).reshape(-1, 4)
        return self.to_picture((box[:, :2] + box[:, 2:]) / 2), (box[:, 2:] - box[:, :2]) / 2


@dataclass(frozen=True, eq=False)
class MeshMap:
    """A picture bent smoothly: a grid of nodes, bilinear between them; its border stays.

    columns  float64 (i,), rows  float64 (j,): where the nodes are in the view
    nodes    float64 (j, i, 2): where they are in the picture
    """

    picture: Shape
    columns: Points
    rows: Points
    nodes: Points

    @property
    def view(self) -> Shape:
        """The same frame as the picture's."""
        return self.picture

    @property
    def window(self) -> tuple[float, float, float, float]:
        """All of the picture."""
        return 0.0, 0.0, float(self.picture[1]), float(self.picture[0])

    def to_picture(self, points: Points) -> Points:
        """(n, 2) points x, y of the view -> (n, 2) of the picture."""
        i, across = cell_of(self.columns, points[:, 0])
        j, down = cell_of(self.rows, points[:, 1])
        across, down = across[:, None], down[:, None]
        upper = self.nodes[j, i] * (1 - across) + self.nodes[j, i + 1] * across
        lower = self.nodes[j + 1, i] * (1 - across) + self.nodes[j + 1, i + 1] * across
        return np.asarray(upper * (1 - down) + lower * down)

    def boxes_to_picture(self, xyxy: NDArray[np.floating]) -> Points:
        """(n, 4) boxes of the view -> float64 (n, 4): the box around the mapped outline."""
        box = np.asarray(xyxy, dtype=np.float64).reshape(-1, 4)
        x, y = np.meshgrid(np.linspace(0, 1, OUTLINE), np.linspace(0, 1, OUTLINE))
        outline = np.stack([x, y], axis=2)[(x % 1 == 0) | (y % 1 == 0)]
        points = box[:, None, :2] + outline * (box[:, None, 2:] - box[:, None, :2])
        mapped = self.to_picture(points.reshape(-1, 2)).reshape(len(box), -1, 2)
        return np.concatenate([mapped.min(axis=1), mapped.max(axis=1)], axis=1)


CoordinateMap = AffineMap | MeshMap
"""From a view back to its picture."""


def cut_sides(
    xyxy: NDArray[np.floating], window: Sequence[float], picture: Shape
) -> NDArray[np.bool_]:
    """(n, 4) Which sides of boxes of the picture lie on an edge of `window` within the picture.

    There the object most likely goes on unseen. A side counts as on the edge within 2 % of the
    window's side, at least 2 pixels: detectors do not draw to the pixel.
    """
    x1, y1, x2, y2 = window
    edges = np.array(window)
    inner = edges != np.array([0, 0, picture[1], picture[0]])
    wide, high = max(0.02 * (x2 - x1), 2.0), max(0.02 * (y2 - y1), 2.0)
    within = np.array([wide, high, wide, high])
    inward = np.array([1, 1, -1, -1]) * (np.asarray(xyxy, dtype=np.float64) - edges)
    return np.asarray(inner & (inward < within))


def cell_of(nodes: Points, places: Points) -> tuple[NDArray[np.intp], Points]:
    """The cell of each place, and where in the cell it is; beyond the border goes on straight."""
    cell = np.clip(np.searchsorted(nodes, places, side="right") - 1, 0, len(nodes) - 2)
    return cell, (places - nodes[cell]) / (nodes[cell + 1] - nodes[cell])


def _boxes(centre: Points, half: Points) -> Points:
    return np.concatenate([centre - half, centre + half], axis=1)
