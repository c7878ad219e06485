"""Where a picture lies in a network's input, and the way back for its boxes.

Coordinates are continuous: a pixel is a square, pixel 0 spans 0..1, so a box's x2 and y2 are
exclusive and pixel centres lie at halves (OpenCV's and Pillow's convention for resizing; torch
calls it `align_corners=False`). Resizing by a factor is then a plain product, and a box goes to
the network and back without loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

LONGEST = 16
"""A network that resizes by itself is shown nothing that is more times as long as it is wide."""

Resize = Literal["letterbox", "corner", "stretch", "shortest_edge", "none"]


@dataclass(frozen=True, slots=True)
class Placement:
    """A picture's place in a network's input; all in pixels.

    picture  (height, width) of the picture
    inner    (height, width) that the picture is resized to
    frame    (height, width) of the network's input
    top, left  where the resized picture starts in the frame; padding is around it. Below 0 for one
               that is larger than the frame, which shows a part of it
    """

    picture: tuple[int, int]
    inner: tuple[int, int]
    frame: tuple[int, int]
    top: int = 0
    left: int = 0

    def to_picture(self, xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
        """(n, 4) boxes of the network's frame -> float64 (n, 4) of the picture, not clipped."""
        return (xyxy - self._shift()) / self._scale()

    def to_frame(self, xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
        """(n, 4) boxes of the picture -> float64 (n, 4) of the network's frame."""
        return xyxy * self._scale() + self._shift()

    def _shift(self) -> NDArray[np.float64]:
        return np.array([self.left, self.top, self.left, self.top], dtype=np.float64)

    def _scale(self) -> NDArray[np.float64]:
        # The ratio of the rounded sizes, not the ratio they were rounded from: it is what the
        # pixels were resized by.
        x, y = self.inner[1] / self.picture[1], self.inner[0] / self.picture[0]
        return np.array([x, y, x, y], dtype=np.float64)


def letterbox(picture: tuple[int, int], frame: tuple[int, int]) -> Placement:
    """Keep the aspect and centre; odd padding has its extra pixel right and below.

    Rounds as Ultralytics' `LetterBox` does: sides to the nearest pixel (halves to even), the
    left and upper padding by `round(padding / 2 - 0.1)`.
    """
    height, width = _fitted(picture, frame, round)
    top, left = (frame[0] - height) / 2, (frame[1] - width) / 2
    return Placement(picture, (height, width), frame, round(top - 0.1), round(left - 0.1))


def corner(picture: tuple[int, int], frame: tuple[int, int]) -> Placement:
    """Keep the aspect, upper left, padding right and below; sides round down (YOLOX)."""
    return Placement(picture, _fitted(picture, frame, int), frame)


def stretch(picture: tuple[int, int], frame: tuple[int, int]) -> Placement:
    """Fill the frame, whatever becomes of the aspect (RT-DETR)."""
    return Placement(picture, frame, frame)


def shortest_edge(picture: tuple[int, int], shortest: int, longest: int) -> Placement:
    """Keep the aspect: the shorter side becomes `shortest`, the longer at most `longest` (DETR).

    Rounds as `get_size_with_aspect_ratio` of Hugging Face's transformers does: the longer side
    rounds down.
    """
    short, long = min(picture), max(picture)
    exact = float(shortest)
    if long / short * shortest > longest:
        exact = longest * short / long
        shortest = round(exact)
    if short == shortest:
        inner = picture
    else:
        other = max(int(exact * long / short), 1)
        inner = (other, shortest) if picture[1] < picture[0] else (shortest, other)
    inner = (max(inner[0], 1), max(inner[1], 1))
    return Placement(picture, inner, inner)


def centre_crop(picture: tuple[int, int], frame: tuple[int, int], share: float) -> Placement:
    """Keep the aspect and show the middle, as torchvision and timm do before they classify.

    The side that is short for the frame becomes 1 / `share` of the frame's, the other rounds down;
    of the result the frame is cut out of the middle.
    """
    wanted = round(frame[0] / share), round(frame[1] / share)
    if picture[0] * wanted[1] < picture[1] * wanted[0]:
        inner = wanted[0], max(wanted[0] * picture[1] // picture[0], wanted[1])
    else:
        inner = max(wanted[1] * picture[0] // picture[1], wanted[0]), wanted[1]
    top, left = (round((frame[side] - inner[side]) / 2) for side in (0, 1))
    return Placement(picture, inner, frame, top, left)


def untouched(picture: tuple[int, int]) -> Placement:
    """The picture as it is, for a network that resizes by itself (torchvision).

    A strip is padded right or below. Such a network may bring the shorter side to a length of its
    own, whatever becomes of the longer: of 2 by 3000 pixels it makes 320 by 480,000, gigabytes.
    """
    least = -(-max(picture) // LONGEST)
    return Placement(picture, picture, (max(picture[0], least), max(picture[1], least)))


_FRAMED = {"letterbox": letterbox, "corner": corner, "stretch": stretch}


def placed(
    picture: tuple[int, ...], resize: str, size: tuple[int, int], share: float = 1.0
) -> Placement:
    """A picture of (height, width) as a spec's `resize` has it, or its `crop` of a `share`.

    `size` is the (height, width) of the input; of `shortest_edge` the shortest and the longest.
    """
    height, width = picture
    match resize:
        case "none":
            return untouched((height, width))
        case "shortest_edge":
            return shortest_edge((height, width), *size)
        case "crop":
            return centre_crop((height, width), size, share)
    return _FRAMED[resize]((height, width), size)


def in_batches(placements: Iterable[Placement], most: int) -> Iterator[list[tuple[int, Placement]]]:
    """Neighbours of one frame, at most so many of them, each with its position in all."""
    group: list[tuple[int, Placement]] = []
    for item in enumerate(placements):
        if group and (len(group) == most or item[1].frame != group[0][1].frame):
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _fitted(
    picture: tuple[int, int], frame: tuple[int, int], rounded: Callable[[float], int]
) -> tuple[int, int]:
    ratio = min(frame[0] / picture[0], frame[1] / picture[1])
    height, width = rounded(picture[0] * ratio), rounded(picture[1] * ratio)
    # A picture a thousand times as long as it is wide still has one pixel across.
    return min(max(height, 1), frame[0]), min(max(width, 1), frame[1])
