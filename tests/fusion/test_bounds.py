"""No kernel reads or writes outside its arrays, whatever boxes it is given."""

import os
import subprocess
import sys

import pytest

CAMPAIGN = """
import sys
import numpy as np
from numba.core import config
from quorate.annotations import Annotations
from quorate.dataset import Dataset, Image
from quorate.detections import Detections
from quorate.errors import QuorateError
from quorate.evaluation.agreement import agreement
from quorate.evaluation.compare import compare
from quorate.fusion import fuse, soft_nms, weighted_boxes_fusion
from quorate.fusion.rules import Method
from quorate.labels import Labels

assert config.BOUNDSCHECK
rng = np.random.default_rng(int(sys.argv[1]))
EDGE = [0.0, -0.0, 1e-300, 1e30, -1e30, 3.4e38, -3.4e38, np.inf, np.nan, 0.5, 1.0]
METHODS = ("affirmative", "wbf", "nms", "soft_nms", "nmw", "nmm")
done = refused = 0

def wicked(values):
    # A few values of one array become extreme, mostly none.
    if rng.random() < 0.3:
        flat = values.reshape(-1)
        where = rng.integers(0, flat.size, 3)
        flat[where] = rng.choice(EDGE, 3).astype(values.dtype)
    return values

for _ in range(int(sys.argv[2])):
    n = int(rng.choice([1, 2, 33, 60, 400]))
    detectors = int(rng.choice([1, 3, 65, 130]))
    corner = rng.choice([0.0, 1.0, 7.5, 1e6]) * rng.random((n, 2)).round(int(rng.integers(0, 4)))
    side = rng.choice([0.0, 1.0, 1e3]) * rng.random((n, 2)).round(int(rng.integers(0, 4)))
    xyxy = wicked(np.hstack([corner, corner + side]).astype(np.float32))
    score = wicked(rng.random(n).round(int(rng.integers(0, 5))).astype(np.float32))
    category = rng.choice([-(2**31), -1, 0, 1, 2**31 - 1, 5], n).astype(np.int32)
    image = rng.choice([-(2**63), 0, 1, 2**63 - 1, 9], n)
    names = tuple(f"d{i}" for i in range(detectors))
    try:
        boxes = Detections.build(
            image_id=image, category_id=category, xyxy=xyxy, score=score,
            detector=rng.integers(0, detectors, n), detectors=names,
        )
        for method in METHODS:
            classes = rng.choice(["separate", "majority", "max"])
            iou = float(rng.choice([0.0, 0.05, 0.5, 1.0]))
            fused = fuse(boxes, Method.named(method, classes=classes, iou=iou))
            assert len(fused.members.detector) <= n
        weighted_boxes_fusion([xyxy], [score], [category], conf_type="box_and_model_avg")
        soft_nms([xyxy], [score], [category], method=int(rng.integers(1, 3)))
        known, kinds = np.unique(image), np.unique(category)
        kinds = kinds[kinds >= 0]
        boxes = boxes.take(boxes.category_id >= 0)
        labels = Labels(tuple(map(str, kinds)), tuple(map(int, kinds)))
        truth = Annotations.build(image_id=image[:3], category_id=kinds[:1].repeat(3)[:n],
                                  xyxy=np.array([[0, 0, 1, 1.0]] * min(n, 3)))
        pictures = tuple(Image(id=int(i), file_name=str(i)) for i in known)
        data = Dataset("", pictures, labels, truth)
        agreement(boxes, data, min_score=0.0)
        compare({"a": boxes}, data, samples=2)
        done += 1
    except QuorateError:
        refused += 1
print(done, refused)
"""


@pytest.mark.slow
def test_hostile_boxes_stay_within_bounds(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CAMPAIGN, "7", "60"],
        env=os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    fused, refused = map(int, done.stdout.split())
    assert fused > 10, done.stdout
    assert refused > 5, done.stdout
