"""Tag the pictures that a person should look at first."""

from __future__ import annotations

import math
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
    dataset: Dataset, boxes: Annotations, agreement: Agreement, share: float
) -> tuple[Dataset, Annotations]:
    """Add a tag to the pictures on which the detectors disagree most, with how far in percent.

    In percent, because a CVAT attribute that can be compared is a whole number. At most this
    `share` of the pictures is tagged, rounded up, those of the highest disagreement (the earlier
    one of equals); pictures without any never are.
    """
    percent = np.rint(100 * agreement.disagreement).astype(np.int64)
    most = math.ceil(share * len(percent))
    first = np.sort(np.argsort(-agreement.disagreement, kind="stable")[:most])
    doubtful = first[percent[first] > 0]
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
