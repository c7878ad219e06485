"""Signatures that exporters write, each with known boxes: recognised, and read to the digit."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from quorate.errors import DetectorError
from tests.detectors import models
from tests.detectors.test_layouts import (
    ANCHORS,
    BOX,
    CENTRE,
    NAMES,
    NETWORK,
    PICTURE,
    STRETCHED,
    found,
    logit,
    shows,
)

STRETCHED_UNIT = np.array(STRETCHED, np.float32) / 64
CENTRE_UNIT = [20 / 64, 25 / 64, 20 / 64, 30 / 64]  # STRETCHED as centre and size in 0..1


def model(tmp_path, outputs, names=NAMES, **options):
    outputs = {name: np.asarray(value) for name, value in outputs.items()}
    return models.constant(tmp_path / "m.onnx", outputs, names=names, **options)


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def f32(values):
    return np.asarray(values, np.float32)


@pytest.mark.parametrize("unused", [0, 1])
def test_rfdetr_is_sigmoid_and_its_last_logit_is_unused(tmp_path, unused):
    logits = np.full((1, 30, 3 + unused), -8.0, np.float32)
    logits[0, 0] = [logit(0.3), logit(0.8), -8, 9][: 3 + unused]
    boxes = np.tile(f32([0.5, 0.5, 0.1, 0.1]), (1, 30, 1))
    boxes[0, 0] = CENTRE_UNIT
    path = model(tmp_path, {"dets": boxes, "labels": logits})
    predictor, seen = found(path, min_score=0.2)
    assert (predictor.layout.name, predictor.resize) == ("rfdetr", "stretch")
    assert predictor.normalisation.mean == (0.485, 0.456, 0.406)
    shows(seen, (1, 0.8, BOX), (0, 0.3, BOX))


def test_rfdetr_of_coco_numbers_labels_as_coco_does(tmp_path):
    logits = np.full((1, 2, 91), -8.0, np.float32)
    logits[0, 0, 90] = logit(0.8)
    path = models.constant(
        tmp_path / "m.onnx", {"dets": f32([[CENTRE_UNIT] * 2]), "labels": logits}
    )
    predictor, seen = found(path, names="coco91")
    assert (predictor.labels[0], predictor.labels[seen.label[0]]) == ("person", "toothbrush")
    shows(seen, (89, 0.8, BOX))
    with pytest.raises(DetectorError, match="may count labels from 1") as caught:
        found(path, names=predictor.labels)
    assert "labels_from: 1" in caught.value.hint
    shows(found(path, names=predictor.labels, labels_from=1)[1], (89, 0.8, BOX))


def test_a_pair_of_centre_and_size_is_not_taken_for_corners(tmp_path):
    """DETR and its like under other names: not YOLO-NAS."""
    boxes = np.tile(f32(CENTRE_UNIT), (1, 30, 1))
    boxes[0, 1:, :2], boxes[0, 1:, 2:] = 0.8, 0.2
    logits = np.full((1, 30, 3), -8, np.float32)
    logits[0, 0, 1] = logit(0.9)
    path = model(tmp_path, {"3411": logits, "3412": boxes})
    with pytest.raises(DetectorError, match="they are centre and size") as caught:
        found(path)
    assert "layout: detr" in caught.value.hint
    shows(found(path, layout="detr")[1], (1, 0.9, BOX))


def test_which_of_two_outputs_of_four_columns_are_boxes_is_not_guessed(tmp_path):
    values = np.full((1, 30, 4), 0.5, np.float32)
    with pytest.raises(DetectorError, match="no name tells which of them are the boxes"):
        found(model(tmp_path, {"3411": values, "3412": values}))


def batched_nms(boxes):
    return {
        "num_detections": np.array([[1]], np.int32),
        "nmsed_boxes": f32([[boxes]]),
        "nmsed_scores": f32([[0.9]]),
        "nmsed_classes": f32([[1]]),
    }


def test_batched_nms_may_give_boxes_in_0_to_1(tmp_path):
    predictor, seen = found(model(tmp_path, batched_nms(f32(NETWORK) / 64)))
    assert (predictor.layout.name, predictor.layout.units) == ("efficient_nms", "relative")
    shows(seen, (1, 0.9, BOX))
    shows(found(model(tmp_path, batched_nms(NETWORK)))[1], (1, 0.9, BOX))


def test_boxes_within_one_pixel_are_told(tmp_path):
    outputs = {"num_dets": np.array([[1]], np.int32), "labels": np.array([[1]], np.int32)}
    outputs |= {"boxes": f32([[f32(NETWORK) / 64]]), "scores": f32([[0.9]])}
    predictor, _ = found(model(tmp_path, outputs))
    ((said, count),) = predictor.take_dropped().items()
    assert count == 1
    assert "`box_units: relative`" in said


def paddle(path, inputs):
    """Boxes made of the sizes that it is told, as PaddleDetection's own last step does."""
    real = TensorProto.FLOAT
    unit = [STRETCHED[i] / 64 for i in (0, 1, 2, 3)]
    constants = [
        numpy_helper.from_array(f32([[unit[1], unit[0], unit[3], unit[2]]]), "unit"),
        numpy_helper.from_array(f32([[2, 0.8]]), "head"),
        numpy_helper.from_array(np.array([1, 0, 3, 2]), "order"),
        numpy_helper.from_array(np.array([1], np.int32), "one"),
    ]
    nodes = [
        helper.make_node("Div", ["im_shape", "scale_factor"], ["own"]),
        helper.make_node("Concat", ["own", "own"], ["sizes"], axis=1),
        helper.make_node("Mul", ["unit", "sizes"], ["yxyx"]),
        helper.make_node("Gather", ["yxyx", "order"], ["xyxy"], axis=1),
        helper.make_node("Concat", ["head", "xyxy"], ["rows"], axis=1),
        helper.make_node("Identity", ["one"], ["count"]),
    ]
    outputs = [value("rows", real, ["m", 6]), value("count", TensorProto.INT32, ["n"])]
    return models.save(path, nodes, inputs, outputs, constants)


def test_paddle_is_told_the_networks_size_and_gives_label_then_score(tmp_path):
    real = TensorProto.FLOAT
    sizes = [value("im_shape", real, ["n", 2]), value("scale_factor", real, ["n", 2])]
    path = paddle(tmp_path / "m.onnx", [sizes[0], value("image", real, ["n", 3, 64, 64]), sizes[1]])
    predictor, seen = found(path, names=NAMES)
    assert (predictor.layout.name, predictor.resize) == ("paddle", "stretch")
    shows(seen, (2, 0.8, BOX))


def test_paddle_tells_the_pictures_of_a_batch_by_their_counts(tmp_path):
    rows = f32([[0, 0.9, *STRETCHED], [1, 0.8, *STRETCHED], [2, 0.7, *STRETCHED]])
    factor = value("scale_factor", TensorProto.FLOAT, [2, 2])
    path = model(
        tmp_path,
        {"rows": rows, "count": np.array([1, 2], np.int32)},
        image=(2, 3, 64, 64),
        others=[factor],
    )
    predictor, _ = found(path)
    first, second = predictor.predict([PICTURE, PICTURE])
    shows(first, (0, 0.9, BOX))
    shows(second, (1, 0.8, BOX), (2, 0.7, BOX))


def test_paddle_without_its_suppression_is_stretched_too(tmp_path):
    boxes, scores = np.zeros((1, 84, 4), np.float32), np.zeros((1, 3, 84), np.float32)
    boxes[0, 0], scores[0, 2, 0] = STRETCHED, 0.8
    factor = value("scale_factor", TensorProto.FLOAT, [1, 2])
    path = model(tmp_path, {"boxes": boxes, "scores": scores}, others=[factor])
    predictor, seen = found(path)
    assert (predictor.layout.name, predictor.resize) == ("paddle", "stretch")
    shows(seen, (2, 0.8, BOX))


def test_yolo_nas_flat_has_its_score_before_its_label(tmp_path):
    rows = f32([[0, *NETWORK, 0.9, 1], [0, *NETWORK, 0.8, 0]])
    shape = {"shapes": {"output": ["m", 7]}}
    path = model(tmp_path, {"output": rows}, image_kind=TensorProto.UINT8, **shape)
    predictor, seen = found(path)
    assert (predictor.layout.name, predictor.normalisation.scale) == ("yolo_nas", 1)
    shows(seen, (1, 0.9, BOX), (0, 0.8, BOX))
    path = model(tmp_path, {"graph2_flat_predictions": rows}, shapes={})
    shows(found(path)[1], (1, 0.9, BOX), (0, 0.8, BOX))


def test_a_label_with_a_fraction_is_no_label(tmp_path):
    """YOLOv7's order is the other one; a model that has neither word is not read wrong."""
    path = model(tmp_path, {"output": f32([[0, *NETWORK, 0.9, 1]])})
    with pytest.raises(DetectorError, match=r"label number of 0\.9, which is no whole number"):
        found(path)
    shows(found(path, layout="yolo_nas")[1], (1, 0.9, BOX))


def batched(*, prefix=""):
    return {
        f"{prefix}boxes": f32([[NETWORK, NETWORK, NETWORK]]),
        f"{prefix}scores": f32([[0.9, 0.8, 0.7]]),
    }


def test_yolo_nas_in_batches_and_mmyolo_count_their_rows(tmp_path):
    labels = np.array([[1, 0, 2]])
    outputs = {"graph2_num_predictions": np.array([[2]]), **batched(prefix="graph2_pred_")}
    path = model(tmp_path, outputs | {"graph2_pred_classes": labels})
    predictor, seen = found(path)
    assert predictor.layout.name == "yolo_nas"
    shows(seen, (1, 0.9, BOX), (0, 0.8, BOX))
    outputs = {"num_dets": np.array([[2]], np.int32), **batched(), "labels": labels}
    predictor, seen = found(model(tmp_path, outputs))
    assert predictor.layout.name == "mmyolo"
    shows(seen, (1, 0.9, BOX), (0, 0.8, BOX))


@pytest.mark.parametrize("swapped", [False, True])
def test_a_raw_pair_is_suppressed_within_each_label(tmp_path, swapped):
    boxes = f32([[NETWORK, [11, 21, 30, 36], [0, 0, 5, 5], [0, 9, 5, 15]]])
    scores = f32([[[0.1, 0.9, 0.7], [0, 0.8, 0], [0.01] * 3, [0.01] * 3]])
    scores = scores.transpose(0, 2, 1) if swapped else scores
    predictor, seen = found(model(tmp_path, {"boxes": boxes, "scores": scores}))
    assert (predictor.layout.name, predictor.layout.units) == ("yolo_nas", "pixels")
    shows(seen, (1, 0.9, BOX), (2, 0.7, BOX), (0, 0.1, BOX))


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_an_ssds_background_is_found_and_left_out(tmp_path, logits, last):
    scores = np.tile(f32([0.98, 0.01, 0.005, 0.005]), (1, 20, 1))
    scores[0, 0] = [0.1, 0.05, 0.8, 0.05]
    scores = np.roll(scores, -1, axis=2) if last else scores
    boxes = np.tile(f32([0.1, 0.1, 0.2, 0.2]), (1, 20, 1))
    boxes[0, 0] = STRETCHED_UNIT
    outputs = {"scores": np.log(scores) if logits else scores, "boxes": boxes}
    predictor, seen = found(model(tmp_path, outputs), min_score=0.06)
    assert (predictor.layout.name, predictor.layout.base) == ("ssd", 0 if last else 1)
    assert predictor.normalisation.mean == (127, 127, 127)
    shows(seen, (1, 0.8, BOX))


def test_an_ssd_that_is_not_decoded_is_asked_about(tmp_path):
    boxes = f32([[[0.5, -0.2, -1.5, 0.3], [0.1, 0.4, 0.2, -0.9]]])
    scores = f32([[[0.9, 0.1, 0, 0]] * 2])
    with pytest.raises(DetectorError, match="offsets from SSD's anchors") as caught:
        found(model(tmp_path, {"boxes": boxes, "scores": scores}))
    assert "is_test=True" in caught.value.hint


def test_ssd_of_the_model_zoo_counts_labels_from_one(tmp_path):
    outputs = {
        "bboxes": [[STRETCHED_UNIT, STRETCHED_UNIT]],
        "labels": np.array([[2, 3]]),
        "scores": f32([[0.9, 0.8]]),
    }
    predictor, seen = found(model(tmp_path, outputs))
    assert (predictor.layout.name, predictor.resize) == ("ssd", "stretch")
    shows(seen, (1, 0.9, BOX), (2, 0.8, BOX))


ULTRALYTICS = {"task": "detect", "stride": "32", "imgsz": "[64, 64]"}


@pytest.mark.parametrize(
    "metadata",
    [
        {"description": "Ultralytics RT-DETR model"},
        {"description": "Ultralytics rtdetr-l model trained on coco.yaml"},
        {"head": "RTDETRDecoder", "end2end": "False"},
        None,  # by its values alone
    ],
)
@pytest.mark.parametrize("rows", ["planes", "six"])
def test_rtdetr_of_ultralytics_is_in_centre_and_size_of_one(tmp_path, metadata, rows):
    output = np.zeros((1, 300, 7 if rows == "planes" else 6), np.float32)
    output[0, 0] = [*CENTRE_UNIT, 0, 0.9, 0] if rows == "planes" else [*CENTRE_UNIT, 0.9, 1]
    output[0, 1, :4] = [0.9, 0.9, 0.1, 0.1]
    metadata = metadata and ULTRALYTICS | metadata
    predictor, seen = found(model(tmp_path, {"output0": output}, metadata=metadata))
    assert (predictor.layout.name, predictor.resize) == ("ultralytics_rtdetr", "stretch")
    assert ("metadata" in predictor.layout.why) == bool(metadata)
    shows(seen, (1, 0.9, BOX))


def test_rows_in_one_that_may_be_either_are_asked_about(tmp_path):
    output = np.zeros((1, 300, 6), np.float32)
    output[0, 0] = [*STRETCHED_UNIT, 0.9, 1]
    path = model(tmp_path, {"output0": output})
    with pytest.raises(DetectorError, match=r"boxes in 0\.\.1, as corners, or as centre") as caught:
        found(path)
    assert "layout: ultralytics_rtdetr" in caught.value.hint
    said = {"layout": "yolov10", "box_units": "relative", "resize": "stretch"}
    shows(found(path, **said)[1], (1, 0.9, BOX))


@pytest.mark.parametrize("open_shape", [False, True])
@pytest.mark.parametrize(
    "metadata", [{"args": "{'batch': 1, 'nms': True, 'dynamic': True}"}, {"end2end": "True"}]
)
def test_ultralytics_own_suppression_is_read_whatever_the_number_of_names(
    tmp_path, metadata, open_shape
):
    """Two names make 4 + 2 columns, and 84 rows are one for each cell: only the metadata tells."""
    output = np.zeros((1, ANCHORS, 6), np.float32)
    output[0, 0] = [*NETWORK, 0.9, 1]
    shapes = {"output0": ["n", "k", "l"]} if open_shape else {}
    options = {"metadata": ULTRALYTICS | metadata, "names": ("ant", "bee"), "shapes": shapes}
    predictor, seen = found(model(tmp_path, {"output0": output}, **options))
    assert (predictor.layout.name, predictor.layout.nms_iou) == ("yolov10", None)
    shows(seen, (1, 0.9, BOX))


@pytest.mark.parametrize("batch", [False, True])
def test_deim_counts_labels_from_zero_with_or_without_a_batch(tmp_path, batch):
    outputs = {
        "labels": np.array([1, 0]),
        "boxes": f32([STRETCHED, STRETCHED]),
        "scores": f32([0.9, 0.8]),
    }
    if batch:
        outputs = {name: one[None] for name, one in outputs.items()}
    told = value("orig_target_sizes", TensorProto.INT64, ["n", 2])
    options = {"image": ("n", 3, 64, 64), "others": [told]}
    predictor, seen = found(model(tmp_path, outputs, **options), batch=4)
    assert (predictor.layout.name, predictor.batch) == ("rtdetr", 4 if batch else 1)
    shows(seen, (1, 0.9, BOX), (0, 0.8, BOX))


@pytest.mark.parametrize("squeezed", [False, True])
def test_a_label_of_zero_shows_that_labels_count_from_zero(tmp_path, squeezed):
    outputs = {
        "labels": np.array([[1, 0, 0]]),
        "boxes": f32([[STRETCHED] * 3]),
        "scores": f32([[0.9, 0.8, 0]]),
    }
    if squeezed:
        outputs = {name: one[0] for name, one in outputs.items()}
    predictor, seen = found(model(tmp_path, outputs))
    assert (predictor.layout.name, predictor.layout.base) == ("rtdetr", 0)
    shows(seen, (1, 0.9, BOX), (0, 0.8, BOX))


@pytest.mark.parametrize("boxes", ["boxes", "bboxes"])
def test_labels_that_may_count_from_zero_or_one_are_asked_about(tmp_path, boxes):
    """A label 0 that scores nothing is padding, and shows nothing."""
    outputs = {
        "labels": np.array([[1, 2, 0]]),
        boxes: f32([[STRETCHED] * 3]),
        "scores": f32([[0.9, 0.8, 0]]),
    }
    path = model(tmp_path, outputs)
    with pytest.raises(DetectorError, match="may count from 0") as caught:
        found(path)
    assert "labels_from: 1" in caught.value.hint
    shows(found(path, labels_from=1)[1], (0, 0.9, BOX), (1, 0.8, BOX))
    shows(found(path, labels_from=0)[1], (1, 0.9, BOX), (2, 0.8, BOX))


def test_squeezed_boxes_of_a_fixed_number_are_asked_about(tmp_path):
    outputs = {
        "labels": np.array([1, 2]),
        "boxes": f32([STRETCHED, STRETCHED]),
        "scores": f32([0.9, 0.8]),
    }
    path = model(tmp_path, outputs)
    with pytest.raises(DetectorError, match="whose labels count from 0") as caught:
        found(path)
    assert "layout: torchvision" in caught.value.hint
    shows(found(path, layout="rtdetr")[1], (1, 0.9, BOX), (2, 0.8, BOX))
    shows(found(path, layout="torchvision")[1], (0, 0.9, BOX), (1, 0.8, BOX))
    shows(found(path, layout="torchvision", labels_from=0)[1], (1, 0.9, BOX), (2, 0.8, BOX))


def test_boxes_of_the_background_are_counted(tmp_path):
    outputs = {
        "labels": np.array([1, 0]),
        "boxes": f32([STRETCHED, STRETCHED]),
        "scores": f32([0.9, 0.8]),
    }
    predictor, seen = found(model(tmp_path, outputs), layout="torchvision")
    shows(seen, (0, 0.9, BOX))
    ((reason, count),) = predictor.take_dropped().items()
    assert (count, "label number 0" in reason) == (1, True)
    assert not predictor.take_dropped()


def test_boxes_that_end_before_they_begin_are_counted(tmp_path):
    rows = np.zeros((1, 300, 6), np.float32)
    rows[0, :2] = [[*NETWORK, 0.9, 1], [30, 36, 10, 21, 0.8, 1]]
    predictor, seen = found(model(tmp_path, {"output0": rows}))
    shows(seen, (1, 0.9, BOX))
    ((reason, count),) = predictor.take_dropped().items()
    assert (count, "end before they begin" in reason) == (1, True)


@pytest.mark.parametrize(("strides", "point"), [((8, 16, 32, 64), 0.0), ((8, 16, 32), 0.5)])
def test_nanodet_measures_from_a_point_of_each_cell(tmp_path, strides, point):
    cells = sum((64 // stride) ** 2 for stride in strides)
    output = np.full((1, cells, 3 + 4 * 8), 0.0, np.float32)
    cell = 3 * 8 + 2  # stride 8, row 3, column 2
    output[0, cell, :3] = [0.1, 0.9, 0.01]
    places = np.full((4, 8), -40.0, np.float32)
    for side, place in enumerate([1, 2, 2, 1]):
        places[side, place] = 40
    output[0, cell, 3:] = places.reshape(-1)
    predictor, seen = found(model(tmp_path, {"output": output}), resize="stretch")
    assert (predictor.layout.name, predictor.normalisation.channels) == ("nanodet", "bgr")
    x, y = (2 + point) * 8, (3 + point) * 8
    box = [2 * (x - 8), y - 16, 2 * (x + 16), y + 8]
    shows(seen, (1, 0.9, box), (0, 0.1, box))


def test_fastestdet_multiplies_objectness_and_score(tmp_path):
    output = np.zeros((1, 8, 4, 4), np.float32)
    output[0, :, 1, 2] = [0.9, 0.5, -0.25, logit(0.4), logit(0.3), 0.1, 0.8, 0.05]
    predictor, seen = found(model(tmp_path, {"758": output}))
    assert (predictor.layout.name, predictor.normalisation.channels) == ("fastestdet", "bgr")
    cx, cy = (2 + np.tanh(0.5)) / 4 * 128, (1 - np.tanh(0.25)) / 4 * 64
    shows(seen, (1, 0.72, [cx - 25.6, cy - 9.6, cx + 25.6, cy + 9.6]))


def test_centernets_hundred_are_asked_about_and_read_in_quarters(tmp_path):
    rows = np.zeros((1, 100, 6), np.float32)
    rows[0, 0] = [*(f32(NETWORK) / 4), 0.9, 1]
    path = model(tmp_path, {"dets": rows})
    with pytest.raises(DetectorError, match="CenterNet's") as caught:
        found(path)
    assert "layout: centernet" in caught.value.hint
    shows(found(path, layout="centernet")[1], (1, 0.9, BOX))


OBB = ULTRALYTICS | {"task": "obb"}


def test_oriented_boxes_are_suppressed_as_such_and_told_upright(tmp_path):
    output = np.zeros((1, 4 + 3 + 1, ANCHORS), np.float32)
    turn = np.pi / 6
    for i, (cx, score, angle) in enumerate([(32, 0.9, turn), (33, 0.8, turn), (32, 0.7, -turn)]):
        output[0, :4, i] = [cx, 32, 20, 8]
        output[0, 5, i], output[0, 7, i] = score, angle
    predictor, seen = found(model(tmp_path, {"output0": output}, metadata=OBB), resize="stretch")
    assert predictor.layout.name == "yolo_obb"
    assert "upright" in predictor.told["note"]
    half = np.array([20 * np.cos(turn) + 8 * 0.5, 20 * 0.5 + 8 * np.cos(turn)]) / 2
    box = [2 * (32 - half[0]), 32 - half[1], 2 * (32 + half[0]), 32 + half[1]]
    # The third lies across the first: as upright boxes they would be one.
    shows(seen, (1, 0.9, box), (1, 0.7, box))


def test_oriented_boxes_that_are_suppressed_already(tmp_path):
    rows = np.zeros((1, 300, 7), np.float32)
    rows[0, 0] = [*CENTRE, 0.9, 1, np.pi / 2]
    metadata = OBB | {"args": "{'nms': True}"}
    _, seen = found(model(tmp_path, {"output0": rows}, metadata=metadata))
    cx, cy, w, h = CENTRE
    x1, y1, x2, y2 = cx - h / 2, cy - w / 2, cx + h / 2, cy + w / 2
    shows(seen, (1, 0.9, [2 * x1, 2 * (y1 - 16), 2 * x2, 2 * (y2 - 16)]))


@pytest.mark.parametrize("columns", [7, 8])
def test_planes_in_one_are_exports_of_tensorflow(tmp_path, columns):
    """YOLOv8 and YOLOv5 through TensorFlow keep their rows and measure boxes in 0..1."""
    output = np.zeros((1, ANCHORS * (3 if columns == 8 else 1), columns), np.float32)
    output[0, 0] = [*(f32(CENTRE) / 64), *([1] if columns == 8 else []), 0, 0.9, 0]
    predictor, seen = found(model(tmp_path, {"y": output}, image=(1, 64, 64, 3)))
    assert (predictor.layout.units, predictor.feed.order) == ("relative", "nhwc")
    shows(seen, (1, 0.9, BOX))


def test_yolox_is_known_by_its_logarithms(tmp_path):
    output = np.zeros((1, ANCHORS, 8), np.float32)
    output[0, 3 * 8 + 2] = [0.5, 0.25, np.log(2), np.log(0.75), 0.5, 0, 0.8, 0]
    predictor, seen = found(model(tmp_path, {"output": output}))
    assert (predictor.layout.name, predictor.layout.why) == (
        "yolox",
        "names and shapes, and values",
    )
    shows(seen, (1, 0.4, [24, 46, 56, 58]))


@pytest.mark.parametrize("layout", ["yolov8", "yolov5"])
def test_a_label_that_is_a_column_has_no_number_to_begin_with(tmp_path, layout):
    output = np.zeros((1, ANCHORS * 3, 7 if layout == "yolov8" else 8), np.float32)
    with pytest.raises(DetectorError, match="no `labels_from: 1`"):
        found(model(tmp_path, {"y": output}), layout=layout, labels_from=1)


def test_what_fits_nothing_is_told_three_ways_on(tmp_path):
    with pytest.raises(DetectorError, match=r"prob float\(1, 10\)") as caught:
        found(model(tmp_path, {"prob": np.zeros((1, 10), np.float32)}))
    for way in ("layout:", "plug-in", "container"):
        assert way in caught.value.hint


def test_logits_below_zero_are_seen_to_lack_their_sigmoid(tmp_path):
    output = np.full((1, 7, ANCHORS), -6.0, np.float32)
    output[0, :4] = np.array(CENTRE, np.float32)[:, None]
    output[0, 5, 0] = logit(0.9)
    predictor, seen = found(model(tmp_path, {"output0": output}))
    assert (predictor.layout.name, predictor.layout.activation) == ("yolov8", "sigmoid")
    shows(seen, (1, 0.9, BOX))


def test_ultraface_without_its_last_step_is_decoded_by_its_anchors(tmp_path):
    scores = np.tile(f32([0.99, 0.01]), (1, 4420, 1))
    offsets = np.tile(f32([2, 2, -2, -2]), (1, 4420, 1))
    cell = 3 * (40 * 10 + 20) + 2  # stride 8, row 10, column 20, the anchor of 24 pixels
    scores[0, cell] = [0.1, 0.9]
    offsets[0, cell] = [1, -2, np.log(2) / 0.2, 0]
    path = model(
        tmp_path,
        {"scores": scores, "boxes": offsets},
        names=["face"],
        image=(1, 3, 240, 320),
        image_name="input",
    )
    predictor, seen = found(path, np.zeros((240, 320, 3), np.uint8))
    assert predictor.layout.name == "ultraface"
    cx, cy = 20.5 * 8 + 0.1 * 24, 10.5 * 8 - 0.2 * 24
    shows(seen, (0, 0.9, [cx - 24, cy - 12, cx + 24, cy + 12]))


def test_ppyoloe_without_suppression_is_stretched(tmp_path):
    boxes = f32([[STRETCHED, [0, 0, 5, 5]]])
    scores = f32([[[0.1, 0], [0.9, 0], [0.01, 0]]])
    told = value("scale_factor", TensorProto.FLOAT, [1, 2])
    predictor, seen = found(model(tmp_path, {"b": boxes, "s": scores}, others=[told]))
    assert (predictor.layout.name, predictor.resize) == ("paddle", "stretch")
    shows(seen, (1, 0.9, BOX), (0, 0.1, BOX))


def test_labels_from_counts_from_the_background_where_that_is_named(tmp_path):
    rows = np.zeros((1, 300, 6), np.float32)
    rows[0, 0] = [*NETWORK, 0.9, 4]
    path = models.constant(tmp_path / "m.onnx", {"o": rows})
    names = ("background", *NAMES)
    predictor, seen = found(path, names=names, labels_from=2)
    assert (predictor.labels, predictor.layout.base) == (NAMES, 3)
    shows(seen, (1, 0.9, BOX))


def test_rfdetr_of_a_data_set_whose_first_category_is_of_nothing(tmp_path):
    """Roboflow's category 0 is the group of all others: five logits for three names."""
    logits = np.full((1, 2, 5), -8.0, np.float32)
    logits[0, 0, 2] = logit(0.8)
    path = model(tmp_path, {"dets": f32([[CENTRE_UNIT] * 2]), "labels": logits})
    with pytest.raises(DetectorError, match="scores of 5 labels beside the boxes, but 3") as caught:
        found(path)
    assert "labels_from: 1" in caught.value.hint
    shows(found(path, labels_from=1)[1], (1, 0.8, BOX))


def test_padding_is_not_counted(tmp_path):
    outputs = {
        "num_dets": np.array([[2]], np.int32),
        "det_boxes": f32([[NETWORK, NETWORK]]),
        "det_scores": f32([[0.9, 0.0]]),
        "det_classes": np.array([[1, -1]], np.int32),
    }
    predictor, seen = found(model(tmp_path, outputs), min_score=0.0)
    shows(seen, (1, 0.9, BOX))
    assert not predictor.take_dropped()
