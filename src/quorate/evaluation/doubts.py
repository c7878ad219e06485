"""Sentences about results that are hardly meant: labels in another order, boxes elsewhere.

A detector that is merely bad is not doubted; one whose boxes lie well, under another name, is.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from quorate.annotations import HAVE_A_BOX
from quorate.dataset import Dataset
from quorate.detections import Detections
from quorate.errors import did_you_mean
from quorate.evaluation.coco import CocoMetrics
from quorate.evaluation.effort import Effort, effort
from quorate.labels import Labels

SURE = 0.25
"""Boxes from this score on are believed to be meant, where there are any."""
FEWEST, SHARE = 5, 0.8
"""Boxes of one label, and the share of them on objects of one other, that are no accident."""
MOST = 4
NOTHING_LEFT = 0.999
"""AP above which nobody can do better."""


def doubts(
    results: Mapping[str, Detections],
    dataset: Dataset,
    *,
    efforts: Mapping[str, Effort] | None = None,
    metrics: Mapping[str, CocoMetrics] | None = None,
    ensemble: str = "",
) -> list[str]:
    """What is suspicious about boxes beside a truth, a sentence each; [] where nothing is.

    Where nearly all boxes of a label lie on objects of one other label, the labels are told. Where
    no box fits any object at all, it is told which labels and pictures have boxes, and which have
    objects. With `metrics` it is told where the `ensemble` among them is no better than its best
    member. `efforts` are the results' own, as far as they are counted already.
    """
    told = [no_better(metrics or {}, ensemble)]
    if dataset.annotations is not None and len(dataset.annotations):
        for name, boxes in results.items():
            told.append(_doubt(boxes, dataset, name, (efforts or {}).get(name)))
    return [sentence for sentence in told if sentence]


def _doubt(detections: Detections, dataset: Dataset, name: str, done: Effort | None) -> str | None:
    truth = dataset.annotations
    if truth is None or not len(detections):
        return None
    if done is None or done.min_score != SURE or not done.edits.boxes:
        sure = detections.take(detections.score >= SURE)
        done = effort(sure if len(sure) else detections, dataset)
    on = done.confusion[:-1, :-1]
    names = dataset.labels.names
    if swapped := _swapped(on):
        told = ", ".join(
            f"'{names[mine]}' on '{names[theirs]}' ({on[theirs, mine]} of {on[:, mine].sum()})"
            for mine, theirs in swapped[:MOST]
        )
        more = f" and {len(swapped) - MOST} more labels" if len(swapped) > MOST else ""
        counted = all(dataset.labels.ids[mine] == theirs for mine, theirs in swapped)
        return f"{name}: its boxes lie on objects of other labels: {told}{more}. " + (
            "It seems to number the truth's labels from 0: say --labels FILE=0:NAMES, a file "
            "of the truth's labels in their order, such as its instances.json"
            if counted
            else "Does it number its labels in another order? Say what its numbers mean: "
            "--labels FILE=names.txt"
        )
    if on.any():
        return None
    things = truth.take(np.isin(truth.kind, HAVE_A_BOX))
    shared = np.isin(np.unique(detections.image_id), things.image_id).sum()
    said = (
        f"{name}: none of its {len(detections):,} boxes fits any object. Boxes: "
        f"{_counts(detections.category_id, dataset.labels)}; objects: "
        f"{_counts(things.category_id, dataset.labels)}. "
        f"{len(np.unique(detections.image_id)):,} pictures have boxes, "
        f"{len(np.unique(things.image_id)):,} have objects, {shared:,} have both."
    )
    reach = float(detections.xyxy.max(initial=0)), float(things.xyxy.max(initial=0))
    if shared and not 0.2 < reach[0] / max(reach[1], 1e-9) < 5:
        said += (
            f" Boxes reach to {reach[0]:,.0f} pixels, objects to {reach[1]:,.0f}: are they of "
            "pictures of another size?"
        )
    # A label that has boxes but no object, beside the most similar one that has objects.
    have = [dataset.labels.name_of(i) for i in np.unique(things.category_id).tolist()]
    for i in np.setdiff1d(detections.category_id, things.category_id).tolist():
        word = dataset.labels.name_of(i)
        if hint := did_you_mean(word, have):
            return f"{said} No object is called '{word}': {hint}"
    return said


def _swapped(on: NDArray[np.int64]) -> list[tuple[int, int]]:
    """(box's label, object's label) where most boxes of one lie on the other; commonest first."""
    total, most = on.sum(0), on.argmax(0)
    there = on.max(0, initial=0)
    fewest = FEWEST if np.trace(on) else 1  # where no label at all is right, one box tells
    odd = (total >= fewest) & (most != np.arange(len(on))) & (there >= SHARE * total)
    found = np.flatnonzero(odd)
    return [(int(i), int(most[i])) for i in found[np.argsort(-total[found], kind="stable")]]


def _counts(category_id: NDArray[np.integer], labels: Labels) -> str:
    """The commonest labels with their ids: 40 'bird' (1), 12 'fish' (2)."""
    ids, counts = np.unique(category_id, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    told = [f"{counts[i]:,} '{labels.name_of(int(ids[i]))}' ({ids[i]})" for i in order[:MOST]]
    return ", ".join(told) + (f" and {len(ids) - MOST} more labels" if len(ids) > MOST else "")


def no_better(metrics: Mapping[str, CocoMetrics], ensemble: str) -> str | None:
    """A sentence where the ensemble's AP is not above that of its best member; else None."""
    known = {name: one.ap for name, one in metrics.items() if one.ap is not None}
    ours = known.pop(ensemble, None)
    if ours is None or len(known) < 2:
        return None
    best = max(known, key=lambda name: known[name])
    if ours > known[best] or known[best] > NOTHING_LEFT:
        return None
    word = "less" if ours < known[best] else "no more"
    return (
        f"together the detectors reach AP {ours:.3f}, {word} than {best} alone ({known[best]:.3f})."
        " `quorate tune` searches the method, weights and settings that suit them."
    )
