"""Effort: what a person has to do to a result."""

import itertools

import numpy as np
import pytest

from quorate.detections import Detections
from quorate.errors import InputError
from quorate.evaluation.effort import ASIDE, Edits, best_single, effort
from tests.evaluation.made import dataset, random_case


def found(rows):
    """(image, category, box, score) each."""
    image, category, box, score = zip(*rows, strict=True)
    return Detections.build(
        image_id=image, category_id=category, xyxy=box, score=score, detectors=["d"]
    )


A, B, FAR = (0, 0, 100, 100), (200, 0, 300, 100), (500, 500, 600, 600)
MOVED = (0, 40, 100, 140)  # IoU .43 with A
NEAR = (0, 20, 100, 120)  # IoU .67 with A


@pytest.mark.parametrize(
    ("rows", "edits"),
    [
        ([(1, 1, A, 0.9), (1, 2, B, 0.9)], (0, 0, 0, 0)),
        ([(1, 1, A, 0.9)], (1, 0, 0, 0)),
        ([(1, 1, A, 0.9), (1, 2, B, 0.9), (1, 2, FAR, 0.9)], (0, 1, 0, 0)),
        ([(1, 1, A, 0.9), (1, 2, B, 0.9), (1, 1, A, 0.3)], (0, 1, 0, 0)),
        ([(1, 1, MOVED, 0.9), (1, 2, B, 0.9)], (0, 0, 0, 1)),
        ([(1, 3, A, 0.9), (1, 2, B, 0.9)], (0, 0, 1, 0)),
        ([(1, 3, NEAR, 0.9), (1, 2, B, 0.9)], (0, 0, 1, 1)),
        ([(1, 3, MOVED, 0.9), (1, 2, B, 0.9)], (1, 1, 0, 0)),
        ([(2, 1, A, 0.9), (1, 2, B, 0.9)], (1, 1, 0, 0)),
    ],
)
def test_each_kind_of_edit(rows, edits):
    truth = dataset([1, 1], [1, 2], [A, B], images=[1, 2])
    done = effort(found(rows), truth)
    assert (done.edits.add, done.edits.delete, done.edits.relabel, done.edits.move) == edits
    assert done.pictures.sum(0).tolist() == list(edits)
    assert done.labels.sum(0).tolist() == list(edits)


def test_a_looser_box_is_left_for_an_object_that_it_fits_better():
    """Fewest edits first: the tight box keeps its object though another lies on it as well."""
    truth = dataset([1, 1], [1, 1], [A, NEAR])
    done = effort(found([(1, 1, NEAR, 0.2), (1, 1, A, 0.1)]), truth)
    assert done.edits.total == 0


def test_only_what_is_published_counts_and_the_least_effort_is_found():
    truth = dataset([1, 1], [1, 2], [A, B])
    boxes = found([(1, 1, A, 0.8), (1, 2, B, 0.6), (1, 1, FAR, 0.5), (1, 1, FAR, 0.4)])
    done = effort(boxes, truth, min_score=0.45)
    assert done.edits == Edits(0, 1, 0, 0, boxes=3, objects=2)
    assert done.best == Edits(0, 0, 0, 0, boxes=2, objects=2)
    assert done.best_score == 0.6
    assert done.fate[3] == ASIDE


def test_a_box_on_a_crowd_costs_nothing():
    truth = dataset([1, 1], [1, 2], [A, B], iscrowd=[True, False])
    done = effort(found([(1, 1, (10, 10, 50, 50), 0.9), (1, 2, B, 0.9)]), truth)
    assert done.edits == Edits(0, 0, 0, 0, boxes=2, objects=1)


def test_the_confusion_matrix_has_every_box_and_object_once():
    truth, boxes = random_case(5)
    done = effort(boxes, truth, min_score=0.3)
    objects = np.count_nonzero(~truth.annotations.iscrowd)
    assert done.confusion[:-1].sum() == objects
    assert done.confusion[:, :-1].sum() == np.count_nonzero(done.fate != ASIDE)
    assert done.edits.add == done.confusion[:-1, -1].sum()
    assert done.edits.delete == done.confusion[-1, :-1].sum()
    off = done.confusion[:-1, :-1]
    assert done.edits.relabel == off.sum() - np.trace(off)


def _iou(a, b):
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = np.prod(np.maximum(sides, 0))
    return shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


def _plainly(boxes, truth, min_score):
    """The rule once more, pair by pair in Python."""
    shapes = truth.annotations
    edits = [0, 0, 0, 0]
    for image in truth.images:
        mine = [
            i for i in np.flatnonzero(boxes.image_id == image.id) if boxes.score[i] >= min_score
        ]
        there = np.flatnonzero(shapes.image_id == image.id)
        things = [j for j in there if not shapes.iscrowd[j]]
        pairs = []
        for i, j in itertools.product(mine, things):
            value = _iou(boxes.xyxy[i].astype(float), shapes.xyxy[j].astype(float))
            same = boxes.category_id[i] == shapes.category_id[j]
            tight = value >= 0.75
            if same and value >= 0.1:
                pairs.append((0 if tight else 1, -value, -boxes.score[i], i, j, (0, not tight)))
            elif not same and value >= 0.5:
                pairs.append((1 if tight else 2, -value, -boxes.score[i], i, j, (1, not tight)))
        left_boxes, left_things = set(mine), set(things)
        for *_, i, j, (relabel, move) in sorted(pairs):
            if i in left_boxes and j in left_things:
                left_boxes.remove(i)
                left_things.remove(j)
                edits[2] += relabel
                edits[3] += move
        for i in left_boxes:
            crowds = [
                j
                for j in there
                if shapes.iscrowd[j] and boxes.category_id[i] == shapes.category_id[j]
            ]
            a = boxes.xyxy[i].astype(float)
            for j in crowds:
                b = shapes.xyxy[j].astype(float)
                sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
                if np.prod(np.maximum(sides, 0)) >= 0.5 * np.prod(a[2:] - a[:2]) and min(sides) > 0:
                    break
            else:
                edits[1] += 1
        edits[0] += len(left_things)
    return edits


@pytest.mark.parametrize("seed", range(4))
def test_the_kernel_does_what_the_rule_says(seed):
    truth, boxes = random_case(seed, ties=seed % 2 == 0)
    for min_score in (0.0, 0.4):
        done = effort(boxes, truth, min_score=min_score)
        kinds = [done.edits.add, done.edits.delete, done.edits.relabel, done.edits.move]
        assert kinds == _plainly(boxes, truth, min_score)
        assert done.pictures.sum(0).tolist() == kinds


def test_saved_against_the_best_single_detector_at_its_best_score():
    truth = dataset([1, 1], [1, 2], [A, B])
    alone = found([(1, 1, A, 0.8), (1, 1, FAR, 0.3)])  # one to add from .31 on
    ours = found([(1, 1, A, 0.8), (1, 2, B, 0.6)])
    efforts = {"a": effort(alone, truth), "ensemble": effort(ours, truth, min_score=0.25)}
    assert best_single(efforts, "ensemble") == ("a", 1)
    assert best_single({"ensemble": efforts["ensemble"]}, "ensemble") is None


def test_nothing_found_and_nothing_to_find():
    empty = dataset([], [], np.empty((0, 4)), images=[1])
    assert effort(Detections.empty(["d"]), empty).edits.total == 0
    assert effort(Detections.empty(["d"]), dataset([1], [1], [A])).edits.add == 1
    with pytest.raises(InputError, match="tight"):
        effort(Detections.empty(["d"]), empty, tight=0.4)
