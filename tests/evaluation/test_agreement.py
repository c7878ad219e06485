import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.detections import Detections
from quorate.errors import InputError
from quorate.evaluation.agreement import Agreement, agreement, review_order
from tests.evaluation.made import dataset

A, B, FAR = [0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]
PAGE = dataset([], [], [], images=[1, 2, 3])


def boxes(rows, names=("a", "b", "c")) -> Detections:
    """Rows of (detector, xyxy) or (detector, xyxy, score) on picture 1."""
    return Detections.build(
        image_id=np.ones(len(rows)),
        category_id=np.ones(len(rows)),
        xyxy=[row[1] for row in rows] or np.empty((0, 4)),
        score=[row[2] if len(row) > 2 else 0.9 for row in rows],
        detector=[names.index(row[0]) for row in rows],
        detectors=names,
    )


def pairwise(rows, names=("a", "b", "c"), **options) -> np.ndarray:
    return agreement(boxes(rows, names), PAGE, **options).pairwise


def of_groups(votes, score=0.5, *, m=3, image_id=1, **options) -> Agreement:
    """Each group has a place of its own, where those that vote for it have a box each."""
    size = [len(v) for v in votes]
    corner = np.repeat(20 * np.arange(len(votes)), size)[:, None]
    found = Detections.build(
        image_id=np.repeat(np.broadcast_to(image_id, len(votes)), size),
        category_id=1,
        xyxy=corner + np.array([0, 0, 10, 10]),
        score=np.repeat(np.broadcast_to(score, len(votes)), size),
        detector=[d for v in votes for d in v],
        detectors=[f"d{i}" for i in range(m)],
    )
    return agreement(found, PAGE, min_score=0.0, **options)


def test_pairs_are_f1_of_boxes_matched_one_to_one():
    f1 = pairwise([("a", A), ("b", B), ("b", FAR), ("c", FAR)])
    np.testing.assert_allclose(f1, [[1, 2 / 3, 0], [2 / 3, 1, 2 / 3], [0, 2 / 3, 1]])


def test_a_box_is_matched_once_by_each_other_detector():
    f1 = pairwise([("a", A), ("b", A), ("b", B), ("c", A)])
    assert f1[0, 1] == pytest.approx(2 / 3)
    assert f1[0, 2] == 1


def test_another_category_or_picture_is_no_match():
    for column in ("image_id", "category_id"):
        columns = {"image_id": [1, 1], "category_id": [1, 1], column: [1, 2]}
        found = Detections.build(
            **columns, xyxy=[A, A], score=1, detector=[0, 1], detectors=["a", "b"]
        )
        result = agreement(found, PAGE)
        assert result.pairwise[0, 1] == 0


def test_detectors_that_saw_nothing_have_no_agreement_to_measure():
    f1 = pairwise([("a", A)])
    assert f1[0, 1] == 0
    assert np.isnan(f1[1, 2])
    assert np.isnan(f1[1, 1])


def test_whispered_boxes_are_left_out():
    assert pairwise([("a", A), ("b", A), ("b", FAR, 0.1)])[0, 1] == 1
    assert pairwise([("a", A), ("b", A), ("b", FAR, 0.1)], min_score=0.0)[0, 1] < 1


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_pairs_are_symmetric_and_blind_to_order(seed):
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(random.integers(0, 40)):
        x, y = random.integers(0, 12, 2)
        box = [x, y, x + random.integers(3, 9), y + random.integers(3, 9)]
        rows.append(("abc"[random.integers(3)], box, random.choice([0.5, 0.7])))
    f1 = pairwise(rows, iou=0.3)
    np.testing.assert_array_equal(f1, f1.T)
    shuffled = [rows[i] for i in random.permutation(len(rows))]
    np.testing.assert_array_equal(f1, pairwise(shuffled, iou=0.3))
    turned = pairwise(rows, ("c", "a", "b"), iou=0.3)
    np.testing.assert_array_equal(f1, turned[np.ix_([1, 2, 0], [1, 2, 0])])


def test_each_detector_is_told_what_the_quorum_made_of_its_boxes():
    result = of_groups([[0, 1, 2], [0, 1], [0], [2, 2]], m=3)
    a, b, c = result.detectors
    assert (a.boxes, a.confirmed, a.disputed, a.lonely, a.missed) == (3, 2, 0, 1, 0)
    assert (b.boxes, b.confirmed, b.lonely, b.missed) == (2, 2, 0, 0)
    assert (c.boxes, c.confirmed, c.lonely, c.missed) == (3, 1, 2, 1)  # each twin has a group
    np.testing.assert_array_equal(result.votes, [0, 3, 1, 1])


def test_boxes_that_others_saw_too_but_too_few_are_disputed():
    result = of_groups([[0, 1], [0, 1, 2]], m=3, needed=3)
    assert [d.disputed for d in result.detectors] == [1, 1, 0]
    assert [d.confirmed for d in result.detectors] == [1, 1, 1]
    assert [d.missed for d in result.detectors] == [0, 0, 0]


def test_disagreement_is_the_share_of_votes_that_are_missing():
    result = of_groups([[0], [0, 1, 2], [1, 2]], [0.5, 1.0, 0.8], image_id=[1, 1, 2])
    expected = [0.5 * 1 / (1 + 1.5), 0.8 * 0.5 / (1 + 0.8), 0]
    np.testing.assert_allclose(result.disagreement, expected, rtol=1e-6)


def test_pictures_come_by_falling_disagreement_and_else_in_the_data_sets_order():
    result = of_groups([[0], [0, 1, 2]], [0.9, 0.9], image_id=[3, 2])
    np.testing.assert_array_equal(review_order(result), [3, 1, 2])
    np.testing.assert_array_equal(review_order(result, most=1), [3])


@given(
    votes=st.lists(st.sets(st.integers(0, 3), min_size=1).map(sorted), max_size=8),
    scores=st.lists(st.floats(0.05, 1), min_size=9, max_size=9),
)
@settings(deadline=None)
def test_disagreement_means_what_it_says(votes, scores):
    def level(groups):
        picked = [scores[i] for i in range(len(groups))]
        return float(of_groups(groups, picked, m=4).disagreement[0])

    before = level(votes)
    assert 0 <= before < 1
    assert (before == 0) == all(len(v) == 4 for v in votes)
    assert level([*votes, [2]]) > before  # one more lonely box
    agreed = level([*votes, [0, 1, 2, 3]])
    assert agreed < before or agreed == before == 0


def test_one_detector_has_nobody_to_disagree_with():
    result = of_groups([[0], [0]], m=1)
    assert result.disagreement[0] == 0
    assert result.detectors[0].confirmed == 2


def test_a_detector_that_found_nothing_took_part_and_one_left_out_did_not():
    found = boxes([("a", A), ("b", A)], names=("a", "b"))
    assert agreement(found, PAGE).disagreement[0] == 0
    silent = agreement(found, PAGE, detectors=["a", "b", "silent"])
    assert silent.disagreement[0] > 0
    assert silent.detectors[2].missed == 1
    alone = agreement(found, PAGE, detectors=["b"])
    assert [d.boxes for d in alone.detectors] == [1]


def test_pictures_of_another_data_set_are_refused():
    with pytest.raises(InputError, match="pictures that the data set has not"):
        of_groups([[0]], image_id=9)
