"""The wall of pictures: each once, with what every detector, the quorum and the truth say."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quorate.annotations import Annotations
from quorate.dataset import Image as Record
from quorate.detections import FUSED, Detections
from quorate.errors import QuorateError
from quorate.evaluation.truth import HAVE_A_BOX
from quorate.labels import Labels
from quorate.masks import Masks
from quorate.report.markup import QUORUM, count, counted, name, section, short, text
from quorate.report.model import Report, own
from quorate.report.outlines import paths

SIDE = 640
PICTURE_BYTES = 4_200_000  # of all JPEG files together, before base64 makes a third more of them
BOXES = 8_000  # on the whole wall: what keeps the page a page that a browser likes
LEGEND = 40  # labels, of those that occur
COLOURS = 8
DASHES = 3

Floats = NDArray[np.float64]
_DIALOG = (
    '<dialog id="large" aria-label="Picture, enlarged"><div class="bar">'
    '<p id="large-title"></p><div id="large-panels" role="group" aria-label="Panels"></div>'
    '<button type="button" id="large-close" aria-label="Close">×</button></div>'
    '<div id="large-view"></div><button type="button" id="large-back" '
    'aria-label="Picture before">‹</button><button type="button" id="large-on" '
    'aria-label="Next picture">›</button></dialog><div id="tip" role="tooltip" hidden></div>'
)


@dataclass(frozen=True, eq=False)
class _Boxes:
    """Boxes of one panel of one picture, by falling score, with masks where there are any.

    `doubted` marks those that are drawn dashed; `told` is what a pointer on one is told.
    """

    xyxy: Floats
    label: Sequence[int]
    score: Floats | None
    doubted: NDArray[np.bool_]
    told: Sequence[str]
    masks: Masks | None = None

    @classmethod
    def of(
        cls,
        found: Detections,
        vocabulary: Labels,
        doubted: NDArray[np.bool_],
        told: Sequence[str],
    ) -> Self:
        order = np.argsort(-found.score, kind="stable")
        found = found.take(order)
        return cls(
            found.xyxy.astype(np.float64),
            vocabulary.positions(found.category_id).tolist(),
            found.score.astype(np.float64),
            doubted[order],
            [told[row] for row in order],
            found.masks,
        )

    def shown(self, min_score: float) -> int:
        """How many of them are seen at first."""
        return len(self.xyxy) if self.score is None else int((self.score >= min_score).sum())


def wall(report: Report) -> str:
    """The whole section; '' where there are no pictures to show."""
    if report.read is None or not report.dataset.images or report.pictures < 1:
        return ""
    records = {image.id: image for image in report.dataset.images}
    ids = [i for i in report.hardest() if i in records]
    truth = report.dataset.annotations
    if truth is not None:
        truth = truth.take(np.isin(truth.image_id, ids) & np.isin(truth.kind, HAVE_A_BOX))
        truth = truth if report.ensemble is not None else None
    panels = _panels(report, truth is not None)
    most = max(20, min(100, BOXES // max(1, len(ids) * len(panels))))
    seen = report.detections.take(np.isin(report.detections.image_id, ids))
    fused = report.fused.take(np.isin(report.fused.image_id, ids))
    cards: list[str] = []
    labels: set[int] = set()
    for place, image_id in enumerate(ids):
        boxes = _boxes_of(
            report,
            seen.take(seen.image_id == image_id),
            fused.take(fused.image_id == image_id),
            None if truth is None else truth.take(truth.image_id == image_id),
        )
        labels.update(label for panel in boxes.values() for label in panel.label if label >= 0)
        cards.append(_card(report, place, records[image_id], panels, boxes, most, len(ids)))
    return section(
        "wall",
        "The pictures they argue about" if len(report.detectors) > 1 else "The pictures",
        _lead(report, len(ids), truth is not None),
        _controls(report, panels, sorted(labels))
        + f'<div class="cards">{"".join(cards)}</div>{_DIALOG}',
    )


def _lead(report: Report, pictures: int, truth: bool) -> str:
    shown = counted(pictures, "picture")
    if len(report.detectors) > 1 and report.order is None:
        shown += " with the most disagreement, the worst first"
    dashed = "Dashed is a detector's box that the quorum did not carry"
    if truth:
        dashed += ", a quorum's box that the truth denies, an object that the quorum missed"
    return (
        f"{shown}. {dashed}. Point at a box for its votes; click a picture to enlarge it, then "
        "the arrow keys lead to the others."
    )


def _panels(report: Report, truth: bool) -> dict[str, str]:
    """The views of every picture: the class and the title of each."""
    panels = {"pq": QUORUM} | ({"pt": "truth"} if truth else {})
    return panels | {f"p{i}": detector for i, detector in enumerate(report.detectors)}


def panel_rules(report: Report) -> str:
    """CSS that hides a panel whose box is not ticked; it needs no script."""
    return "".join(
        f"body:has(#show-{key}:not(:checked)) .cards .{key}{{display:none}}"
        for key in _panels(report, report.ensemble is not None)
    )


def _controls(report: Report, panels: Mapping[str, str], labels: Sequence[int]) -> str:
    ticks = "".join(
        f'<label><input type="checkbox" id="show-{key}" checked>{name(title)}</label>'
        for key, title in panels.items()
    )
    names = report.dataset.labels.names
    key = "".join(
        f'<li><svg viewBox="0 0 16 12" aria-hidden="true"><rect class="{_tint(i)}" x="1.5" '
        f'y="1.5" width="13" height="9"/></svg>{name(names[i])}</li>'
        for i in labels[:LEGEND]
    )
    more = f"<li>and {count(len(labels) - LEGEND)} more</li>" if len(labels) > LEGEND else ""
    return (
        f'<form class="controls" autocomplete="off"><fieldset><legend>Show</legend>{ticks}'
        '</fieldset><fieldset><legend>On the boxes</legend><label><input type="checkbox" '
        'id="show-labels" checked>label and score</label></fieldset>'
        '<fieldset class="script"><legend>Boxes from score</legend><label class="slider">'
        f'<input type="range" id="min-score" min="0" max="1" step="0.01" '
        f'value="{report.min_score:g}" aria-label="Boxes from score">'
        f'<output id="min-score-shown">{report.min_score:.2f}</output></label></fieldset></form>'
        f'<ul class="labels">{key}{more}</ul>'
    )


def _tint(label: int) -> str:
    """The class of a label's colour; past eight labels the colours return, dotted."""
    return f"c{label % COLOURS} k{label // COLOURS % DASHES}"


def _boxes_of(
    report: Report, seen: Detections, fused: Detections, truth: Annotations | None
) -> dict[str, _Boxes]:
    """What each panel of one picture shows."""
    stands = fused.take(fused.score >= report.min_score)
    vocabulary = report.dataset.labels
    out = {}
    if truth is None:
        doubted = np.zeros(len(fused), dtype=np.bool_)
    else:
        inside = truth.enclosing()
        doubted = ~_matched(fused.xyxy, fused.category_id, inside, truth.category_id)
        missed = ~_matched(inside, truth.category_id, stands.xyxy, stands.category_id)
        out["pt"] = _Boxes(
            inside,
            vocabulary.positions(truth.category_id).tolist(),
            None,
            missed & ~truth.iscrowd,
            [
                "a region of many objects" if crowd else "missed by the quorum" if gone else ""
                for crowd, gone in zip(truth.iscrowd, missed, strict=True)
            ],
            truth.to_masks({i.id: (i.width, i.height) for i in report.dataset.images}),
        )
    members = [_members(report, fused, row) for row in range(len(fused))]
    out["pq"] = _Boxes.of(fused, vocabulary, doubted, members)
    for position, detector in enumerate(report.detectors):
        mine = own(seen, detector)
        carried = _matched(mine.xyxy, mine.category_id, stands.xyxy, stands.category_id)
        told = ["" if yes else "not carried by the quorum" for yes in carried]
        out[f"p{position}"] = _Boxes.of(mine, vocabulary, ~carried, told)
    return out


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


def _matched(
    boxes: NDArray[np.floating],
    category: NDArray[np.integer],
    others: NDArray[np.floating],
    other_category: NDArray[np.integer],
    iou: float = 0.5,
) -> NDArray[np.bool_]:
    """(n,) whether any of `others` has the category and overlaps more than `iou`."""
    if not len(boxes) or not len(others):
        return np.zeros(len(boxes), dtype=np.bool_)
    a, b = boxes[:, None].astype(np.float64), others[None].astype(np.float64)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.maximum(sides, 0).prod(-1)
    areas = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1)
    same = category[:, None] == other_category[None]
    found: NDArray[np.bool_] = (same & (shared > iou * (areas - shared))).any(1)
    return found


def _card(
    report: Report,
    place: int,
    record: Record,
    panels: Mapping[str, str],
    boxes: dict[str, _Boxes],
    most: int,
    places: int,
) -> str:
    level = ""
    if report.agreement is not None and len(report.detectors) > 1:
        at = report.agreement.image_id == record.id
        value = float(report.agreement.disagreement[at].max(initial=0.0))
        level = (
            f'<span class="level"><i style="width:{100 * value:.0f}%"></i></span>'
            f"<span>disagreement {value:.2f}</span>"
        )
    head = (
        f'<h3><span class="place">{place + 1}</span>{name(short(record.file_name, 120))}</h3>'
        f'<p class="meta">{level}</p>'
    )
    assert report.read is not None
    try:
        jpeg, width, height, scale = _thumbnail(report.read, record.id, PICTURE_BYTES // places)
    except (QuorateError, OSError) as error:
        reason = text(getattr(error, "message", error))
        return (
            f'<article class="card"><header>{head}</header><p class="gone">{reason}</p></article>'
        )
    names = report.dataset.labels.names
    views = [
        f'<figure class="panel {key}"><figcaption>{name(title)}'
        f'<b class="tally">{boxes[key].shown(report.min_score)}</b></figcaption>'
        f'<svg class="view i{place}" viewBox="0 0 {width} {height}" role="img" tabindex="0" '
        f'aria-label="{text(title)}, {text(record.file_name)}">'
        f"{_drawn(boxes[key], names, scale, most, report.min_score, width)}</svg></figure>"
        for key, title in panels.items()
    ]
    if "pt" in boxes:  # the quorum beside the truth, the detectors below
        views = ["<div>", *views[:2], "</div><div>", *views[2:], "</div>"]
    picture = f'.i{place}{{background-image:url("data:image/jpeg;base64,{jpeg}")}}'
    shape = "tall" if height > width else "wide"
    return (
        f'<article class="card {shape}"><style>{picture}</style><header>{head}</header>'
        f'<div class="panels">{"".join(views)}</div></article>'
    )


def _thumbnail(
    read: Callable[[int], NDArray[np.uint8]], image_id: int, limit: int
) -> tuple[str, int, int, float]:
    """A picture as base64 of a JPEG of at most `limit` bytes, its size, and its scale."""
    pixels = np.ascontiguousarray(read(image_id))
    original = Image.fromarray(pixels) if pixels.size else Image.new("RGB", (1, 1))
    data, picture = b"", original
    for side, grade in ((SIDE, 80), (SIDE, 65), (480, 65), (480, 45), (320, 45), (160, 40)):
        factor = min(1.0, side / max(original.size))
        size = tuple(max(1, round(length * factor)) for length in original.size)
        picture = original.resize((size[0], size[1]), Image.Resampling.LANCZOS, reducing_gap=3.0)
        file = BytesIO()
        picture.save(file, "JPEG", quality=grade, optimize=True)
        data = file.getvalue()
        if len(data) <= limit:
            break
    return (
        base64.b64encode(data).decode(),
        picture.width,
        picture.height,
        picture.width / original.width,
    )


def _drawn(
    boxes: _Boxes, names: Sequence[str], scale: float, most: int, min_score: float, width: int
) -> str:
    """The boxes of a panel with their masks, the surest on top."""
    lines = []
    shown = min(most, len(boxes.xyxy))
    outlines = [""] * shown if boxes.masks is None else paths(boxes.masks.take(slice(shown)), scale)
    for row in reversed(range(shown)):
        x1, y1, x2, y2 = (float(v) * scale for v in boxes.xyxy[row])
        label = names[boxes.label[row]] if boxes.label[row] >= 0 else "?"
        score = None if boxes.score is None else float(boxes.score[row])
        said = short(label, 24) + ("" if score is None else f" {score:.2f}")
        whole = " · ".join(
            part
            for part in (label + ("" if score is None else f" {score:.3f}"), boxes.told[row])
            if part
        )
        shape = (
            f'x="{x1:.1f}" y="{y1:.1f}" width="{max(x2 - x1, 0.5):.1f}" '
            f'height="{max(y2 - y1, 0.5):.1f}"'
        )
        low = score is not None and score < min_score
        classes = f"b {_tint(boxes.label[row])}" + (" dash" if boxes.doubted[row] else "")
        classes += " masked" if outlines[row] else ""
        mask = f'<path d="{outlines[row]}"/>' if outlines[row] else ""
        end = x1 > width * 0.7
        lines.append(
            f'<g class="{classes}{" low" if low else ""}"'
            + ("" if score is None else f' data-s="{score:.3f}"')
            + f'><title>{text(whole)}</title>{mask}<rect class="halo" {shape}/><rect {shape}/>'
            f'<text x="{(x2 if end else x1):.1f}" y="{(y1 - 4 if y1 > 24 else y1 + 20):.1f}"'
            + (' text-anchor="end"' if end else "")
            + f">{text(said)}</text></g>"
        )
    return "".join(lines)
