"""No kernel reads or writes outside its arrays, whatever boxes, masks or pictures it is given."""

import os
import subprocess
import sys

import pytest

BOXES = """
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


MASKS = """
import sys
import numpy as np
from numba.core import config
from quorate.detectors.tensors.geometry import Placement
from quorate.detectors.tensors.preprocess import Normalisation, fill
from quorate.detectors.tensors.suppress import suppress
from quorate.errors import QuorateError
from quorate.masks import Masks
from quorate.masks.fusion import merged
from quorate.masks.grids import Grids
from quorate.masks.outlines import polygons

assert config.BOUNDSCHECK
rng = np.random.default_rng(int(sys.argv[1]))
EDGE = [0.0, -0.0, 1e-300, 1e30, -1e30, 3.4e38, -3.4e38, np.inf, np.nan, 0.5, 1.0]
done = refused = 0

def wicked(values):
    if rng.random() < 0.3:
        flat = values.reshape(-1)
        flat[rng.integers(0, flat.size, 3)] = rng.choice(EDGE, 3).astype(values.dtype)
    return values

def drawn():
    # Noise, a chessboard, one pixel, all, none; or run lengths that need not fit their picture.
    height, width = map(int, rng.choice([1, 2, 7, 40], 2))
    n = int(rng.choice([1, 2, 9, 70]))
    if rng.random() < 0.3:
        rows = [rng.choice([0, 1, 2, height * width, 2**32 - 1], rng.integers(1, 9))
                for _ in range(n)]
        if rng.random() < 0.5:
            return Masks.from_runs(rows, np.tile([height, width], (n, 1)))
        offsets = np.append(0, np.cumsum([len(row) for row in rows])).astype(np.int64)
        runs = np.concatenate(rows).astype(np.uint32)
        size = np.tile(np.array([height, width], np.int32), (n, 1))
        masks = Masks(offsets, runs, size)
        masks.check()
        return masks
    pixels = rng.random((n, height, width)) < rng.choice([0.0, 0.02, 0.5, 1.0])
    pixels[::3] = np.indices((height, width)).sum(axis=0) % 2
    return Masks.from_bitmaps(pixels)

for _ in range(int(sys.argv[2])):
    try:
        masks = drawn()
        cuts = np.sort(rng.integers(0, len(masks) + 1, 3))
        group = np.concatenate([[0], cuts, [len(masks)]]).astype(np.int64)
        rows = rng.permutation(len(masks)).astype(np.int64)
        for how in ("majority", "union", "intersection", "best"):
            merged(masks, group, rows, how, votes=wicked(rng.random(len(rows))),
                   sure=wicked(rng.random(len(rows)))).check()
        polygons(masks, float(rng.choice([0.0, 0.3, 1.0, 50.0, 1e300])))
        planes = wicked(rng.normal(size=(3, *rng.choice([1, 2, 9], 2))).astype(np.float32))
        n, picture = 4, tuple(map(int, rng.choice([1, 3, 31], 2)))
        boxes = wicked(rng.normal(scale=rng.choice([1.0, 1e9]), size=(n, 4)))
        chosen = (wicked(rng.normal(size=(n, 3)).astype(np.float32)), np.arange(n) % 3)
        for weights in chosen:
            margin = [None, 0.0, 1e30][rng.integers(3)]
            inner = tuple(rng.choice([0.0, 0.3, 1.0], 4).tolist())
            Grids(planes, weights, float(rng.choice([-1e30, 0.0, 0.5])), margin).drawn(
                boxes, picture, inner).check()
        found = wicked(rng.normal(size=(40, 4)).astype(np.float32))
        suppress(found, rng.integers(-1, 2, 40).astype(np.int32), 0.5, int(rng.choice([0, 7, 99])))
        height, width, top, left, rows, columns = map(int, rng.choice([1, 2, 3, 64, 97], 6))
        planes = np.zeros((3, top + rows + 2, left + columns), np.float32)
        seen = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        placement = Placement((height, width), (rows, columns), planes.shape[1:], top, left)
        fill(planes, seen, placement, Normalisation(), antialias=rng.random() < 0.5)
        done += 1
    except QuorateError:
        refused += 1
print(done, refused)
"""


@pytest.mark.slow
@pytest.mark.parametrize("campaign", [BOXES, MASKS], ids=["boxes", "masks"])
def test_hostile_input_stays_within_bounds(campaign, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", campaign, "7", "60"],
        env=os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    passed, refused = map(int, done.stdout.split())
    assert passed > 10, done.stdout
    assert refused > 5, done.stdout
