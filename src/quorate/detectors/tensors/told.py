"""What a loaded detector was taken for, in words that a user can hold against the model's page."""

from __future__ import annotations

from quorate.detectors.names import told_names
from quorate.detectors.tensors.feed import Feed
from quorate.detectors.tensors.geometry import Resize
from quorate.detectors.tensors.layouts.layout import Frame, Layout
from quorate.detectors.tensors.preprocess import Normalisation

FORMS = {"xyxy": "corners", "yxyx": "corners, y first", "cxcywh": "centre and size"}


def told(
    layout: Layout,
    feed: Feed,
    wants: Normalisation,
    resize: Resize,
    size: Frame | None,
    antialias: bool,
) -> dict[str, str]:
    """Layout, input, colours, boxes and names: a word, and what was found or said of it."""
    boxes = f"{FORMS[layout.form]}, {'0..1' if layout.units == 'relative' else 'pixels'}"
    if layout.nms_iou is not None:
        boxes += f", suppressed above IoU {layout.nms_iou:g}"
    names = layout.wishes.names
    return {
        "layout": f"{layout.name}, by {layout.why}",
        "input": told_input(feed, resize, size, antialias, wants.pad),
        "colours": told_colours(wants),
        "boxes": boxes,
        "names": told_names(names, layout.base),
        **({"note": layout.note} if layout.note else {}),
    }


def told_input(
    feed: Feed, resize: str, size: tuple[int, int] | None, antialias: bool, pad: int
) -> str:
    """How a picture becomes the tensor."""
    sides = "any size" if size is None or resize == "none" else f"{size[0]}x{size[1]}"
    if resize == "shortest_edge" and size:
        sides = f"shortest edge {size[0]}, longest {size[1]}"
    smooth = ", averaged when shrunk" if antialias else ""
    around = f", padded with {pad}" if resize in ("letterbox", "corner") else ""
    return f"{feed.order.upper()} {feed.image.kind}, {sides}, {resize}{smooth}{around}"


def told_colours(wants: Normalisation) -> str:
    """What becomes of a pixel's values."""
    levels = {1 / 255: "0..1", 1.0: "0..255"}.get(wants.scale, f"0..{255 * wants.scale:g}")
    if any(wants.mean) or set(wants.std) != {1.0}:
        mean, std = (", ".join(f"{x:g}" for x in three) for three in (wants.mean, wants.std))
        levels += f" - [{mean}]) / [{std}]"
        levels = f"({levels}"
    return f"{wants.channels.upper()} {levels}"
