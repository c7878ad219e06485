"""What `fuse` does with a few boxes that can be checked by hand."""

from dataclasses import replace
from typing import Any

import ensemble_boxes as peer
import numpy as np
import pytest
from supervision import Detections as Theirs

from quorate.detections import Detections
from quorate.errors import InputError, LabelError, SpecError
from quorate.fusion import carried, fuse
from quorate.labels import Labels
from quorate.spec import (
    Affirmative,
    CategoryFusion,
    Consensus,
    Fusion,
    Nms,
    NonMaximumMerging,
    SoftNms,
    Unanimous,
    Votes,
    WeightedBoxesFusion,
)

LABELS = Labels.from_names(["car", "person"])


def boxes(*rows: Any, detectors: str = "abc") -> Detections:
    """Rows of (detector, x1, y1, x2, y2, score[, category[, image]])."""
    full = [(*row, *(1, 1)[len(row) - 6 :]) for row in rows]
    return Detections.build(
        image_id=[row[7] for row in full],
        category_id=[row[6] for row in full],
        xyxy=[row[1:5] for row in full],
        score=[row[5] for row in full],
        detector=[detectors.index(row[0]) for row in full],
        detectors=tuple(detectors),
    )


SQUARE = (0, 0, 10, 10)


@pytest.mark.parametrize(
    ("fusion", "kept"),
    [
        (Affirmative(), [3, 2, 1]),
        (Consensus(), [3, 2]),
        (Unanimous(), [3]),
        (Votes(min_votes=2), [3, 2]),
    ],
)
def test_votes_decide(fusion: Fusion, kept: list[int]) -> None:
    given = boxes(
        *((who, *SQUARE, 0.9) for who in "abc"),
        *((who, 20, 0, 30, 10, 0.8) for who in "ab"),
        ("c", 40, 0, 50, 10, 0.7),
    )
    assert fuse(given, fusion).votes.tolist() == kept


def test_consensus_is_more_than_half_of_those_that_took_part() -> None:
    given = boxes(("a", *SQUARE, 0.9), ("b", *SQUARE, 0.8), detectors="ab")
    for others, carries in (((), True), (("c",), True), (("c", "d"), False)):
        fused = fuse(given, Consensus(), detectors=("a", "b", *others))
        assert (len(fused) == 1) is carries


def test_two_boxes_of_one_detector_are_one_vote() -> None:
    given = boxes(("a", *SQUARE, 0.9), ("a", 0, 0, 10, 9, 0.8))
    assert len(fuse(given, Votes(min_votes=2))) == 0
    assert fuse(given, Affirmative()).votes.tolist() == [1, 1]
    assert fuse(given, WeightedBoxesFusion()).votes.tolist() == [1]


def test_a_voted_box_is_the_mean_of_its_members_by_score_and_weight() -> None:
    given = boxes(("a", 0, 0, 10, 10, 0.8), ("b", 1, 0, 11, 10, 0.4))
    fused = fuse(given, Votes(min_votes=2))
    np.testing.assert_allclose(fused.xyxy, [[1 / 3, 0, 10 + 1 / 3, 10]], rtol=1e-6)
    np.testing.assert_allclose(fused.score, (0.8 + 0.4 + 0) / 3, rtol=1e-6)
    weighted = fuse(given, Votes(min_votes=2, weights={"b": 2.0}, confidence="voters"))
    np.testing.assert_allclose(weighted.xyxy, [[0.5, 0, 10.5, 10]], rtol=1e-6)
    np.testing.assert_allclose(weighted.score, (0.8 + 2 * 0.4) / 3, rtol=1e-6)
    best = fuse(given, Votes(min_votes=2, confidence="max"))
    np.testing.assert_allclose(best.score, 0.8, rtol=1e-6)


def test_members_and_agreement_are_kept() -> None:
    given = boxes(("a", 0, 0, 10, 10, 0.8), ("b", 0, 0, 10, 5.5, 0.4), ("c", 50, 0, 60, 10, 0.3))
    fused = fuse(given, Affirmative(), detectors=("c", "b", "a"))
    members = fused.members
    assert members is not None
    assert members.offsets.tolist() == [0, 2, 3]
    assert [fused.detectors[i] for i in members.detector] == ["a", "b", "c"]
    np.testing.assert_allclose(members.score, [0.8, 0.4, 0.3], rtol=1e-6)
    np.testing.assert_allclose(fused.agreement, [(8.5 / 10 + 5.5 / 8.5) / 2, 1.0], rtol=1e-6)


def test_the_threshold_is_strict() -> None:
    given = boxes(("a", 0, 0, 10, 10, 0.8), ("b", 0, 0, 10, 5, 0.4))
    assert len(fuse(given, Votes(min_votes=2, iou=0.5))) == 0
    assert len(fuse(given, Votes(min_votes=2, iou=0.4999))) == 1


def test_min_score_keeps_what_scores_as_much() -> None:
    given = boxes(("a", *SQUARE, 0.7), ("a", 20, 0, 30, 10, 0.6999))
    assert len(fuse(given, Affirmative(min_score=0.7))) == 1


def test_labels_may_have_their_own_numbers() -> None:
    given = boxes(
        *(
            (who, 0, y, 10, high, 0.8, category)
            for category in (1, 2)
            for who, y, high in (("a", 0, 10), ("b", 0, 6))
        )
    )
    fusion = Consensus(iou=0.7, categories={"person": CategoryFusion(iou=0.5)})
    assert fuse(given, fusion, labels=LABELS).category_id.tolist() == [2]
    fusion = Affirmative(iou=0.7, categories={"car": CategoryFusion(min_score=0.9)})
    assert set(fuse(given, fusion, labels=LABELS).category_id) == {2}
    fusion = Affirmative(categories={"car": CategoryFusion(weights={"a": 3.0})})
    fused = fuse(given, fusion, labels=LABELS)
    np.testing.assert_allclose(fused.xyxy[fused.category_id == 1][:, 3], 9.0, rtol=1e-6)
    np.testing.assert_allclose(fused.xyxy[fused.category_id == 2][:, 3], 8.0, rtol=1e-6)


@pytest.mark.parametrize(("classes", "category"), [("majority", 2), ("max", 1)])
def test_classes_may_be_voted_on(classes: Any, category: int) -> None:
    given = boxes(("a", *SQUARE, 0.9, 1), ("b", *SQUARE, 0.6, 2), ("c", *SQUARE, 0.5, 2))
    assert len(fuse(given, Consensus())) == 1
    fused = fuse(given, Unanimous(classes=classes))
    assert fused.category_id.tolist() == [category]
    assert fused.votes.tolist() == [3]


def test_ios_sees_a_part_within_a_whole() -> None:
    given = boxes(("a", 0, 0, 10, 10, 0.9), ("b", 1, 1, 4, 4, 0.8))
    assert len(fuse(given, Nms())) == 2
    assert len(fuse(given, Nms(overlap="ios"))) == 1


def test_merging_gives_the_union() -> None:
    given = boxes(("a", 0, 0, 10, 10, 0.9), ("b", 3, 0, 13, 10, 0.8), ("c", 7, 0, 17, 10, 0.7))
    fused = fuse(given, NonMaximumMerging(iou=0.5))
    assert fused.xyxy.tolist() == [[0, 0, 13, 10], [7, 0, 17, 10]]
    theirs = Theirs(xyxy=given.xyxy, confidence=given.score, class_id=given.category_id)
    np.testing.assert_array_equal(theirs.with_nmm(0.5).xyxy, fused.xyxy)


def test_soft_nms_lowers_scores_and_keeps_boxes() -> None:
    given = boxes(("a", *SQUARE, 0.9), ("b", 0, 0, 10, 8, 0.8))
    linear = fuse(given, SoftNms(decay="linear"))
    np.testing.assert_allclose(linear.score, [0.9, 0.8 * (1 - 0.8)], rtol=1e-6)
    gaussian = fuse(given, SoftNms(sigma=0.5))
    np.testing.assert_allclose(gaussian.score, [0.9, 0.8 * np.exp(-0.64 / 0.5)], rtol=1e-6)
    same = fuse(given, SoftNms(compatible="ensemble-boxes"))
    np.testing.assert_allclose(same.score, [0.9, 0.8], rtol=1e-6)


def test_pictures_keep_their_order() -> None:
    given = boxes(*(("a", *SQUARE, 0.5, 1, image) for image in (7, 3, 7, 900, 3)))
    assert fuse(given, Affirmative()).image_id.tolist() == [7, 7, 3, 3, 900]
    ordered = fuse(given, Affirmative(), image_order=[1, 900, 3, 7])
    assert ordered.image_id.tolist() == [900, 3, 3, 7, 7]
    with pytest.raises(InputError, match=r"1 pictures have boxes but are not .* image id 7"):
        fuse(given, Affirmative(), image_order=[900, 3])


def test_many_pictures_give_the_same_on_any_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    n, corner = 200_000, rng.uniform(0, 300, (200_000, 2))
    given = Detections.build(
        image_id=rng.integers(-(2**60), 2**60, 3000)[rng.integers(0, 3000, n)],
        category_id=rng.integers(1, 4, n),
        xyxy=np.concatenate([corner, corner + rng.uniform(5, 80, (n, 2))], axis=1),
        score=rng.uniform(0, 1, n).round(2),
        detector=rng.integers(0, 3, n),
        detectors=("a", "b", "c"),
    )
    one = fuse(given, WeightedBoxesFusion(iou=0.3), threads=1)
    for threads in (2, 5):
        other = fuse(given, WeightedBoxesFusion(iou=0.3), threads=threads)
        for name in ("image_id", "category_id", "xyxy", "score", "votes", "agreement"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert one.members is not None
        assert other.members is not None
        np.testing.assert_array_equal(one.members.offsets, other.members.offsets)


def crowd(n: int, size: int) -> Detections:
    """Many boxes of one size and label in one picture, so that groups are found by the grid."""
    rng = np.random.default_rng(1)
    corner = rng.uniform(0, 200, (n, 2)).round(1)
    return Detections.build(
        image_id=np.zeros(n),
        category_id=np.ones(n),
        xyxy=np.concatenate([corner, corner + size], axis=1),
        score=rng.uniform(0, 1, n),
        detector=rng.integers(0, 3, n),
        detectors=("a", "b", "c"),
    )


@pytest.mark.parametrize("kind", [Nms, Affirmative, NonMaximumMerging])
@pytest.mark.parametrize("iou", [0.15, 0.5, 0.8])
def test_the_grid_finds_what_asking_everyone_finds(kind: Any, iou: float) -> None:
    """For boxes of one size IoS rises with IoU, and by IoS every leader is asked."""
    given = crowd(1500, 16)
    by_ios = fuse(given, kind(iou=2 * iou / (1 + iou), overlap="ios"))
    np.testing.assert_array_equal(fuse(given, kind(iou=iou)).xyxy, by_ios.xyxy)


@pytest.mark.parametrize("iou", [0.15, 0.5, 0.8])
def test_the_grid_follows_leaders_that_move(iou: float) -> None:
    given = crowd(1500, 16)
    lists = [
        [column[given.detector == k] for k in range(3)]
        for column in (given.xyxy / 256, given.score, given.category_id)
    ]
    theirs = peer.weighted_boxes_fusion(*lists, iou_thr=iou)
    ours = fuse(given, WeightedBoxesFusion(iou=iou))
    np.testing.assert_allclose(ours.score, theirs[1], rtol=1e-5)


def test_the_quorum_may_go_before_another_method() -> None:
    given = boxes(("a", *SQUARE, 0.9), ("b", *SQUARE, 0.8), ("c", 20, 0, 30, 10, 0.7))
    mask = carried(given, Consensus())
    assert mask.tolist() == [True, True, False]
    assert len(fuse(given.take(mask), WeightedBoxesFusion())) == 1


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (boxes(("a", 5, 0, 1, 10, 0.9)), {}, "ends before it begins"),
        (boxes(("a", *SQUARE, 1.2)), {}, "score outside 0..1"),
        (boxes(("a", *SQUARE, -0.1)), {}, "score outside 0..1"),
        (boxes(("a", *SQUARE, 0.9)), {"detectors": ["b"]}, "boxes of 'a'"),
        (boxes(("a", *SQUARE, 0.9)), {"detectors": ["a", "a"]}, "stands twice"),
    ],
)
def test_bad_boxes_are_errors(given: Detections, options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fuse(given, Affirmative(), **options)


def test_a_box_that_is_not_finite_is_an_error() -> None:
    given = boxes(("a", *SQUARE, 0.9))
    for column, value in (("xyxy", np.nan), ("xyxy", np.inf), ("score", np.nan)):
        values = getattr(given, column).copy()
        values[0] = value
        broken = replace(given, **{column: values})
        with pytest.raises(InputError, match="NaN or infinite"):
            fuse(broken, Affirmative())
    with pytest.raises(InputError, match="already been fused"):
        fuse(fuse(given, Affirmative()), Affirmative())


def test_votes_that_cannot_be_had_are_an_error() -> None:
    with pytest.raises(InputError, match="min_votes is 4, but only 3 detectors"):
        fuse(boxes(("a", *SQUARE, 0.9)), Votes(min_votes=4))


def test_labels_are_needed_and_checked() -> None:
    fusion = Affirmative(categories={"cat": CategoryFusion(iou=0.3)})
    with pytest.raises(InputError, match="no labels are given"):
        fuse(boxes(), fusion)
    with pytest.raises(LabelError, match="did you mean 'car'"):
        fuse(boxes(("a", *SQUARE, 0.9)), fusion, labels=LABELS)


def test_a_group_of_several_labels_has_one_threshold() -> None:
    with pytest.raises(SpecError, match="no iou or weights"):
        Affirmative(classes="majority", categories={"car": CategoryFusion(iou=0.3)})


def test_boxes_without_area_stay_on_their_own() -> None:
    given = boxes(("a", 5, 5, 5, 9, 0.9), ("b", 5, 5, 5, 9, 0.8))
    assert fuse(given, Affirmative()).votes.tolist() == [1, 1]
    assert len(fuse(given, Consensus())) == 0
