"""Detectors of bare tensors at work: a picture in, its boxes out, whoever runs the network."""

from __future__ import annotations

import ast
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.base import Boxes
from quorate.detectors.finished import check, finish, not_finite
from quorate.detectors.names import given_names, told_names
from quorate.detectors.tensors.feed import Feed
from quorate.detectors.tensors.geometry import Placement, Resize, in_batches, placed
from quorate.detectors.tensors.layouts.layout import BACKGROUND, Layout, Raw, Wishes
from quorate.detectors.tensors.layouts.recognise import LAYOUTS, recognise
from quorate.detectors.tensors.preprocess import Normalisation
from quorate.detectors.tensors.suppress import MOST_CANDIDATES, suppress
from quorate.errors import DetectorError
from quorate.labels import VOCABULARIES
from quorate.networks import Graph, Network, names_of

if TYPE_CHECKING:
    from quorate.detectors.tensors.spec import TensorDetector

SINGLE = "the model in single precision"
SIDE = 640
"""Pixels of a network's side where neither the graph nor the spec says."""
FORMS = {"xyxy": "corners", "yxyx": "corners, y first", "cxcywh": "centre and size"}
ONE_PIXEL = 1.5
WITHIN = (
    "within the first pixel of the network's input: are they 0..1 of its size "
    "(`box_units: relative`)?"
)


@dataclass(frozen=True)
class TensorPredictor:
    """A loaded detector of tensors; see `quorate.detectors.Predictor` for its duties.

    Calls from several threads run at once and share nothing that is written: networks are made
    for that, and the room for the input is each thread's own.
    """

    labels: tuple[str, ...]
    layout: Layout
    network: Network
    feed: Feed
    resize: Resize
    size: tuple[int, int]
    antialias: bool
    normalisation: Normalisation
    min_score: float
    max_detections: int
    batch: int
    dropped: Counter[str] = field(default_factory=Counter, repr=False, compare=False)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        spec: TensorDetector,
        network: Network,
        *,
        origin: str,
        layouts: Sequence[Layout] = LAYOUTS,
    ) -> TensorPredictor:
        """Settle all that the spec leaves open; `layouts` are tried in order, a plug-in's its own.

        `origin` is the model's name in errors.
        """
        graph = network.graph
        names, first = _names(spec, graph, origin)
        feed = Feed.of(graph, origin=origin)
        frame = feed.size(spec.image_size, origin=origin) or _imgsz(graph) or (SIDE, SIDE)
        wishes = Wishes(
            names,
            frame,
            first,
            spec.activation,
            spec.box_format,
            spec.box_units,
            spec.nms_iou,
            spec.masks,
        )
        layout = recognise(
            graph,
            wishes,
            layout=spec.layout,
            look=lru_cache(maxsize=1)(
                lambda: network.run([t.name for t in graph.outputs], feed.made(0, frame))
            ),
            origin=origin,
            known=layouts,
        )
        if layout.asks and spec.channels is None:
            raise DetectorError(
                f"{origin}: files of the layout '{layout.name}' do not tell how they want pixels.",
                hint=f"say {layout.asks}",
            )
        _refuse_idle(spec, layout, origin)
        feed.check_resize(spec.resize, origin=origin)
        resize = _resize(spec, layout, feed)
        return cls(
            labels=names,
            layout=layout,
            network=network,
            feed=feed,
            resize=resize,
            size=_edges(spec) if resize == "shortest_edge" else frame,
            antialias=layout.antialias if spec.antialias is None else spec.antialias,
            normalisation=_normalisation(spec, layout, feed),
            min_score=spec.min_score,
            max_detections=spec.max_detections,
            batch=feed.batch or (spec.batch if layout.batches else 1),
        )

    @property
    def told(self) -> dict[str, str]:
        """What was found out, or said, of the model, in words: for `check` and the summary."""
        layout, pad = self.layout, self.normalisation.pad
        boxes = f"{FORMS[layout.form]}, {'0..1' if layout.units == 'relative' else 'pixels'}"
        if layout.nms_iou is not None:
            boxes += f", suppressed above IoU {layout.nms_iou:g}"
        return {
            "layout": f"{layout.name}, by {layout.why}",
            "input": self.feed.told(self.resize, self.size, pad, antialias=self.antialias),
            "colours": self.normalisation.told,
            "boxes": boxes,
            "names": told_names(layout.wishes.names, layout.base),
            **({"note": layout.note} if layout.note else {}),
        }

    def take_dropped(self) -> dict[str, int]:
        """How many boxes were left out since this was last asked, by the reason."""
        with self.lock:
            counts = dict(self.dropped)
            self.dropped.clear()
        return counts

    def predict(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Boxes]:
        """Find the boxes of each picture: by falling score, ties by corners, then label.

        DetectorError where the model fails, or gives a number that no box or score can have.
        """
        places = [self.place(picture.shape[:2]) for picture in pictures]
        return [
            boxes
            for group in in_batches(places, self.batch)
            for boxes in self._run([pictures[i] for i, _ in group], [p for _, p in group])
        ]

    def place(self, picture: tuple[int, ...]) -> Placement:
        """Where a picture of (height, width) lies in the network's input."""
        return placed(picture, self.resize, self.size)

    def tensors(
        self, pictures: Sequence[NDArray[np.uint8]], placements: Sequence[Placement]
    ) -> dict[str, NDArray[Any]]:
        """What the network is fed for pictures of one frame; see `Feed.filled`."""
        return self.feed.filled(pictures, placements, self.normalisation, antialias=self.antialias)

    def _run(
        self, pictures: list[NDArray[np.uint8]], placements: list[Placement]
    ) -> Iterator[Boxes]:
        outputs = self.network.run(self.layout.outputs, self.tensors(pictures, placements))
        for index, placement in enumerate(placements):
            try:
                raw = self.layout.decode(outputs, index, placement.frame, self.min_score)
            except (IndexError, ValueError, OverflowError) as error:
                shapes = ", ".join(f"{name} {value.shape}" for name, value in outputs.items())
                raise DetectorError(
                    f"the outputs are not of the layout '{self.layout.name}': {shapes} ({error})."
                ) from None
            yield self._boxes(raw, placement)

    def _boxes(self, raw: Raw, placement: Placement) -> Boxes:
        """Check, suppress, bring back to the picture, clip and order."""
        xyxy = np.asarray(raw.boxes, dtype=np.float32)
        score = np.asarray(raw.score, dtype=np.float32)
        label = np.asarray(raw.label, dtype=np.int32)
        remedy = (
            "set `activation: sigmoid` if the model leaves that out"
            if self.layout.activation
            else f"is its layout really '{self.layout.name}'?"
        )
        check(xyxy, score, single=SINGLE, too_high=remedy)
        base = self.layout.base
        if len(label) and label.max() >= len(self.labels):
            raise DetectorError(
                f"the model gave label number {label.max() + base}, but there are "
                f"{len(self.labels)} names, numbered from {base}",
                hint="correct `names` of the detector"
                + (", or the number of the first of them, `labels_from`" if base else ""),
            )
        if self.layout.units == "pixels" and 0 < np.abs(xyxy).max(initial=0) <= ONE_PIXEL:
            with self.lock:
                self.dropped[WITHIN] += len(xyxy)
        full = (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1])
        order = np.flatnonzero(full & (label >= 0))
        if len(order) < len(full):
            self._count(xyxy, label)
        order = order[np.argsort(-score[order], kind="stable")]
        if self.layout.nms_iou is not None and not self.layout.oriented:
            order = order[:MOST_CANDIDATES]
            iou = self.layout.nms_iou
            order = order[suppress(xyxy[order], label[order], iou, self.max_detections)]
        shown = placement.to_picture(xyxy[order])
        boxes, rows = finish(
            shown, score[order], label[order], placement.picture, self.max_detections
        )
        if raw.grids is None:
            return boxes
        grids = raw.grids.take(order[rows])
        if not np.isfinite(grids.planes).all():
            raise not_finite("a mask with a number", single=SINGLE)
        # Grids lie over all of the network's frame, of which the picture is a part.
        height, width = placement.picture
        corners = placement.to_frame(np.array([[0.0, 0.0, width, height]]))[0]
        x1, y1, x2, y2 = (corners / np.tile(placement.frame[::-1], 2)).tolist()
        return boxes._replace(masks=grids.drawn(boxes.xyxy, placement.picture, (x1, y1, x2, y2)))

    def _count(self, xyxy: NDArray[np.float32], label: NDArray[np.int32]) -> None:
        """Count the boxes that are none, or that have a label before the first name."""
        base = self.layout.base
        reasons: Counter[str] = Counter()
        # What is below 0 as the model numbers it pads the outputs.
        for number in np.unique(label[(label < 0) & (label >= -base)]).tolist():
            reasons[
                f"with label number {number + base} left out, for names count from {base} in the "
                f"layout '{self.layout.name}' (`labels_from`)"
            ] = int((label == number).sum())
        turned = (xyxy[:, 2] < xyxy[:, 0]) | (xyxy[:, 3] < xyxy[:, 1])
        if bad := int((turned & (label >= 0)).sum()):
            reasons[
                "left out that end before they begin: are they centre and size "
                "(`box_format: cxcywh`)?"
            ] = bad
        with self.lock:
            self.dropped.update(reasons)


def _names(spec: TensorDetector, graph: Graph, origin: str) -> tuple[tuple[str, ...], int | None]:
    """The labels without the background's, and the number of the first where that is said."""
    own = names_of(graph.metadata, origin=origin)
    names = given_names(spec.names) or own
    if not names:
        raise DetectorError(
            f"{origin}: the model does not say what its labels are called.",
            hint=f"list them in their order under `names:` of the detector '{spec.name}', "
            "for example `names: [car, person]`; or name a file of them, or "
            f"{', '.join(VOCABULARIES)}",
        )
    if own and len(own) != len(names):
        raise DetectorError(
            f"{origin}: the model names {len(own)} labels itself, but `names` of the detector "
            f"'{spec.name}' has {len(names)}.",
            hint="leave `names` out, or give as many; a label's other word goes under `labels:`",
        )
    # Numbers that are not used are called N/A in COCO's lists; a word stands once.
    names = tuple(f"{n} {i}" if n == "N/A" else n for i, n in enumerate(names))
    if names[0].lower() in BACKGROUND and len(names) > 1:
        return names[1:], (spec.labels_from or 0) + 1
    return names, spec.labels_from


def _refuse_idle(spec: TensorDetector, layout: Layout, origin: str) -> None:
    """DetectorError for what the layout has no use for."""
    if spec.activation and not layout.activation:
        raise DetectorError(
            f"{origin}: the layout '{layout.name}' has finished scores, so it takes no "
            f"`activation: {spec.activation}`."
        )
    if layout.labels_from is None and spec.labels_from:
        raise DetectorError(
            f"{origin}: in the layout '{layout.name}' a label is the place of its score, so "
            f"there is no `labels_from: {spec.labels_from}`.",
            hint="where the first score is of nothing, put a word for it first in `names`",
        )


def _resize(spec: TensorDetector, layout: Layout, feed: Feed) -> Resize:
    """How pictures are resized: the spec's word, else the layout's for such a network."""
    if None not in feed.frame:
        return spec.resize or layout.resize
    own = layout.open_resize or layout.resize
    return spec.resize or (layout.resize if own == "none" and spec.image_size else own)


def _edges(spec: TensorDetector) -> tuple[int, int]:
    """(shortest, longest) of `resize: shortest_edge`; by default DETR's own, and its ratio."""
    asked = spec.image_size or 800
    return (asked, round(asked * 1333 / 800)) if isinstance(asked, int) else asked


def _imgsz(graph: Graph) -> tuple[int, int] | None:
    """Ultralytics' metadata `imgsz`, "[height, width]"."""
    try:
        height, width = ast.literal_eval(graph.metadata["imgsz"][:100])
        size = int(height), int(width)
    except (KeyError, ValueError, TypeError, ArithmeticError, SyntaxError, MemoryError):
        return None
    return size if min(size) > 0 else None


def _normalisation(spec: TensorDetector, layout: Layout, feed: Feed) -> Normalisation:
    own = layout.normalisation
    if feed.whole:
        own = Normalisation(scale=1.0, channels=own.channels, pad=own.pad)
    given = {
        name: value
        for name in ("scale", "mean", "std", "channels", "pad")
        if (value := getattr(spec, name)) is not None
    }
    return replace(own, **given)
