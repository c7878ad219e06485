"""Tag the pictures that a person should look at first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from quorate.annotations import Annotations, Kind
from quorate.dataset import AttributeSpec, Dataset, LabelInfo
from quorate.labels import Labels

if TYPE_CHECKING:
    from quorate.evaluation.agreement import Agreement

REVIEW = "review"
"""The label of the tag that says how far the detectors disagree about a picture."""


def with_review(
    dataset: Dataset, boxes: Annotations, agreement: Agreement
) -> tuple[Dataset, Annotations]:
    """Add a tag to every picture on which the detectors disagree, with how far in percent.

    In percent, because a CVAT attribute that can be compared is a whole number.
    """
    percent = np.rint(100 * agreement.disagreement).astype(np.int64)
    doubtful = np.flatnonzero(percent)
    labels = dataset.labels
    if REVIEW not in labels:
        labels = Labels(
            names=(*labels.names, REVIEW), ids=(*labels.ids, max(labels.ids, default=0) + 1)
        )
    tags = Annotations.build(
        image_id=agreement.image_id[doubtful],
        category_id=labels.id_of(REVIEW),
        xyxy=np.zeros((len(doubtful), 4)),
        kind=Kind.TAG,
        sources=("auto",),
        attributes={"disagreement": percent[doubtful]},
    )
    percentage = AttributeSpec("disagreement", "number", default="0", values=("0", "100", "1"))
    info = LabelInfo(type="tag", attributes=(percentage,))
    return (
        replace(dataset, labels=labels, label_info={**dataset.label_info, REVIEW: info}),
        Annotations.concat([boxes, tags]),
    )
