"""What holds for every method and every input."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.detections import FUSED, Detections
from quorate.fusion import carried, fuse
from quorate.spec import (
    Affirmative,
    Consensus,
    Fusion,
    Nms,
    NonMaximumMerging,
    NonMaximumWeighted,
    SoftNms,
    Unanimous,
    Votes,
    WeightedBoxesFusion,
)
from tests.strategies import NAMES, detections

VOTING: list[Fusion] = [
    Affirmative(),
    Affirmative(confidence="max", iou=0.3),
    Consensus(),
    Consensus(weights={"ash": 2.0, "elm": 0.5}),
    Unanimous(iou=0.2),
    Votes(min_votes=2, confidence="voters"),
    Votes(min_votes=2, classes="majority"),
]
METHODS: list[Fusion] = [
    *VOTING,
    WeightedBoxesFusion(),
    WeightedBoxesFusion(confidence="max", weights={"birch": 3.0}),
    WeightedBoxesFusion(confidence="box_and_model_avg", iou=0.3),
    WeightedBoxesFusion(confidence="absent_model_aware_avg", weights={"cedar": 0.25}),
    WeightedBoxesFusion(classes="max", iou=0.0),
    Nms(),
    Nms(overlap="ios", classes="majority"),
    SoftNms(),
    SoftNms(decay="linear", iou=0.3),
    NonMaximumWeighted(),
    NonMaximumMerging(overlap="ios"),
]
every_method = pytest.mark.parametrize("fusion", METHODS, ids=repr)
COLUMNS = ("image_id", "category_id", "xyxy", "score", "votes", "agreement")


def as_names(fused: Detections) -> list[list[tuple[str, float]]]:
    assert fused.members is not None
    who = [fused.detectors[i] for i in fused.members.detector]
    pairs = list(zip(who, fused.members.score.tolist(), strict=True))
    bounds = fused.members.offsets
    return [sorted(pairs[a:b]) for a, b in pairwise(bounds)]


def assert_same(one: Detections, other: Detections) -> None:
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert as_names(one) == as_names(other)


@every_method
@given(data=st.data(), boxes=detections())
@settings(max_examples=25, deadline=None)
def test_the_order_of_boxes_and_detectors_changes_nothing(
    fusion: Fusion, data: st.DataObject, boxes: Detections
) -> None:
    rows = np.array(data.draw(st.permutations(range(len(boxes)))), dtype=np.int64)
    names = data.draw(st.permutations(NAMES))
    shuffled = boxes.take(rows)
    renumbered = Detections.build(
        image_id=shuffled.image_id,
        category_id=shuffled.category_id,
        xyxy=shuffled.xyxy,
        score=shuffled.score,
        detector=np.array([names.index(name) for name in NAMES])[shuffled.detector],
        detectors=names,
    )
    assert_same(
        fuse(boxes, fusion, image_order=[1, 2]), fuse(renumbered, fusion, image_order=[1, 2])
    )


@every_method
@given(boxes=detections())
@settings(max_examples=25, deadline=None)
def test_scores_votes_and_members_are_within_their_bounds(
    fusion: Fusion, boxes: Detections
) -> None:
    fused = fuse(boxes, fusion)
    assert fused.members is not None
    assert (fused.score >= 0).all()
    assert (fused.score <= 1).all()
    assert (fused.votes >= 1).all()
    assert (fused.votes <= len(NAMES)).all()
    assert (fused.agreement >= 0).all()
    assert (fused.agreement <= 1 + 1e-6).all()
    assert (fused.detector == FUSED).all()
    # A box of the input belongs to one group at most.
    members = sorted(who for group in as_names(fused) for who in group)
    given_boxes = sorted(zip([NAMES[i] for i in boxes.detector], boxes.score.tolist(), strict=True))
    assert len(members) == np.count_nonzero(carried(boxes, fusion))
    for member in set(members):
        assert members.count(member) <= given_boxes.count(member)
    votes = [len({who for who, _ in group}) for group in as_names(fused)]
    assert votes == fused.votes.tolist()


@every_method
@given(boxes=detections())
@settings(max_examples=20, deadline=None)
def test_boxes_come_by_falling_score_with_ties_settled(fusion: Fusion, boxes: Detections) -> None:
    fused = fuse(boxes, fusion, image_order=[1, 2])
    keys = [
        (image, -score, category, *box)
        for image, score, category, box in zip(
            fused.image_id.tolist(),
            fused.score.tolist(),
            fused.category_id.tolist(),
            fused.xyxy.tolist(),
            strict=True,
        )
    ]
    assert keys == sorted(keys)


@every_method
def test_nothing_in_nothing_out(fusion: Fusion) -> None:
    for names in ((), NAMES):
        if names or not isinstance(fusion, Votes):
            fused = fuse(Detections.empty(names), fusion)
            assert len(fused) == 0
            assert fused.detectors == names
            assert fused.members is not None


@given(boxes=detections(names=("ash",)))
@settings(max_examples=100, deadline=None)
def test_affirmative_with_one_detector_is_the_identity(boxes: Detections) -> None:
    fused = fuse(boxes, Affirmative())

    def as_set(these: Detections) -> list[tuple[float, ...]]:
        return sorted(
            (int(image), int(category), float(score), *map(float, box))
            for image, category, score, box in zip(
                these.image_id, these.category_id, these.score, these.xyxy, strict=True
            )
        )

    assert as_set(fused) == as_set(boxes)
    assert (fused.votes == 1).all()
    assert (fused.agreement == 1).all()


@pytest.mark.parametrize(
    "fusion", [f for f in VOTING if f.classes == "separate" and not f.weights], ids=repr
)
@given(data=st.data(), boxes=detections(pictures=1))
@settings(max_examples=60, deadline=None)
def test_an_agreeing_detector_removes_nothing(
    fusion: Fusion, data: st.DataObject, boxes: Detections
) -> None:
    """A further detector that repeats the best box of each carried group, no more sure of it."""
    before = fuse(boxes, fusion, detectors=NAMES)
    best, lower = _leaders(boxes, fusion, before), data.draw(st.floats(0.0, 1.0))
    agreeing = Detections.build(
        image_id=best.image_id,
        category_id=best.category_id,
        xyxy=best.xyxy,
        score=best.score * np.float32(lower),
        detector=len(NAMES),
        detectors=(*NAMES, "zebrawood"),
    )
    after = fuse(Detections.concat([boxes, agreeing]), fusion)
    remaining = [[m for m in group if m[0] != "zebrawood"] for group in as_names(after)]
    for group in as_names(before):
        assert group in remaining
        remaining.remove(group)


def _leaders(boxes: Detections, fusion: Fusion, fused: Detections) -> Detections:
    """The best member of each carried group, ties as documented."""
    assert fused.members is not None
    names = np.array([boxes.detectors.index(name) for name in fused.detectors])
    leaders = []
    taken: set[int] = set()
    for k in range(len(fused)):
        start = fused.members.offsets[k]
        who, score = names[fused.members.detector[start]], fused.members.score[start]
        rows = np.flatnonzero(
            (boxes.detector == who)
            & (boxes.score == score)
            & (boxes.category_id == fused.category_id[k])
        )
        overlaps = [_iou(boxes.xyxy[row], fused.xyxy[k]) for row in rows]
        order = [int(rows[i]) for i in np.argsort(overlaps, kind="stable")[::-1]]
        leaders.append(next(row for row in order if row not in taken))
        taken.add(leaders[-1])
    return boxes.take(np.array(leaders, dtype=np.int64))


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    wide, high = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = max(float(wide), 0.0) * max(float(high), 0.0)
    both = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - common
    return common / both if both else float(np.array_equal(a, b))


@every_method
@given(boxes=detections(), power=st.integers(-6, 6))
@settings(max_examples=12, deadline=None)
def test_only_the_ratio_of_weights_counts(fusion: Fusion, boxes: Detections, power: int) -> None:
    one = fusion.model_copy(
        update={"weights": {"ash": 1.0, "birch": 2.0, "elm": 0.5, "cedar": 3.0}}
    )
    scaled = {name: weight * 2.0**power for name, weight in one.weights.items()}
    other = fusion.model_copy(update={"weights": scaled})
    assert_same(fuse(boxes, one), fuse(boxes, other))


@every_method
@given(boxes=detections(), power=st.integers(-4, 4))
@settings(max_examples=12, deadline=None)
def test_the_unit_of_coordinates_does_not_matter(
    fusion: Fusion, boxes: Detections, power: int
) -> None:
    scale = np.float32(2.0**power)
    scaled = Detections.build(
        image_id=boxes.image_id,
        category_id=boxes.category_id,
        xyxy=boxes.xyxy * scale,
        score=boxes.score,
        detector=boxes.detector,
        detectors=boxes.detectors,
    )
    one, other = fuse(boxes, fusion), fuse(scaled, fusion)
    np.testing.assert_array_equal(one.xyxy * scale, other.xyxy)
    np.testing.assert_array_equal(one.score, other.score)
