"""The held-out pictures that a trained detector gets most wrong: truth beside prediction."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from quorate.annotations import HAVE_A_BOX
from quorate.drawing import draw_boxes
from quorate.pictures import decode
from quorate.report.model import own
from quorate.storage import open_tree
from quorate.training.judging import Judged
from quorate.workers import in_threads

LONGEST, QUALITY = 640, 82
"""Pixels of the longer side of each of the two pictures, and the JPEG's quality."""
GAP = 8


@dataclass(frozen=True, eq=False)
class Worst:
    """A picture: its name, the errors on it, and truth beside prediction as a JPEG."""

    name: str
    false: int
    missed: int
    jpeg: bytes


def worst(judged: Judged, trainer: str, most: int) -> list[Worst]:
    """The `most` pictures with the most errors of a trainer's detector, the worst first.

    Errors are false boxes and missed objects at IoU .5 and the score of its best F1, from which
    boxes are drawn. At the left the truth, at the right what it finds.
    """
    result, dataset = judged.alone[trainer], judged.dataset
    errors = result.pictures
    order = np.argsort(-errors.errors, kind="stable")
    order = order[errors.errors[order] > 0][:most]
    found, shapes = own(judged.found, trainer), dataset.annotations
    assert shapes is not None  # the held-out pictures have a truth
    shapes = shapes.take(np.isin(shapes.kind, HAVE_A_BOX))
    boxes, labels = shapes.enclosing(), dataset.labels

    def one(place: int) -> Worst:
        image = dataset.images[place]
        pixels = decode(tree.read(image.file_name), name=image.file_name)
        rows = np.flatnonzero(shapes.image_id == image.id)
        which = labels.positions(shapes.category_id[rows]).tolist()
        true = draw_boxes(pixels, boxes[rows], [labels.names[i] for i in which], which)
        mine = found.take((found.image_id == image.id) & (found.score >= errors.min_score))
        mine = mine.take(np.argsort(-mine.score, kind="stable"))
        which = labels.positions(mine.category_id).tolist()
        said = [f"{labels.names[i]} {s:.2f}" for i, s in zip(which, mine.score, strict=True)]
        seen = draw_boxes(pixels, mine.xyxy, said, which)
        false, missed = int(errors.false[place]), int(errors.missed[place])
        return Worst(image.name, false, missed, _beside(true, seen))

    with open_tree(dataset.root) as tree:
        return in_threads(one, order.tolist())


def _beside(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> bytes:
    """Two pictures of one size side by side as a JPEG."""
    height, width = left.shape[:2]
    scale = min(1.0, LONGEST / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    whole = Pillow.new("RGB", (2 * size[0] + GAP, size[1]), (255, 255, 255))
    for place, pixels in ((0, left), (size[0] + GAP, right)):
        whole.paste(Pillow.fromarray(pixels).resize(size, Pillow.Resampling.BICUBIC), (place, 0))
    file = BytesIO()
    whole.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
