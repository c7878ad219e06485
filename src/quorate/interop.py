"""Boxes of other libraries: plain arrays, torch tensors, supervision's `Detections`.

Nothing is imported that the caller has not imported: an array is whatever numpy can see as one,
through `__array__`, DLPack, or, as for a tensor with gradients or on a GPU, after
`.detach().cpu()`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quorate.detections import Detections
from quorate.errors import InputError
from quorate.fusion import fuse
from quorate.labels import Labels
from quorate.masks import Masks

if TYPE_CHECKING:
    import supervision

    from quorate.spec.fusion import Fusion


def fuse_boxes(
    boxes: Sequence[Any],
    scores: Sequence[Any],
    categories: Sequence[Any],
    fusion: Fusion,
    *,
    detectors: Sequence[str] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    """Fuse the boxes of one picture, an array for each detector, in any unit.

    For many pictures build one `Detections` and call `quorate.fuse` once: it is faster by far.

    Args:
        boxes: (n, 4) x1, y1, x2, y2 for each detector; arrays, lists or tensors.
        scores: (n,) for each.
        categories: (n,) whole numbers for each.
        fusion: the method, for example `WeightedBoxesFusion(weights={"a": 2})`.
        detectors: their names, for weights; by default "0", "1", …

    Returns boxes (k, 4), scores (k,) and categories (k,), by falling score.

    Raises InputError where the lists or arrays differ in length, or a box is bad; see `fuse`.
    """
    names = _names(detectors, len(boxes))
    for what, given in (("scores", scores), ("categories", categories)):
        if len(given) != len(boxes):
            raise InputError(f"{len(given)} arrays of {what} for {len(boxes)} detectors.")
    parts = [
        Detections.build(
            image_id=np.zeros(len(score := array_of(given_score).reshape(-1)), np.int64),
            category_id=array_of(category).reshape(-1),
            xyxy=array_of(box).reshape(-1, 4),
            score=score,
            detectors=(name,),
        )
        for box, given_score, category, name in zip(boxes, scores, categories, names, strict=True)
    ]
    fused = fuse(Detections.concat(parts), fusion, detectors=names)
    return fused.xyxy, fused.score, fused.category_id


def array_of(values: Any) -> NDArray[Any]:
    """Anything array-like as a numpy array; tensors are detached and brought to the host."""
    for step in ("detach", "cpu"):
        if hasattr(values, step):
            values = getattr(values, step)()
    if not hasattr(values, "__array__") and hasattr(values, "__dlpack__"):
        return np.from_dlpack(values)
    return np.asarray(values)


def from_supervision(
    detections: Mapping[str, supervision.Detections] | Sequence[supervision.Detections],
    *,
    image_id: int = 0,
) -> Detections:
    """Detections of one picture, one of supervision's `Detections` for each detector.

    A mapping names the detectors. Their `class_id` is the category (0 where there is none), their
    `confidence` the score (1 where there is none), their `mask` the mask.

    Example:
        >>> found = from_supervision({"yolo": yolo, "rtdetr": rtdetr})
        >>> to_supervision(fuse(found, Consensus()))
    """
    if isinstance(detections, Mapping):
        values, names = list(detections.values()), tuple(detections)
    else:
        values, names = list(detections), _names(None, len(detections))
    return Detections.concat(
        [
            Detections.build(
                image_id=np.full(len(one), image_id),
                category_id=0 if one.class_id is None else array_of(one.class_id),
                xyxy=array_of(one.xyxy),
                score=1.0 if one.confidence is None else array_of(one.confidence),
                detectors=(name,),
                masks=None if one.mask is None else Masks.from_bitmaps(array_of(one.mask)),
            )
            for one, name in zip(values, names, strict=True)
        ]
    )


def to_supervision(
    detections: Detections, *, image_id: int | None = None, labels: Labels | None = None
) -> supervision.Detections:
    """Supervision's `Detections` of one picture: of all boxes, or of those of `image_id`.

    `data` holds `votes` and `agreement` (1 for a detector's own box), and `class_name` where
    `labels` are given; of no boxes too.
    `mask` is all pixels of each, nothing for a box that has none.

    Raises InputError where boxes of several pictures are given without saying which is meant,
    or supervision is not installed.
    """
    try:
        import supervision
    except ImportError:
        raise InputError("supervision is not installed.", hint="pip install supervision") from None
    if image_id is not None:
        detections = detections.take(detections.image_id == image_id)
    elif len(np.unique(detections.image_id)) > 1:
        raise InputError("The boxes are of several pictures.", hint="say image_id=…")
    # The same keys for every picture, that nothing was found on too: supervision merges no others.
    data: dict[str, Any] = {
        "votes": detections.votes.copy(),
        "agreement": detections.agreement.copy(),
    }
    if labels is not None:
        data["class_name"] = np.array([labels.name_of(int(i)) for i in detections.category_id], str)
    masks, bitmaps = detections.masks, None
    if masks is not None and masks.there.any():
        height, width = masks.size[masks.there][0].tolist()
        bitmaps = np.zeros((len(masks), height, width), dtype=bool)
        for row in np.flatnonzero(masks.there).tolist():
            bitmaps[row] = masks.bitmap(row)
    return supervision.Detections(
        xyxy=detections.xyxy.copy(),
        mask=bitmaps,
        confidence=detections.score.copy(),
        class_id=detections.category_id.astype(int),
        data=data,
    )


def _names(detectors: Sequence[str] | None, n: int) -> tuple[str, ...]:
    names = tuple(map(str, range(n))) if detectors is None else tuple(detectors)
    if len(names) != n:
        raise InputError(f"{len(names)} names for {n} detectors.")
    return names
