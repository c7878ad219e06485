"""Masks of ONNX models: prototypes that are mixed, planes of queries, masks that are drawn."""

import numpy as np
import pytest

from quorate.detectors.conformance import assert_conforms
from quorate.detectors.onnx.spec import OnnxDetector
from quorate.errors import DetectorError
from quorate.masks import Masks
from tests.detectors import models

SIDE, CELLS = 64, 16  # of the network's frame, and of its prototypes
ANCHORS = 20


def prototypes():
    """Planes that rise to the right, downwards, and one that is 1: lines can be drawn with them."""
    middle = (np.arange(CELLS) + 0.5) * SIDE / CELLS  # pixels of the frame
    across, down = np.meshgrid(middle, middle)
    return np.stack([across, down, np.ones_like(across)]).astype(np.float32)[None]


def rows(boxes, weights, *, objectness=False):
    """(1, n, …) rows of centre, size, scores of two labels, and weights of three prototypes."""
    found = np.zeros((ANCHORS, 4 + objectness + 2 + 3), np.float32)
    for i, ((x1, y1, x2, y2), three) in enumerate(zip(boxes, weights, strict=True)):
        scores = [0.9 - 0.1 * i, 0.1]
        found[i] = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, *[1.0] * objectness, *scores,
                    *three]  # fmt: skip
    return found[None]


BOXES = [(8, 20, 40, 60), (30, 20, 60, 50)]
LINES = [(-1, 0, 25.0), (1, -1, 2.0)]  # x < 25; x + 2 > y


def expected(shape, box, line):
    """The pixels of a picture within a box and on one side of a line, both of the frame."""
    height, width = shape
    ratio = min(SIDE / height, SIDE / width)
    inner = round(height * ratio), round(width * ratio)
    top, left = round((SIDE - inner[0]) / 2 - 0.1), round((SIDE - inner[1]) / 2 - 0.1)
    x = (np.arange(width) + 0.5) * inner[1] / width + left
    y = (np.arange(height)[:, None] + 0.5) * inner[0] / height + top
    inside = (x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])
    return inside & (line[0] * x + line[1] * y + line[2] > 0)


def load(path, outputs, **options):
    kind = {"names": ("cat", "dog"), "image": (1, 3, SIDE, SIDE)} | options.pop("model", {})
    models.constant(path, outputs, **kind)
    return OnnxDetector(name="m", weights=str(path), **options).load()


@pytest.mark.parametrize("shape", [(64, 64), (48, 91), (131, 50)])
@pytest.mark.parametrize("layout", ["yolov8", "yolov5", "yolov10"])
def test_prototypes_are_mixed_and_cut_off_at_the_box(tmp_path, shape, layout):
    output = rows(BOXES, LINES, objectness=layout == "yolov5")
    if layout == "yolov8":
        output = output.transpose(0, 2, 1)
    if layout == "yolov10":
        ends = [[*box, 0.9 - 0.1 * i, 0, *line] for i, (box, line) in
                enumerate(zip(BOXES, LINES, strict=True))]  # fmt: skip
        output = np.array([ends + [[0] * 9] * 18], np.float32)
    predictor = load(
        tmp_path / "m.onnx",
        {"output0": output, "output1": prototypes()},
        model={"metadata": {"task": "segment"}},
        layout=layout,
    )
    (found,) = predictor.predict([np.zeros((*shape, 3), np.uint8)])
    assert len(found.score) == 2
    for row, (box, line) in enumerate(zip(BOXES, LINES, strict=True)):
        pixels = expected(shape, box, line)
        # Beyond the middles of the outermost cells a prototype is flat; the lines keep off.
        assert pixels.any()
        assert np.array_equal(found.masks.bitmap(row), pixels)
    assert_conforms(predictor)


def test_masks_are_left_out_where_they_are_not_asked_for(tmp_path):
    outputs = {"output0": rows(BOXES, LINES).transpose(0, 2, 1), "output1": prototypes()}
    predictor = load(tmp_path / "m.onnx", outputs, masks=False)
    assert predictor.layout.outputs == ("output0",)
    assert predictor.predict([np.zeros((64, 64, 3), np.uint8)])[0].masks is None


def test_prototypes_that_do_not_fit_the_rows_are_none(tmp_path):
    outputs = {"output0": rows(BOXES, LINES).transpose(0, 2, 1), "output1": prototypes()[:, :2]}
    predictor = load(tmp_path / "m.onnx", outputs)
    assert len(predictor.layout.outputs) == 1


def test_prototypes_that_are_no_numbers_are_named(tmp_path):
    outputs = {"output0": rows(BOXES, LINES).transpose(0, 2, 1), "output1": prototypes() * np.nan}
    predictor = load(tmp_path / "m.onnx", outputs)
    with pytest.raises(DetectorError, match="a mask with a number that is NaN"):
        predictor.predict([np.zeros((64, 64, 3), np.uint8)])


def test_torchvision_s_masks_come_drawn(tmp_path):
    random = np.random.default_rng(0)
    soft = random.random((2, 1, SIDE, SIDE)).astype(np.float32)
    boxes = np.array([[4, 4, 30, 40], [0, 0, 64, 64]], np.float32)
    outputs = {
        "boxes": boxes,
        "labels": np.array([1, 2]),
        "scores": np.array([0.4, 0.8], np.float32),
        "masks": soft,
    }
    predictor = load(
        tmp_path / "m.onnx", outputs, model={"names": ("__background__", "cat", "dog")}
    )
    (found,) = predictor.predict([np.zeros((SIDE, SIDE, 3), np.uint8)])
    assert found.label.tolist() == [1, 0]
    wanted = soft[::-1, 0] > 0.5
    wanted[1, :, 32:] = wanted[1, 42:] = wanted[1, :2] = wanted[1, :, :2] = False
    assert found.masks.counts() == Masks.from_bitmaps(wanted).counts()


def test_queries_have_a_plane_each(tmp_path):
    logits = np.array([[[5, 0, 0], [0, 0, 9], [0, 4, 0]]], np.float32)  # the last: no object
    boxes = np.array([[[0.25, 0.5, 0.5, 0.5]] * 3], np.float32)
    planes = np.full((1, 3, 2, 2), -1, np.float32)
    planes[0, 0, :, 0], planes[0, 2] = 1, 1
    outputs = {"logits": logits, "pred_boxes": boxes, "pred_masks": planes}
    predictor = load(tmp_path / "m.onnx", outputs, resize="stretch")
    (found,) = predictor.predict([np.zeros((10, 8, 3), np.uint8)])
    left = np.tile(np.arange(8) < 4, (10, 1))
    assert np.array_equal(found.masks.bitmap(0), left)
    assert found.masks.bitmap(1).all()
