"""One call fuses a data set: order, groups, boxes, over ranges of pictures in threads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quorate.columns import concat_offsets
from quorate.detections import FUSED, Detections, Members
from quorate.errors import InputError
from quorate.fusion.kernel import fuse_pictures
from quorate.fusion.masks import OWN_RULE, fused_masks, settled
from quorate.fusion.method import Method
from quorate.fusion.order import number_pictures
from quorate.fusion.rules import Rule, Tables, rule_of, tables_of
from quorate.labels import Labels

if TYPE_CHECKING:
    from quorate.spec.fusion import Fusion

BOXES_AT_ONCE = 1 << 15  # a range of pictures with about so many boxes stays in the cache


@dataclass(frozen=True, slots=True)
class Columns:
    """Boxes as the kernels read them, and which of them belong to which picture."""

    xyxy: NDArray[Any]
    score: NDArray[Any]
    category: NDArray[np.int32]
    detector: NDArray[np.int16]
    identity: NDArray[np.int32]
    offsets: NDArray[np.int64]
    rows: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fused:
    """Fused boxes of consecutive pictures; the fields are those that `merge_groups` returns."""

    kept_of_picture: NDArray[np.int64]
    xyxy: NDArray[Any]
    score: NDArray[Any]
    category: NDArray[np.int32]
    votes: NDArray[np.int16]
    agreement: NDArray[Any]
    member_offsets: NDArray[np.int64]
    member_rows: NDArray[np.int64]


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
    by_name = sorted(range(len(names)), key=names.__getitem__)
    tables = tables_of(method, [names[i] for i in by_name], labels)
    columns, ids = _columns(detections, names, by_name, image_order)
    columns = settled(columns, detections.masks)
    fused = run(columns, rule, tables, threads=threads, single=True)
    detector = detections.detector[fused.member_rows]
    if names != detections.detectors:
        position = [names.index(name) if name in names else -1 for name in detections.detectors]
        detector = np.array(position, dtype=np.int16)[detector]
    return Detections(
        image_id=np.repeat(ids, np.diff(fused.kept_of_picture)),
        category_id=fused.category,
        xyxy=fused.xyxy,
        score=fused.score,
        detector=np.full(len(fused.score), FUSED, dtype=np.int16),
        votes=fused.votes,
        agreement=fused.agreement,
        detectors=names,
        members=Members(
            offsets=fused.member_offsets,
            detector=detector,
            score=detections.score[fused.member_rows],
        ),
        masks=fused_masks(
            detections,
            columns,
            tables,
            fused,
            method.masks or OWN_RULE.get(method.method, "majority"),
            threads=threads,
        ),
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
        by_name = sorted(range(len(names)), key=names.__getitem__)
        tables = tables_of(method, [names[i] for i in by_name], labels)
        columns, _ = _columns(detections, names, by_name, None)
        rule = rule_of(method, len(names))
        mask[run(columns, rule, tables, single=True).member_rows] = True
    return mask


def run(
    columns: Columns,
    rule: Rule,
    tables: Tables,
    *,
    threads: int | None = None,
    single: bool = False,
    by_category: bool = False,
) -> Fused:
    """Fuse all pictures of `columns`; boxes are of the type of its own, rounded when `single`."""

    def fuse_range(bounds: tuple[int, int]) -> Fused:
        result: tuple[Any, ...] = fuse_pictures(
            columns.rows,
            columns.offsets,
            bounds[0],
            bounds[1],
            columns.xyxy,
            columns.score,
            columns.category,
            columns.detector,
            columns.identity,
            tables.special,
            tables.iou,
            tables.min_score,
            tables.weights,
            rule.from_box,
            rule.from_score,
            rule.moving,
            rule.one_each,
            rule.first,
            rule.smaller,
            rule.agnostic,
            rule.from_category,
            rule.min_votes,
            rule.decays,
            rule.gaussian,
            float(rule.sigma),
            float(rule.floor),
            rule.undecayed,
            rule.capped,
            by_category,
            single,
        )
        if result[0] >= 0:
            raise _bad_box(columns, result[0])
        return Fused(*result[1:])

    if columns.offsets[-1] <= BOXES_AT_ONCE:
        return fuse_range((0, len(columns.offsets) - 1))
    ranges = list(_ranges(columns.offsets))
    workers = min(threads or len(os.sched_getaffinity(0)), len(ranges))
    if workers <= 1:
        return _joined([fuse_range(bounds) for bounds in ranges])
    with ThreadPoolExecutor(workers) as pool:
        return _joined(list(pool.map(fuse_range, ranges)))


def _ranges(offsets: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
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


def _joined(parts: list[Fused]) -> Fused:
    """The boxes of ranges of pictures as those of one range."""
    if len(parts) == 1:
        return parts[0]

    def offsets(name: str) -> NDArray[np.int64]:
        return concat_offsets([getattr(part, name) for part in parts])

    return Fused(
        kept_of_picture=offsets("kept_of_picture"),
        member_offsets=offsets("member_offsets"),
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("xyxy", "score", "category", "votes", "agreement", "member_rows")
        },
    )


def _columns(
    detections: Detections,
    names: Sequence[str],
    by_name: Sequence[int],
    image_order: ArrayLike | None,
) -> tuple[Columns, NDArray[np.int64]]:
    """Columns for the kernels and the image id of each picture."""
    known = np.empty(0, np.int64)
    if image_order is not None:
        known = np.ascontiguousarray(image_order, dtype=np.int64).reshape(-1)
    ids, offsets, rows = number_pictures(_plain(detections.image_id), _plain(known))
    if image_order is not None and len(ids) > len(known):
        raise InputError(
            f"{len(ids) - len(known)} pictures have boxes but are not in the given order, "
            f"such as image id {ids[len(known)]}."
        )
    place = {names[i]: rank for rank, i in enumerate(by_name)}
    identity = np.array([place.get(name, -1) for name in detections.detectors], dtype=np.int32)
    if len(detections):
        _refuse_strangers(detections, identity)
    return (
        Columns(
            xyxy=_plain(detections.xyxy),
            score=_plain(detections.score),
            category=_plain(detections.category_id),
            detector=_plain(detections.detector),
            identity=identity,
            offsets=offsets,
            rows=rows,
        ),
        ids,
    )


def _plain(column: NDArray[Any]) -> NDArray[Any]:
    """The column in the one memory layout that kernels are compiled for (Arrow's is read-only)."""
    flags = column.flags
    return column if flags.carray and flags.writeable else column.copy(order="C")


def _refuse_strangers(detections: Detections, identity: NDArray[np.int32]) -> None:
    """Every box must be one detector's own, and that detector must have taken part."""
    low, high = int(detections.detector.min()), int(detections.detector.max())
    if low < 0:
        raise InputError(
            "Some of the boxes have already been fused.", hint="fuse the detectors' own boxes"
        )
    if high >= len(identity):
        raise InputError(f"A box is of detector number {high}, but there are {len(identity)}.")
    if (identity < 0).any():
        for position in np.flatnonzero(identity < 0):
            if (detections.detector == position).any():
                raise InputError(
                    f"There are boxes of '{detections.detectors[position]}', which is not among "
                    "the detectors that took part."
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


def compile_kernels() -> None:
    """Compile every kernel now, or load it from the cache, so that no later call waits for it.

    The compiled code lies beside the modules, or where NUMBA_CACHE_DIR says.
    """
    from quorate.fusion.ensemble_boxes import soft_nms, weighted_boxes_fusion

    box, names = [[0.0, 0.0, 1.0, 1.0]], ("a",)
    one = Detections.build(image_id=[0], category_id=1, xyxy=box, score=0.5, detectors=names)
    for method in ("consensus", "soft_nms"):
        fuse(one, Method.named(method))
    weighted_boxes_fusion([box], [[0.5]], [[1]])
    soft_nms([box], [[0.5]], [[1]])


def _of_nothing(names: tuple[str, ...]) -> Detections:
    members = Members(np.zeros(1, np.int64), np.empty(0, np.int16), np.empty(0, np.float32))
    return Detections.build(
        image_id=[], category_id=[], xyxy=[], score=[], detectors=names, members=members
    )
