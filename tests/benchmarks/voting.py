"""Voting: consensus of five detectors, against the detections consensus block of Roboflow.

    pip install --no-deps --target PEER inference==0.50.0 \
        python-dotenv structlog pybase64 tldextract filelock requests-file
    PYTHONPATH=PEER python -m tests.benchmarks.voting

The block's package asks for torch and some hundred others; the block itself needs these few. Both
sides get the same boxes, ready as their values (supervision's `Detections` there), ask for three
votes of five at an IoU above 0.5, and take the mean box. How many boxes they carry differs a
little: the block lets the first source choose, and here a box is in one group.
"""

from __future__ import annotations

import time
import uuid
import warnings
from typing import Any

import numpy as np
import supervision

from quorate.fusion import fuse
from quorate.spec import Consensus
from tests.benchmarks.fusion import DETECTORS, SIZE, Picture, as_detections, best, made


def as_supervision(picture: Picture, detector: int) -> supervision.Detections:
    """One detector's boxes with what the block asks for."""
    n = len(picture.scores[detector])
    size, origin = np.full((n, 2), int(SIZE)), np.zeros((n, 2), int)
    labels = picture.labels[detector]
    return supervision.Detections(
        xyxy=picture.boxes[detector] * SIZE,
        confidence=picture.scores[detector],
        class_id=labels.astype(int),
        data={
            "class_name": labels.astype(str),
            "detection_id": np.array([str(uuid.uuid4()) for _ in range(n)]),
            "prediction_type": np.full(n, "object-detection"),
            "image_dimensions": size,
            "parent_id": np.full(n, "image"),
            "parent_coordinates": origin,
            "parent_dimensions": size,
            "root_parent_id": np.full(n, "image"),
            "root_parent_coordinates": origin,
            "root_parent_dimensions": size,
        },
    )


def main() -> None:
    """Measure and print."""
    warnings.simplefilter("ignore")
    from inference.core.workflows.core_steps.fusion.detections_consensus import v1

    pictures = made(400, 20, objects=12, labels=4, of_labels=80, sizes=(0.05, 0.6))
    detections = as_detections(pictures)
    few = pictures[:5]
    sources = [[as_supervision(p, d) for p in few] for d in range(DETECTORS)]
    block = v1.DetectionsConsensusBlockV1()

    def peer() -> Any:
        return block.run(
            predictions_batches=sources,
            required_votes=3,
            class_aware=True,
            iou_threshold=0.5,
            confidence=0.0,
            classes_to_consider=None,
            required_objects=None,
            presence_confidence_aggregation=v1.AggregationMode.MAX,
            detections_merge_confidence_aggregation=v1.AggregationMode.AVERAGE,
            detections_merge_coordinates_aggregation=v1.AggregationMode.AVERAGE,
        )

    fused = fuse(detections, Consensus(), threads=1)
    ours = best(
        lambda: fuse(detections, Consensus(), threads=1), clock=time.process_time, seconds=3
    )
    theirs = best(peer, clock=time.process_time, seconds=3)
    carried = int(np.count_nonzero(fused.image_id < len(few)))
    blocks_own = sum(len(one["predictions"]) for one in peer())
    mine, blocks = ours / len(pictures), theirs / len(few)
    print(
        f"consensus of {DETECTORS} x 20 boxes, one processor: {1 / mine:,.0f} pictures/s, the "
        f"block {1 / blocks:,.1f}: {blocks / mine:,.0f}x (at least 500x); boxes carried in "
        f"{len(few)} pictures: {carried}, the block {blocks_own}"
    )


if __name__ == "__main__":
    main()
