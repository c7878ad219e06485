"""The wall of pictures: each once, with what every detector, the quorum and the truth say.

What is shown is data beside the page's markup, and the page's script draws it as one scrolls: two
thousand pictures open as fast as twenty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quorate.annotations import HAVE_A_BOX, Annotations
from quorate.columns import shared_area
from quorate.detections import FUSED, Detections
from quorate.errors import QuorateError
from quorate.evaluation.effort import BOTH, DELETED, RELABELLED, Effort, effort
from quorate.evaluation.truth import Sizes
from quorate.masks import Masks
from quorate.report.markup import QUORUM, counted, plain, short
from quorate.report.model import Report, own, rows_on
from quorate.workers import in_threads

SIDE, MANY, SMALL_SIDE = 640, 400, 480
"""Pixels of the longer side of a picture on the wall, and of one of more than `MANY`."""
PICTURE_BYTES = 4_200_000  # of 24 JPEG files together; of more, as much each
BOXES = 200_000  # on the whole wall
MASKS = 20_000  # likewise: outlines are traced, which takes longer than all else
TOLERANCE = 0.7
"""Pixels of the picture as shown, of an outline; the eye does not see less."""
Row = list[Any]


@dataclass(frozen=True, eq=False)
class Wall:
    """What the page's script draws, and the pictures as JPEG files in the same order.

    `data` is plain values: `labels`, `panels` (class and title), `score`, and for each picture of
    `pictures` its name, size as shown, disagreement, edits and, panel by panel, its boxes. A box is
    its label's place, its corners, its score, 1 where it is dashed, what a pointer is told, and the
    path of its mask. A picture that could not be read has a reason in place of boxes.
    """

    data: dict[str, Any]
    jpegs: tuple[bytes, ...]


def wall(report: Report) -> Wall | None:
    """The pictures in order; None where there are none to show."""
    if report.read is None or not report.dataset.images or report.pictures < 1:
        return None
    records = {image.id: image for image in report.dataset.images}
    ids = [i for i in report.hardest() if i in records]
    panels = _panels(report)
    shares = max(1, len(ids) * len(panels))
    most = max(20, min(100, BOXES // shares))
    side = SIDE if len(ids) <= MANY else SMALL_SIDE
    limit = PICTURE_BYTES // min(max(len(ids), 1), 24)

    one = partial(thumbnail, report.read, longest=side, limit=limit)
    seen = in_threads(one, ids)
    boxes = _Boxes.of(report, ids, masks=max(3, MASKS // shares))
    edits, level = boxes.edits(), {}
    if len(report.detectors) > 1:
        known = report.agreement.image_id.tolist(), report.agreement.disagreement.tolist()
        level = dict(zip(*known, strict=True))
    pictures, jpegs = [], []
    for image_id, picture in zip(ids, seen, strict=True):
        told: dict[str, Any] = {"name": plain(short(records[image_id].file_name, 120))}
        if (value := level.get(image_id)) is not None:
            told["level"] = round(value, 3)
        if (left := edits.get(image_id)) is not None:
            told["edits"] = left
        if isinstance(picture, str):
            told["reason"] = plain(picture)
            jpegs.append(b"")
        else:
            jpeg, width, height, scale = picture
            told |= {"size": [width, height], "boxes": boxes.on(image_id, scale, most)}
            jpegs.append(jpeg)
        pictures.append(told)
    data = {
        "labels": [plain(label) for label in report.dataset.labels.names],
        "panels": [[key, plain(title)] for key, title in panels.items()],
        "score": report.min_score,
        "pictures": pictures,
    }
    return Wall(data, tuple(jpegs))


def _panels(report: Report) -> dict[str, str]:
    """The views of every picture: the class and the title of each."""
    truth = {"pt": "truth"} if report.ensemble is not None else {}
    return {"pq": QUORUM} | truth | {f"p{i}": name for i, name in enumerate(report.detectors)}


def panel_rules(report: Report) -> str:
    """CSS that hides a panel whose box is not ticked."""
    return "".join(
        f"body:has(#show-{key}:not(:checked)) .cards .{key}{{display:none}}"
        for key in _panels(report)
    )


@dataclass(frozen=True, eq=False)
class _Boxes:
    """The boxes of the wall's pictures, sorted by picture and falling score.

    `held` is the truth, and what is to be done to `fused`; None without one. `sizes` are those of
    the pictures, in the data set's order. So many `masks` of a panel have their outline.
    """

    report: Report
    fused: Detections
    detectors: tuple[Detections, ...]
    held: tuple[Annotations, Effort] | None
    sizes: Sizes
    masks: int

    @classmethod
    def of(cls, report: Report, ids: Sequence[int], *, masks: int) -> _Boxes:
        shown = set(ids)
        images = tuple(image for image in report.dataset.images if image.id in shown)
        fused = _sorted(report.fused, ids)
        detectors = tuple(_sorted(own(report.detections, n), ids) for n in report.detectors)
        truth, held = report.dataset.annotations, None
        if truth is not None and report.ensemble is not None:
            truth = truth.take(np.isin(truth.image_id, ids) & np.isin(truth.kind, HAVE_A_BOX))
            truth = truth.take(np.argsort(truth.image_id, kind="stable"))
            there = replace(report.dataset, images=images, annotations=truth)
            held = truth, effort(fused, there, min_score=report.min_score)
        sizes = {image.id: (image.width, image.height) for image in images}
        return cls(report, fused, detectors, held, sizes, masks)

    def edits(self) -> dict[int, list[int]]:
        """The edits of each picture by its id, as `KINDS` of effort; {} without truth."""
        if self.held is None:
            return {}
        return dict(zip(self.sizes, self.held[1].pictures.tolist(), strict=True))

    def on(self, image_id: int, scale: float, most: int) -> list[list[Row]]:
        """What each panel of one picture shows, at most so many boxes of each."""
        report = self.report
        rows = rows_on(self.fused.image_id, image_id)
        fused = self.fused.take(rows)
        stands = fused.take(fused.score >= report.min_score)
        told = [_members(report, fused, row) for row in range(min(len(fused), most))]
        doubted = np.zeros(len(fused), np.bool_)
        if self.held is not None:
            _, left = self.held
            doubted = np.isin(left.fate[rows], (DELETED, RELABELLED, BOTH))
            for row, members in enumerate(told):
                if edit := left.told(rows.start + row, report.dataset, to="to "):
                    told[row] = f"{members} · {edit}"
        panels = [self._found(fused.take(slice(most)), scale, doubted, told)]
        if self.held is not None:
            panels.append(self._truth(*self.held, image_id, scale, most))
        for found in self.detectors:
            rows = rows_on(found.image_id, image_id)
            mine = found.take(slice(rows.start, min(rows.stop, rows.start + most)))
            carried = _matched(mine, stands)
            said = ["" if yes else "not carried by the quorum" for yes in carried]
            panels.append(self._found(mine, scale, ~carried, said))
        return panels

    def _found(
        self, shown: Detections, scale: float, doubted: NDArray[np.bool_], told: Sequence[str]
    ) -> list[Row]:
        scores = np.round(shown.score.astype(float), 3).tolist()
        return self._drawn(shown, shown.xyxy, scores, doubted, told, shown.masks, scale)

    def _truth(
        self, truth: Annotations, left: Effort, image_id: int, scale: float, most: int
    ) -> list[Row]:
        rows = rows_on(truth.image_id, image_id)
        shapes = truth.take(slice(rows.start, min(rows.stop, rows.start + most)))
        missing = left.missing[rows]
        told = [
            "a region of many objects" if crowd else "to add: missed by the quorum" * bool(gone)
            for crowd, gone in zip(shapes.iscrowd, missing, strict=False)
        ]
        none, masks = [-1.0] * len(shapes), shapes.to_masks(self.sizes)
        return self._drawn(shapes, shapes.enclosing(), none, missing, told, masks, scale)

    def _drawn(
        self,
        shown: Detections | Annotations,
        xyxy: NDArray[np.floating],
        scores: Sequence[float],
        doubted: NDArray[np.bool_],
        told: Sequence[str],
        masks: Masks | None,
        scale: float,
    ) -> list[Row]:
        """Boxes as the page's script takes them; a score of -1 is none."""
        places = self.report.dataset.labels.positions(shown.category_id).tolist()
        outlines = [] if masks is None else _outlines(masks.take(slice(self.masks)), scale)
        rows = []
        for row, box in enumerate(np.round(xyxy.astype(np.float64) * scale, 1).tolist()):
            one: Row = [places[row], *box, scores[row], int(doubted[row]), plain(told[row])]
            if row < len(outlines) and outlines[row]:
                one.append(outlines[row])
            rows.append(one)
        return rows


def _sorted(boxes: Detections, ids: Sequence[int]) -> Detections:
    """The boxes on some pictures by picture and falling score."""
    kept = boxes.take(np.isin(boxes.image_id, ids))
    return kept.take(np.lexsort((-kept.score, kept.image_id)))


def _members(report: Report, fused: Detections, row: int) -> str:
    """Who voted for a fused box, and how surely."""
    votes = f"{fused.votes[row]} of {counted(len(report.detectors), 'vote')}"
    members = fused.members
    if members is None:
        return votes
    part = slice(members.offsets[row], members.offsets[row + 1])
    who = ", ".join(
        f"{fused.detectors[detector]} {score:.2f}"
        for detector, score in zip(members.detector[part], members.score[part], strict=True)
        if detector != FUSED
    )
    return f"{votes}: {who}" if who else votes


def _matched(boxes: Detections, others: Detections, iou: float = 0.5) -> NDArray[np.bool_]:
    """(n,) whether any of `others` has the category and overlaps more than `iou`."""
    if not len(boxes) or not len(others):
        return np.zeros(len(boxes), dtype=np.bool_)
    a, b = boxes.xyxy.astype(np.float64), others.xyxy.astype(np.float64)
    shared = shared_area(a, b)
    areas = (a[:, None, 2:] - a[:, None, :2]).prod(-1) + (b[:, 2:] - b[:, :2]).prod(-1)
    same = boxes.category_id[:, None] == others.category_id[None]
    found: NDArray[np.bool_] = (same & (shared > iou * (areas - shared))).any(1)
    return found


def thumbnail(
    read: Callable[[int], NDArray[np.uint8]], image_id: int, longest: int, limit: int
) -> tuple[bytes, int, int, float] | str:
    """A picture as a JPEG of at most `limit` bytes, its size, and its scale; or why it is none."""
    try:
        pixels = np.ascontiguousarray(read(image_id))
    except (QuorateError, OSError) as error:
        return str(getattr(error, "message", error))
    original = Image.fromarray(pixels) if pixels.size else Image.new("RGB", (1, 1))
    data, picture = b"", original
    for side, grade in ((longest, 80), (longest, 65), (480, 65), (480, 45), (320, 45), (160, 40)):
        factor = min(1.0, side / max(original.size))
        size = tuple(max(1, round(length * factor)) for length in original.size)
        picture = original.resize((size[0], size[1]), Image.Resampling.BICUBIC, reducing_gap=1.5)
        file = BytesIO()
        picture.save(file, "JPEG", quality=grade)
        data = file.getvalue()
        if len(data) <= limit:
            break
    return data, picture.width, picture.height, picture.width / original.width


def _outlines(masks: Masks, scale: float) -> list[str]:
    """`d` of a path for each mask, in pixels of a picture shown at a scale; '' for none."""
    from quorate.masks.outlines import polygons

    offsets, values = polygons(masks, TOLERANCE / scale)
    found = []
    for begin, end in pairwise(offsets.tolist()):
        points = np.round(values[begin:end].reshape(-1, 2) * scale, 1)
        parted = np.flatnonzero(np.isnan(points[:, 0]))
        rings = [ring[~np.isnan(ring[:, 0])] for ring in np.split(points, parted)]
        found.append(
            "".join(
                "M" + "L".join(f"{x:g},{y:g}" for x, y in ring.tolist()) + "Z"
                for ring in rings
                if len(ring)
            )
        )
    return found
