"""Boxes drawn on a picture: thin lines, and labels that cover each other only where they must."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quorate.columns import shared_area

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

    from quorate.masks import Masks

Colour = tuple[int, int, int]
Rectangle = tuple[float, float, float, float]

COLOURS = ("#ffb000", "#56b4e9", "#2fd9a4", "#f0e442", "#ff7a45", "#f49ac2", "#6f8dff", "#ffffff")
"""Of the first labels, told apart by those who see no red or green; later ones get hues between."""
SHADOW: Colour = (16, 22, 21)
SMALLEST = 480
"""Pixels of the longer side below which a picture is enlarged, so that its labels can be read."""


def colour(label: int) -> Colour:
    """The colour of a label by its place in the vocabulary."""
    if 0 <= label < len(COLOURS):
        return tuple(bytes.fromhex(COLOURS[label][1:]))  # type: ignore[return-value]
    hue = (label * 0.618034) % 1  # the golden ratio: neighbours are never alike
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.55, 1)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_boxes(
    pixels: NDArray[np.uint8],
    xyxy: NDArray[np.floating],
    texts: Sequence[str],
    labels: Sequence[int],
    *,
    dashed: Sequence[bool] = (),
    masks: Masks | None = None,
) -> NDArray[np.uint8]:
    """A copy of a picture (h, w, 3) with boxes on it; the first box and its label lie on top.

    A picture whose longer side is below `SMALLEST` comes back enlarged by a whole number. `texts`
    are written at the boxes, '' for nothing; `labels` are the places of their labels in the
    vocabulary, for their colours; `dashed` are those with dashed lines; `masks` are filled lightly.

    A label stands at a corner of its box: above it if there is room, where it covers the least of
    the labels placed before, of other boxes and of its own.
    """
    from PIL import Image, ImageDraw, ImageFont

    height, width = pixels.shape[:2]
    times = max(1, -(-SMALLEST // max(height, width, 1)))
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if times > 1:
        picture = picture.resize((width * times, height * times), Image.Resampling.NEAREST)
    boxes = np.asarray(xyxy, np.float64).reshape(-1, 4) * times
    if masks is not None:
        picture = _filled(picture, masks, labels, times)
    draw = ImageDraw.Draw(picture)
    side = (picture.width + picture.height) / 2
    line = max(1, round(side / 280))
    last_first = range(len(boxes) - 1, -1, -1)
    for row in last_first:
        _box(draw, boxes[row], colour(labels[row]), line, bool(dashed and dashed[row]))
    font = ImageFont.load_default(max(11, round(side / 52)))
    places = _places(draw, boxes, texts, font, picture.size)
    for row in last_first:
        if place := places[row]:
            tint = colour(labels[row])
            draw.rectangle(place, fill=tint)
            dark = 0.3 * tint[0] + 0.59 * tint[1] + 0.11 * tint[2] > 110
            ink = SHADOW if dark else (255, 255, 255)
            draw.text((place[0] + 3, (place[1] + place[3]) / 2), texts[row], ink, font, "lm")
    return np.asarray(picture)


def _box(
    draw: ImageDraw.ImageDraw, box: NDArray[np.float64], tint: Colour, line: int, dashed: bool
) -> None:
    """A rectangle with a dark line around and inside it, so that it is seen on any ground."""
    x1, y1, x2, y2 = (round(v) for v in box)
    x2, y2 = max(x2 - 1, x1), max(y2 - 1, y1)  # the last pixel inside
    if not dashed:
        draw.rectangle([x1 - 1, y1 - 1, x2 + 1, y2 + 1], outline=SHADOW, width=line + 2)
        draw.rectangle([x1, y1, x2, y2], outline=tint, width=line)
        return
    step = 5 * line + 3
    dashes = [((x, y), (min(x + step, x2), y)) for x in range(x1, x2, 2 * step) for y in (y1, y2)]
    dashes += [((x, y), (x, min(y + step, y2))) for y in range(y1, y2, 2 * step) for x in (x1, x2)]
    for ink, thick in ((SHADOW, line + 2), (tint, line)):
        for dash in dashes:
            draw.line(dash, ink, thick)


def _places(
    draw: ImageDraw.ImageDraw,
    boxes: NDArray[np.float64],
    texts: Sequence[str],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> list[Rectangle | None]:
    """Where each label stands, those of the first boxes chosen first; None for an empty text."""
    placed: list[Rectangle] = []
    found: list[Rectangle | None] = []
    low, high = draw.textbbox((0, 0), "Ág|", font=font)[1::2]
    tall = high - low + 3
    for row, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        if not texts[row]:
            found.append(None)
            continue
        wide = draw.textlength(texts[row], font=font) + 6
        right = x2 - wide
        corners = [
            *((x1, y1 - tall), (right, y1 - tall), (x1, y2), (right, y2)),  # above and below
            *((x1, y1), (right, y1), (x1, y2 - tall), (right, y2 - tall)),  # inside
            *((x2, y1), (x1 - wide, y1)),  # beside
        ]
        begin = np.clip(corners, 0, (max(size[0] - wide, 0), max(size[1] - tall, 0)))
        places = np.hstack((begin, np.add(begin, (wide, tall))))
        cost = (
            8 * shared_area(places, np.array(placed).reshape(-1, 4)).sum(1)
            + shared_area(places, np.delete(boxes, row, axis=0)).sum(1)
            + 2 * shared_area(places, boxes[row : row + 1]).sum(1)
        ) / (wide * tall) + np.arange(len(places)) / 100
        left, top, right, bottom = places[cost.argmin()].tolist()
        placed.append((left, top, right, bottom))
        found.append(placed[-1])
    return found


def _filled(picture: Image.Image, masks: Masks, labels: Sequence[int], times: int) -> Image.Image:
    """The picture with masks filled lightly in the colours of their labels."""
    from PIL import Image, ImageDraw

    from quorate.masks.outlines import polygons
    from quorate.masks.shapes import polygon_rings

    layer = Image.new("RGBA", picture.size)
    draw = ImageDraw.Draw(layer)
    offsets, values = polygons(masks, 0.7)
    for row, (begin, end) in reversed(list(enumerate(pairwise(offsets.tolist())))):
        for ring in polygon_rings(values[begin:end] * times):
            if len(ring) > 4:
                tint = colour(labels[row])
                draw.polygon(ring.tolist(), (*tint, 90), (*tint, 255))
    return Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")
