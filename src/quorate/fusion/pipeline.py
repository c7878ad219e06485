"""One call fuses a data set: order, groups, boxes, over ranges of pictures in threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quorate.detections import FUSED, Detections, Members
from quorate.errors import InputError
from quorate.fusion.boxes import merge_groups, order_fused
from quorate.fusion.columns import (
    AGREEMENT,
    CATEGORY,
    PICTURE,
    SCORE,
    VOTES,
    Columns,
    Floats,
    Fused,
    Ints,
)
from quorate.fusion.groups import form_groups
from quorate.fusion.masks import OWN_RULE, fused_masks, settled
from quorate.fusion.order import number_pictures, sort_boxes
from quorate.fusion.rules import Method, Rule, numbers_of, rule_of
from quorate.labels import Labels
from quorate.workers import in_threads

if TYPE_CHECKING:
    from quorate.spec.fusion import Fusion

BOXES_AT_ONCE = 1 << 15  # a range of pictures with about so many boxes stays in the cache


def fuse(
    detections: Detections,
    fusion: Fusion | Method,
    *,
    detectors: Sequence[str] | None = None,
    labels: Labels | None = None,
    image_order: ArrayLike | None = None,
    threads: int | None = None,
) -> Detections:
    """Let the detectors' boxes of a whole data set decide.

    Boxes are xyxy in pixels (any unit will do); one call fuses all pictures and categories, in
    parallel over pictures. A box without area overlaps nothing, so it stays on its own.

    Args:
        detections: the detectors' own boxes, rows in any order.
        fusion: the method and its numbers, as in the spec.
        detectors: those that took part, also those that found nothing, so that votes can be
            counted against them; by default `detections.detectors`. Weights of others are idle.
        labels: needed when `fusion.categories` names labels, to find their ids.
        image_order: image ids in the order of the output; by default that of first appearance.
        threads: how many work at once; by default as many as there are cores for this process.

    Returns:
        Detections with `detector` = FUSED, their votes, agreement (mean IoU of the members with
        the box), members and, where members have any, masks. Pictures are in order and have no
        rows when no box was carried. In a picture boxes are by falling score, then by rising
        category, x1, y1, x2, y2. The same boxes in another order, or detectors in another order,
        give the same output to the bit.

    Raises:
        InputError: a box that is inverted or not finite, a score outside 0..1, a box of a
            detector that took no part or of a picture that is not in `image_order`, or more
            votes asked for than detectors took part.
        LabelError: a category of `fusion` that is not in `labels`.

    Example:
        >>> fuse(detections, Consensus(iou=0.5)).votes
    """
    names = tuple(detections.detectors if detectors is None else detectors)
    if len(set(names)) != len(names):
        raise InputError(f"A detector stands twice among those that took part: {', '.join(names)}.")
    if not names and not len(detections):
        return _of_nothing(names)
    method = Method.of(fusion)
    rule = rule_of(method, len(names))
    numbers = numbers_of(method, sorted(names), labels)
    columns, ids = _columns(detections, names, image_order)
    columns = settled(columns, detections.masks)
    fused = run(columns, rule, numbers, threads=threads)
    position = [names.index(name) if name in names else -1 for name in detections.detectors]
    members = Members(
        offsets=fused.member_offsets,
        detector=np.array(position, dtype=np.int16)[detections.detector[fused.member_rows]],
        score=detections.score[fused.member_rows],
    )
    how = method.masks or OWN_RULE.get(method.method, "majority")
    return Detections(
        image_id=np.repeat(ids, fused.kept),
        category_id=fused.category,
        xyxy=fused.xyxy,
        score=fused.score,
        detector=np.full(len(fused.score), FUSED, dtype=np.int16),
        votes=fused.votes,
        agreement=fused.agreement,
        detectors=names,
        members=members,
        masks=fused_masks(detections, columns, numbers, fused, how, threads=threads),
    )


def carried(
    detections: Detections,
    fusion: Fusion | Method,
    *,
    detectors: Sequence[str] | None = None,
    labels: Labels | None = None,
) -> NDArray[np.bool_]:
    """(n,) Which of the detectors' own boxes are members of a fused box.

    With a voting method this is the quorum as a filter before another method:
    `fuse(boxes.take(carried(boxes, Consensus())), WeightedBoxesFusion())`. Arguments and errors
    are those of `fuse`.
    """
    names = tuple(detections.detectors if detectors is None else detectors)
    mask = np.zeros(len(detections), dtype=np.bool_)
    if len(detections):
        method = Method.of(fusion)
        numbers = numbers_of(method, sorted(names), labels)
        columns, _ = _columns(detections, names, None)
        mask[run(columns, rule_of(method, len(names)), numbers).member_rows] = True
    return mask


def run(
    columns: Columns,
    rule: Rule,
    numbers: Floats,
    *,
    threads: int | None = None,
    by_category: bool = False,
) -> Fused:
    """Fuse all pictures of `columns`, in a picture by category first if `by_category`."""

    def fuse_range(bounds: tuple[int, int]) -> Fused:
        return _fuse_range(columns, bounds, rule, numbers, by_category)

    if columns.offsets[-1] <= BOXES_AT_ONCE:
        return fuse_range((0, len(columns.offsets) - 1))
    return Fused.concat(in_threads(fuse_range, [*_ranges(columns.offsets)], threads))


def _fuse_range(
    columns: Columns, bounds: tuple[int, int], rule: Rule, numbers: Floats, by_category: bool
) -> Fused:
    """Fuse the pictures from bounds[0] up to bounds[1]: weigh, sort, group or decay, merge, sort.

    The kernels are compiled one by one, so that a method waits only for those it calls.
    """
    offsets = columns.offsets[bounds[0] : bounds[1] + 1]
    rows = columns.rows[offsets[0] : offsets[-1]]
    box, tag = np.empty((len(rows), 6)), np.empty((len(rows), 5), np.int64)
    runs = np.empty(len(rows) + 1, np.int64)
    # Corners and scores are of float32 or float64; the kernels are compiled for one type.
    given = (
        columns.xyxy.take(rows, axis=0).astype(np.float64),
        columns.score.take(rows).astype(np.float64),
        columns.category,
        columns.detector,
        columns.identity,
    )
    n, found = sort_boxes(rows, offsets, given, numbers, rule.agnostic, box, tag, runs)
    if n < 0:
        raise _bad_box(columns, int(rows[-1 - n]))
    box, tag, runs, settings = box[:n], tag[:n], runs[: found + 1], rule.array()
    groups = np.empty((2, n + 1), np.int64)
    if rule.decays:
        from quorate.fusion.decay import decay_scores

        decay_scores(box, tag, runs, numbers, settings)
        groups[:] = np.arange(n + 1)
        count = n
    else:
        count = form_groups(box, tag, runs, numbers, settings, groups)
    fused, fused_tag = np.empty((count, 6)), np.empty((count, 5), np.int64)
    kept = merge_groups(box, tag, groups, numbers, settings, fused, fused_tag)
    fused, fused_tag = fused[:kept], fused_tag[:kept]
    order, member_offsets = np.empty(kept, np.int64), np.empty(kept + 1, np.int64)
    member_rows = np.empty(n, np.int64)
    order_fused(fused, fused_tag, tag, groups, by_category, order, member_offsets, member_rows)
    fused, fused_tag = fused.take(order, axis=0), fused_tag.take(order, axis=0)
    kind = columns.xyxy.dtype
    return Fused(
        kept=np.bincount(fused_tag[:, PICTURE], minlength=len(offsets) - 1),
        xyxy=fused[:, :SCORE].astype(kind),
        score=fused[:, SCORE].astype(kind),
        category=fused_tag[:, CATEGORY].astype(np.int32),
        votes=fused_tag[:, VOTES].astype(np.int16),
        agreement=fused[:, AGREEMENT].astype(kind),
        member_offsets=member_offsets,
        member_rows=member_rows[: member_offsets[-1]],
    )


def _ranges(offsets: Ints) -> Iterator[tuple[int, int]]:
    """Cut pictures into ranges of about BOXES_AT_ONCE boxes; at least one range, maybe empty."""
    pictures = len(offsets) - 1
    first = 0
    while True:
        enough = int(np.searchsorted(offsets, offsets[first] + BOXES_AT_ONCE))
        last = min(max(enough, first + 1), pictures)
        yield first, last
        if last == pictures:
            return
        first = last


def _columns(
    detections: Detections,
    names: Sequence[str],
    image_order: ArrayLike | None,
) -> tuple[Columns, Ints]:
    """Columns for the kernels and the image id of each picture."""
    known = np.empty(0, np.int64)
    if image_order is not None:
        known = np.ascontiguousarray(image_order, dtype=np.int64).reshape(-1)
    ids, offsets, rows = number_pictures(detections.image_id, known)
    if image_order is not None and len(ids) > len(known):
        raise InputError(
            f"{len(ids) - len(known)} pictures have boxes but are not in the given order, "
            f"such as image id {ids[len(known)]}."
        )
    place = {name: rank for rank, name in enumerate(sorted(names))}
    identity = np.array([place.get(name, -1) for name in detections.detectors], dtype=np.int64)
    if len(detections):
        _refuse_strangers(detections, identity)
    category, detector = _plain(detections.category_id), _plain(detections.detector)
    xyxy, score = detections.xyxy, detections.score
    return Columns(xyxy, score, category, detector, identity, offsets, rows), ids


def _plain(column: NDArray[Any]) -> NDArray[Any]:
    """The column in the one memory layout that kernels are compiled for (Arrow's is read-only)."""
    flags = column.flags
    return column if flags.carray and flags.writeable else column.copy(order="C")


def _refuse_strangers(detections: Detections, identity: Ints) -> None:
    """Every box must be one detector's own, and that detector must have taken part."""
    low, high = int(detections.detector.min()), int(detections.detector.max())
    if low < 0:
        raise InputError(
            "Some of the boxes have already been fused.", hint="fuse the detectors' own boxes"
        )
    if high >= len(identity):
        raise InputError(f"A box is of detector number {high}, but there are {len(identity)}.")
    for position in np.flatnonzero(identity < 0):
        if (detections.detector == position).any():
            raise InputError(
                f"There are boxes of '{detections.detectors[position]}', which is not among the "
                "detectors that took part."
            )


def _bad_box(columns: Columns, row: int) -> InputError:
    """What is wrong with a box that the kernel refused."""
    x1, y1, x2, y2 = (float(value) for value in columns.xyxy[row])
    score = float(columns.score[row])
    box = f"Box {row} ({x1:g}, {y1:g}, {x2:g}, {y2:g}; score {score:g})"
    if not np.isfinite([x1, y1, x2, y2, score]).all():
        return InputError(f"{box} has a coordinate or a score that is NaN or infinite.")
    if x2 < x1 or y2 < y1:
        return InputError(
            f"{box} ends before it begins.",
            hint="boxes are x1, y1, x2, y2; are these x, y, width, height?",
        )
    return InputError(
        f"{box} has a score outside 0..1.", hint="logits need a sigmoid, percents a division by 100"
    )


def _of_nothing(names: tuple[str, ...]) -> Detections:
    members = Members(np.zeros(1, np.int64), np.empty(0, np.int16), np.empty(0, np.float32))
    return Detections.build(
        image_id=[], category_id=[], xyxy=[], score=[], detectors=names, members=members
    )
