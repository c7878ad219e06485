"""Views that move pixels: each gives the view's pixels and the map that leads its boxes back.

Flips and turns by 90 degrees, crops and shifts copy pixels; the others are interpolated linearly,
by Pillow (`scale`) and OpenCV, which rounds places to a 32nd of a pixel. What a view shows beyond
the picture is grey. Angles are counter-clockwise, as in Pillow and OpenCV.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quorate.tta.maps import AffineMap, CoordinateMap, MeshMap, Shape, cell_of

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]
Places = NDArray[np.float32]
Seen = tuple[Picture, CoordinateMap]
GREY = 114
"""Beyond the picture: the grey that letterboxed networks are trained with."""
CELLS = 6
"""Cells of the mesh along each side."""
BLOCK = 1024
"""Side of the blocks that views are sampled in: OpenCV refuses sides of more than 32,766 pixels."""


def _turned(picture: Picture, swap: bool, flip_x: bool, flip_y: bool) -> Seen:
    """Swap x and y, or not, then flip: the eight ways a picture can lie."""
    height, width = picture.shape[:2]
    view = picture.swapaxes(0, 1) if swap else picture
    view = view[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    rows, columns = view.shape[:2]
    # From the view back: undo the flips, then the swap.
    x = (-1.0, 0.0, float(columns)) if flip_x else (1.0, 0.0, 0.0)
    y = (0.0, -1.0, float(rows)) if flip_y else (0.0, 1.0, 0.0)
    back = AffineMap.of((height, width), (rows, columns), *((y, x) if swap else (x, y)))
    return np.ascontiguousarray(view), back


def _rotated(picture: Picture, degrees: float) -> Seen:
    if degrees % 90 == 0:
        quarters = int(degrees) // 90 % 4
        return _turned(picture, quarters != 2, quarters != 1, quarters != 3)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return _bent(picture, np.array([[cos, sin], [-sin, cos]]))


def _sheared(picture: Picture, x: float, y: float) -> Seen:
    along_x, along_y = math.tan(math.radians(x)), math.tan(math.radians(y))
    return _bent(picture, np.array([[1, along_x], [along_y, 1]]))


def _bent(picture: Picture, forward: Floats) -> Seen:
    """A linear map about the centre, in a frame that holds the whole picture."""
    height, width = picture.shape[:2]
    columns, rows = np.ceil(np.abs(forward) @ (width, height) - 1e-6).astype(int).tolist()
    linear = np.linalg.inv(forward)
    shift = np.array([width, height]) / 2 - linear @ (np.array([columns, rows]) / 2)
    matrix = np.concatenate([linear, shift[:, None]], axis=1)
    back = AffineMap((height, width), (rows, columns), matrix)

    def places(y: Floats, x: Floats) -> Places:
        along = [np.add(b + a * x, (c * y)[:, None], dtype=np.float32) for a, c, b in matrix]
        return np.stack(along)

    return _sampled(picture, (rows, columns), places), back


def _sampled(
    picture: Picture, shape: Shape, places: Callable[[Floats, Floats], Places], grey: bool = True
) -> Picture:
    """A view of a shape (rows, columns), linear between the picture's pixels.

    `places` leads y (r,) and x (c,) of the view to x and y of the picture, (2, r, c). What lies
    beyond the picture is grey where `grey`, else as its outermost pixels.
    """
    from quorate.tta.opencv import cv2

    border = cv2.BORDER_CONSTANT if grey else cv2.BORDER_REPLICATE
    view = np.empty((*shape, 3), np.uint8)
    for top in range(0, shape[0], BLOCK):
        for left in range(0, shape[1], BLOCK):
            block = view[top : top + BLOCK, left : left + BLOCK]
            rows, columns = block.shape[:2]
            place = places(top + np.arange(0.5, rows), left + np.arange(0.5, columns))
            # The part of the picture that the block shows, and a pixel around it.
            size = np.array([picture.shape[1], picture.shape[0]])
            low = np.clip(place.min(axis=(1, 2)) - 2, 0, size - 1).astype(int)
            high = np.clip(place.max(axis=(1, 2)) + 2, low + 1, size).astype(int)
            place -= low.astype(np.float32)[:, None, None] + np.float32(0.5)
            part = np.ascontiguousarray(picture[low[1] : high[1], low[0] : high[0]])
            linear, around = cv2.INTER_LINEAR, (GREY, GREY, GREY)
            x, y = place
            block[:] = cv2.remap(part, x, y, linear, borderMode=border, borderValue=around)
    return view


def _scaled(picture: Picture, factor: float) -> Seen:
    """Enlarged, or shrunk in a frame of the same size, grey around it.

    The frame stays because most detectors would otherwise enlarge the picture again.
    """
    height, width = picture.shape[:2]
    rows, columns = max(round(height * factor), 1), max(round(width * factor), 1)
    resized = Image.fromarray(picture).resize((columns, rows), Image.Resampling.BILINEAR)
    frame = (max(rows, height), max(columns, width))
    top, left = (frame[0] - rows) // 2, (frame[1] - columns) // 2
    view = np.full((*frame, 3), GREY, dtype=np.uint8)
    view[top : top + rows, left : left + columns] = resized
    x, y = width / columns, height / rows
    return view, AffineMap.of((height, width), frame, (x, 0, -left * x), (0, y, -top * y))


def _translated(picture: Picture, x: float, y: float) -> Seen:
    """Moved right and down by whole pixels; what leaves the frame is not seen."""
    height, width = picture.shape[:2]
    right = max(min(round(x * width), width - 1), 1 - width)
    down = max(min(round(y * height), height - 1), 1 - height)
    view = np.full_like(picture, GREY)
    view[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = picture[
        max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)
    ]
    return view, AffineMap.of((height, width), (height, width), (1, 0, -right), (0, 1, -down))


def _cropped(picture: Picture, share: float, x: float, y: float) -> Seen:
    """A part of the picture; (x, y) = (0, 0) is its upper left, (1, 1) its lower right."""
    height, width = picture.shape[:2]
    rows, columns = max(round(height * share), 1), max(round(width * share), 1)
    top, left = round((height - rows) * y), round((width - columns) * x)
    view = np.ascontiguousarray(picture[top : top + rows, left : left + columns])
    return view, AffineMap.of((height, width), (rows, columns), (1, 0, left), (0, 1, top))


def mesh(picture: Shape, share: float) -> MeshMap:
    """The same bend for every picture: nodes moved by up to `share` of the shorter side."""
    height, width = picture
    columns = np.unique(np.linspace(0, width, min(CELLS, width) + 1).round())
    rows = np.unique(np.linspace(0, height, min(CELLS, height) + 1).round())
    nodes = np.stack(np.meshgrid(columns, rows), axis=2)
    moves = np.random.default_rng(0).uniform(-1, 1, (CELLS - 1, CELLS - 1, 2))
    inner = nodes[1:-1, 1:-1]
    inner += moves[: inner.shape[0], : inner.shape[1]] * share * min(height, width)
    return MeshMap(picture, columns, rows, nodes)


def _elastic(picture: Picture, share: float) -> Seen:
    shape = (picture.shape[0], picture.shape[1])
    bend = mesh(shape, share)

    def places(y: Floats, x: Floats) -> Places:
        axes = bend.nodes.transpose(2, 0, 1)
        lines = [[np.interp(x, bend.columns, row) for row in axis] for axis in axes]
        along: Places = np.array(lines, dtype=np.float32)  # (2, node rows, c)
        j, share = cell_of(bend.rows, y)
        down = share.astype(np.float32)[:, None]
        return along[:, j] * (1 - down) + along[:, j + 1] * down

    return _sampled(picture, shape, places, grey=False), bend


_DONE: dict[str, Callable[..., Seen]] = {
    "hflip": lambda picture: _turned(picture, False, True, False),
    "vflip": lambda picture: _turned(picture, False, False, True),
    "hvflip": lambda picture: _turned(picture, False, True, True),
    "transpose": lambda picture: _turned(picture, True, False, False),
    "transverse": lambda picture: _turned(picture, True, True, True),
    "rotate": _rotated,
    "scale": _scaled,
    "translate": _translated,
    "shear-x": lambda picture, degrees: _sheared(picture, degrees, 0),
    "shear-y": lambda picture, degrees: _sheared(picture, 0, degrees),
    "crop": _cropped,
    "elastic": _elastic,
}


def moved(picture: Picture, name: str, *numbers: float) -> Seen:
    """The view of a picture, which is not changed, and the map that leads its boxes back.

    `name` is one of `quorate.spec.tta.GEOMETRIC`, with all of its numbers.
    """
    return _DONE[name](picture, *numbers)
