"""Each layout: recognised from the file alone, its boxes in the picture's pixels."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from quorate.detectors.onnx.spec import OnnxDetector
from quorate.detectors.tensors.layouts.layout import Wishes, activated
from quorate.detectors.tensors.layouts.recognise import layouts, recognise
from quorate.detectors.tensors.spec import LAYOUT_NAMES
from quorate.errors import DetectorError
from quorate.networks import Graph, tensor
from tests.detectors import models

NAMES = ("ant", "bee", "cat")
# 128 x 64 pixels in a 64 x 64 network: half the size, 16 rows of padding above and below.
PICTURE = np.zeros((64, 128, 3), dtype=np.uint8)
BOX = [20, 10, 60, 40]  # in the picture
NETWORK = [10, 21, 30, 36]  # letterboxed: half of it, 16 down
CENTRE = [20, 28.5, 20, 15]
STRETCHED = [10, 10, 30, 40]
ANCHORS = 84  # 64 + 16 + 4 cells of 64 x 64


def found(path, picture=PICTURE, **options):
    predictor = OnnxDetector(name="d", weights=str(path), **options).load()
    return predictor, predictor.predict([picture])[0]


def shows(boxes, *expected):
    """Whether the boxes are just these: (label, score, xyxy), best first."""
    assert [
        (int(n), pytest.approx(float(s), abs=1e-6))
        for n, s in zip(boxes.label, boxes.score, strict=True)
    ] == [(label, score) for label, score, _ in expected]
    for got, (_, _, xyxy) in zip(boxes.xyxy, expected, strict=True):
        assert np.allclose(got, xyxy, atol=1e-3)


def yolov8_output(boxes, anchors=ANCHORS, categories=3):
    """(1, 4 + c, anchors) with one row for each ((cx, cy, w, h), label, score)."""
    output = np.zeros((1, 4 + categories, anchors), dtype=np.float32)
    for i, (box, label, score) in enumerate(boxes):
        output[0, :4, i] = box
        output[0, 4 + label, i] = score
    return output


TWICE = [(CENTRE, 1, 0.9), ([21, 28.5, 20, 15], 1, 0.8), (CENTRE, 2, 0.7), (CENTRE, 0, 0.01)]
EXPECTED = (1, 0.9, BOX), (2, 0.7, BOX)  # the second is suppressed, the last scores too little


def test_the_spec_knows_every_layout():
    assert set(LAYOUT_NAMES) == {"auto", *layouts()}


def test_the_page_on_detectors_has_every_layout():
    page = (Path(__file__).parents[2] / "docs/reference/detectors.md").read_text()
    rows = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    assert set(layouts()) <= rows


def test_yolov8(tmp_path):
    path = models.constant(tmp_path / "m.onnx", {"output0": yolov8_output(TWICE)}, names=NAMES)
    predictor, boxes = found(path)
    assert predictor.layout.name == "yolov8"
    assert predictor.labels == NAMES
    shows(boxes, *EXPECTED)


def test_yolov8_transposed(tmp_path):
    output = yolov8_output(TWICE).transpose(0, 2, 1)
    predictor, boxes = found(models.constant(tmp_path / "m.onnx", {"y": output}, names=NAMES))
    assert predictor.layout.name == "yolov8"
    shows(boxes, *EXPECTED)


def test_yolov8_with_masks_or_keypoints_gives_its_boxes(tmp_path):
    output = np.concatenate([yolov8_output(TWICE), np.full((1, 32, ANCHORS), 9, np.float32)], 1)
    masks = {"output0": output, "output1": np.zeros((1, 32, 16, 16), np.float32)}
    _, boxes = found(models.constant(tmp_path / "m.onnx", masks, names=NAMES))
    shows(boxes, *EXPECTED)
    pose = models.constant(
        tmp_path / "p.onnx", {"output0": output}, names=NAMES, metadata={"task": "pose"}
    )
    shows(found(pose)[1], *EXPECTED)


def test_sizes_that_the_graph_leaves_open_are_found_by_a_run(tmp_path):
    path = models.constant(
        tmp_path / "m.onnx",
        {"output0": yolov8_output(TWICE)},
        image=("n", 3, "h", "w"),
        names=NAMES,
        metadata={"imgsz": "[64, 64]"},
        shapes={"output0": ["n", "a", "b"]},
    )
    predictor, boxes = found(path)
    assert (predictor.layout.name, predictor.size) == ("yolov8", (64, 64))
    shows(boxes, *EXPECTED)


def as_many_rows_as_cells(score, label):
    """(1, 84, 6) of a network of 64 x 64: corners in pixels, score, label."""
    rows = np.zeros((1, ANCHORS, 6), np.float32)
    rows[0, :, :4] = NETWORK
    rows[0, :, 4], rows[0, :, 5] = score, label
    return {"y": rows}


@pytest.mark.parametrize("names", [("ant", "bee"), ("ant",)])
def test_as_many_rows_as_cells_are_boxes_found_already_if_labels_are_whole_and_scores_fall(
    tmp_path, names
):
    label = np.arange(ANCHORS) % len(names)
    falling = as_many_rows_as_cells(np.linspace(0.9, 0.2, ANCHORS), label)
    predictor, boxes = found(models.constant(tmp_path / "m.onnx", falling, names=names))
    assert (predictor.layout.name, len(boxes.score)) == ("yolov10", ANCHORS)
    assert np.allclose(boxes.xyxy[0], BOX)

    nothing = models.constant(tmp_path / "0.onnx", as_many_rows_as_cells(0, 0), names=names)
    with pytest.raises(DetectorError, match=r"84 rows may be .* or be one for each cell") as caught:
        found(nothing)
    assert "`layout: yolov10`" in caught.value.hint
    assert found(nothing, layout="yolov10")[0].layout.name == "yolov10"


def yolov5_output(boxes, anchors=3 * ANCHORS, categories=3):
    output = np.zeros((1, anchors, 5 + categories), dtype=np.float32)
    for i, (box, label, score) in enumerate(boxes):
        output[0, i, :4] = box
        output[0, i, 4] = 0.5
        output[0, i, 5 + label] = score
    return output


def test_yolov5_multiplies_objectness_and_score(tmp_path):
    path = models.constant(tmp_path / "m.onnx", {"output": yolov5_output(TWICE)}, names=NAMES)
    predictor, boxes = found(path)
    assert predictor.layout.name == "yolov5"
    shows(boxes, (1, 0.45, BOX), (2, 0.35, BOX))


def test_yolov5_of_one_category_is_not_end_to_end(tmp_path):
    output = yolov5_output([(CENTRE, 0, 0.9)], categories=1)
    assert output.shape == (1, 252, 6)
    predictor, boxes = found(models.constant(tmp_path / "m.onnx", {"o": output}, names=["ant"]))
    assert predictor.layout.name == "yolov5"
    shows(boxes, (0, 0.45, BOX))


@pytest.mark.parametrize("more", ["maps", "masks"])
def test_yolov5_of_a_small_network_with_more_outputs_is_not_end_to_end(tmp_path, more):
    outputs = {"output": yolov5_output(TWICE)}
    if more == "maps":
        outputs |= {f"map{n}": np.zeros((1, 3, n, n, 8), np.float32) for n in (8, 4, 2)}
    else:
        weights = np.zeros((1, 3 * ANCHORS, 32), np.float32)
        outputs["output"] = np.concatenate([outputs["output"], weights], axis=2)
        outputs["planes"] = np.ones((1, 32, 16, 16), np.float32)
    predictor, boxes = found(models.constant(tmp_path / "m.onnx", outputs, names=NAMES))
    assert predictor.layout.name == "yolov5"
    shows(boxes, (1, 0.45, BOX), (2, 0.35, BOX))


def test_one_anchor_a_cell_with_objectness_is_for_the_spec_to_say(tmp_path):
    path = models.constant(tmp_path / "m.onnx", {"o": yolov5_output(TWICE, ANCHORS)}, names=NAMES)
    with pytest.raises(DetectorError, match="YOLOX") as caught:
        found(path)
    assert "layout: yolox" in caught.value.hint
    shows(found(path, layout="yolov5")[1], (1, 0.45, BOX), (2, 0.35, BOX))


def test_yolox_is_decoded_from_cells_and_logarithms(tmp_path):
    output = np.zeros((1, ANCHORS, 8), dtype=np.float32)
    cell = 3 * 8 + 2  # stride 8, row 3, column 2
    output[0, cell] = [0.5, 0.25, np.log(2), np.log(1.5), 0.5, 0, 0.8, 0]
    path = models.constant(tmp_path / "m.onnx", {"output": output}, names=NAMES)
    predictor, boxes = found(path, layout="yolox")
    assert (predictor.resize, predictor.normalisation.channels) == ("corner", "bgr")
    # Centre (20, 26), size (16, 12) in the network; the picture lies in its upper half.
    shows(boxes, (1, 0.4, [24, 40, 56, 64]))


def test_yolov10_is_read_as_it_is(tmp_path):
    rows = np.zeros((1, 300, 6), dtype=np.float32)
    rows[0, 0] = [*NETWORK, 0.6, 2]
    rows[0, 1] = [*NETWORK, 0.9, 1]
    rows[0, 2] = [*NETWORK, 0.5, 1]  # nothing is suppressed
    rows[0, 3] = [*NETWORK, 0.01, 1]
    predictor, boxes = found(models.constant(tmp_path / "m.onnx", {"output0": rows}, names=NAMES))
    assert predictor.layout.name == "yolov10"
    shows(boxes, (1, 0.9, BOX), (2, 0.6, BOX), (1, 0.5, BOX))
    path = str(tmp_path / "m.onnx")
    shows(found(path, nms_iou=0.5)[1], (1, 0.9, BOX), (2, 0.6, BOX))  # unless the spec says so


def test_yolov7_end2end(tmp_path):
    rows = np.array([[0, *NETWORK, 1, 0.9], [0, *NETWORK, 2, 0.04]], dtype=np.float32)
    path = models.constant(
        tmp_path / "m.onnx", {"output": rows}, names=NAMES, shapes={"output": ["m", 7]}
    )
    predictor, boxes = found(path)
    assert predictor.layout.name == "yolov7_end2end"
    shows(boxes, (1, 0.9, BOX))


@pytest.mark.parametrize("scheme", [("num_dets", "det"), ("num_detections", "nmsed")])
def test_efficient_nms_counts_only_the_rows_it_says(tmp_path, scheme):
    count, prefix = scheme
    outputs = {
        count: np.array([[1]], np.int32),
        f"{prefix}_boxes": np.array([[NETWORK, NETWORK]], np.float32),
        f"{prefix}_scores": np.array([[0.8, 0.9]], np.float32),
        f"{prefix}_classes": np.array([[2, -1]], np.int32),
    }
    predictor, boxes = found(models.constant(tmp_path / "m.onnx", outputs, names=NAMES))
    assert predictor.layout.name == "efficient_nms"
    shows(boxes, (2, 0.8, BOX))


def test_selected_indices_choose_among_boxes(tmp_path):
    x1, y1, x2, y2 = NETWORK
    outputs = {
        "boxes": np.array([[[0, 0, 1, 1], [y2, x2, y1, x1]]], np.float32),  # any two corners
        "scores": np.array([[[0.9, 0.1], [0.2, 0.7], [0.9, 0.6]]], np.float32),
        "selected_indices": np.array([[0, 1, 1], [0, 2, 1]], np.int64),
    }
    path = models.constant(
        tmp_path / "m.onnx", outputs, names=NAMES, shapes={"selected_indices": ["m", 3]}
    )
    with pytest.raises(DetectorError, match="y first by its definition") as caught:
        found(path)
    assert "box_format: xyxy" in caught.value.hint
    predictor, boxes = found(path, box_format="yxyx")
    assert predictor.layout.name == "selected_indices"
    shows(boxes, (1, 0.7, BOX), (2, 0.6, BOX))
    tensorflow = {f"{name}:0": value for name, value in outputs.items()}
    path = models.constant(tmp_path / "t.onnx", tensorflow, names=NAMES)
    shows(found(path)[1], (1, 0.7, BOX), (2, 0.6, BOX))
    outputs["boxes"] = np.array([[[0, 0, 1, 1], NETWORK]], np.float32)
    path = models.constant(tmp_path / "x.onnx", outputs, names=NAMES)
    shows(found(path, box_format="xyxy")[1], (1, 0.7, BOX), (2, 0.6, BOX))


def logit(p):
    return np.log(p / (1 - p))


UNIT = [20 / 64, 25 / 64, 20 / 64, 30 / 64]  # STRETCHED as centre and size in 0..1


def test_detr_with_one_more_logit_than_names_is_softmax(tmp_path):
    logits = np.log(np.array([[[0.1, 0.6, 0.1, 0.2], [0.02, 0.03, 0.05, 0.9]]], np.float32))
    outputs = {"logits": logits, "pred_boxes": np.array([[UNIT, UNIT]], np.float32)}
    path = models.constant(tmp_path / "m.onnx", outputs, names=NAMES)
    predictor, boxes = found(path, min_score=0.06)
    assert (predictor.layout.name, predictor.layout.activation) == ("detr", "softmax")
    assert predictor.normalisation.mean == (0.485, 0.456, 0.406)
    assert (predictor.resize, predictor.antialias) == ("stretch", True)
    shows(boxes, (1, 0.6, BOX))


def test_detr_with_as_many_logits_as_names_is_sigmoid(tmp_path):
    logits = logit(np.array([[[0.1, 0.6, 0.3]]])).astype(np.float32)
    outputs = {"pred_logits": logits, "pred_boxes": np.array([[UNIT]], np.float32)}
    path = models.constant(tmp_path / "m.onnx", outputs, names=NAMES, selects=True)
    predictor, boxes = found(path, min_score=0.2)
    assert predictor.layout.activation == "sigmoid"
    assert predictor.normalisation.mean == (0, 0, 0)
    # A query may be of several labels.
    shows(boxes, (1, 0.6, BOX), (2, 0.3, BOX))


def test_queries_that_no_topk_chooses_are_conditional_detrs(tmp_path):
    logits = logit(np.array([[[0.1, 0.6, 0.3]]])).astype(np.float32)
    outputs = {"logits": logits, "pred_boxes": np.array([[UNIT]], np.float32)}
    path = models.constant(tmp_path / "m.onnx", outputs, names=NAMES, image=(1, 3, "h", "w"))
    predictor, boxes = found(path, min_score=0.4, image_size=64)
    assert (predictor.normalisation.mean, predictor.resize) == (
        (0.485, 0.456, 0.406),
        "shortest_edge",
    )
    assert boxes.label.tolist() == [1]


def test_queries_of_a_graph_that_nobody_looks_into_are_asked_for():
    tensors = tensor("logits", (1, 300, 3), "float"), tensor("pred_boxes", (1, 300, 4), "float")
    graph = Graph((tensor("x", (1, 3, 640, 640), "float"),), tensors, {})
    wishes = Wishes(NAMES)
    with pytest.raises(DetectorError, match=r"RT-DETR's or D-FINE's.* or conditional DETR's"):
        recognise(graph, wishes, layout="auto", look=dict, origin="served")
    assert recognise(graph, wishes, layout="detr", look=dict, origin="served").name == "detr"


def test_a_wrong_number_of_logits_says_what_would_fit(tmp_path):
    outputs = {
        "logits": np.zeros((1, 5, 91), np.float32),
        "pred_boxes": np.zeros((1, 5, 4), np.float32),
    }
    with pytest.raises(DetectorError, match=r"91 names \(sigmoid\) or 90 \(softmax"):
        found(models.constant(tmp_path / "m.onnx", outputs, names=NAMES))


def test_detr_of_any_size_takes_the_shortest_edge_and_a_mask(tmp_path):
    mask = helper.make_tensor_value_info("pixel_mask", TensorProto.INT64, ["n", "h", "w"])
    logits = np.log(np.array([[[0.1, 0.6, 0.1, 0.2]]], np.float32))
    outputs = {"logits": logits, "pred_boxes": np.array([[[0.25, 0.5, 0.5, 0.5]]], np.float32)}
    path = models.constant(
        tmp_path / "m.onnx", outputs, names=NAMES, image=("n", 3, "h", "w"), others=[mask]
    )
    predictor, boxes = found(path, image_size=[32, 50])
    assert predictor.resize == "shortest_edge"
    assert predictor.place((64, 128)).frame == (25, 50)
    shows(boxes, (1, 0.6, [0, 16, 64, 48]))
    assert found(path, image_size=32)[0].size == (32, 53)


def sizes_input(kind=TensorProto.INT64):
    return helper.make_tensor_value_info("orig_target_sizes", kind, ["n", 2])


def test_rtdetr_is_told_the_networks_size(tmp_path):
    """The model gives back the size it is told as a box, so this is what it was told."""
    real = TensorProto.FLOAT
    constants = [
        helper.make_tensor("zeros", real, [1, 2], [0, 0]),
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("labels_v", TensorProto.INT64, [1, 1], [2]),
        helper.make_tensor("scores_v", real, [1, 1], [0.75]),
    ]
    nodes = [
        helper.make_node("Cast", ["orig_target_sizes"], ["size"], to=real),
        helper.make_node("Concat", ["zeros", "size"], ["flat"], axis=1),
        helper.make_node("Unsqueeze", ["flat", "axis"], ["boxes"]),
        helper.make_node("Identity", ["labels_v"], ["labels"]),
        helper.make_node("Identity", ["scores_v"], ["scores"]),
    ]
    infos = [
        helper.make_tensor_value_info("labels", TensorProto.INT64, [1, 1]),
        helper.make_tensor_value_info("boxes", real, [1, 1, 4]),
        helper.make_tensor_value_info("scores", real, [1, 1]),
    ]
    image = helper.make_tensor_value_info("images", real, [1, 3, 32, 96])
    path = models.save(tmp_path / "m.onnx", nodes, [image, sizes_input()], infos, constants)
    predictor, boxes = found(path, names=NAMES)
    assert (predictor.layout.name, predictor.resize) == ("rtdetr", "stretch")
    shows(boxes, (2, 0.75, [0, 0, 128, 64]))


def torchvision_outputs(labels=(2, 0)):
    return {
        "boxes": np.array([BOX, BOX], np.float32),
        "labels": np.array(labels, np.int64),
        "scores": np.array([0.8, 0.7], np.float32),
    }


@pytest.mark.parametrize("image", [("n", 3, "h", "w"), (3, "h", "w")])
def test_torchvision_numbers_labels_from_one_and_keeps_the_pictures_size(tmp_path, image):
    path = models.constant(tmp_path / "m.onnx", torchvision_outputs(), image=image)
    predictor, boxes = found(path, names=NAMES)
    assert (predictor.layout.name, predictor.resize) == ("torchvision", "none")
    assert predictor.place((64, 128)).frame == (64, 128)
    shows(boxes, (1, 0.8, BOX))  # the other is the background
    predictor, boxes = found(path, names=("__background__", *NAMES))
    assert predictor.labels == NAMES
    shows(boxes, (1, 0.8, BOX))
    assert len(predictor.predict([PICTURE, PICTURE[:32]])) == 2


def test_outputs_under_other_names_fit_by_shape_when_the_spec_says_the_layout(tmp_path):
    outputs = dict(zip(("a", "b", "c"), torchvision_outputs().values(), strict=True))
    path = models.constant(tmp_path / "m.onnx", outputs, image=("n", 3, "h", "w"))
    with pytest.raises(DetectorError, match="no known layout"):
        found(path, names=NAMES)
    shows(found(path, names=NAMES, layout="torchvision")[1], (1, 0.8, BOX))


def test_tensorflow_has_y_first_labels_from_one_and_grey_levels(tmp_path):
    outputs = {
        "num_detections": np.array([1], np.float32),
        "detection_boxes": np.array([[[10 / 64, 20 / 128, 40 / 64, 60 / 128]] * 2], np.float32),
        "detection_scores": np.array([[0.8, 0.7]], np.float32),
        "detection_classes": np.array([[3, 1]], np.float32),
    }
    path = models.constant(
        tmp_path / "m.onnx", outputs, image=(1, "h", "w", 3), image_kind=TensorProto.UINT8
    )
    predictor, boxes = found(path, names=NAMES)
    assert (predictor.layout.name, predictor.feed.order) == ("tensorflow", "nhwc")
    assert predictor.normalisation.scale == 1
    shows(boxes, (2, 0.8, BOX))


def test_mmdeploy(tmp_path):
    outputs = {
        "dets": np.array([[[*STRETCHED, 0.8]]], np.float32),
        "labels": np.array([[1]], np.int64),
    }
    path = models.constant(tmp_path / "m.onnx", outputs, names=NAMES)
    with pytest.raises(DetectorError, match="do not tell how they want pixels") as caught:
        found(path)
    assert "YOLOX: `channels: bgr" in caught.value.hint
    predictor, boxes = found(path, resize="stretch", channels="rgb")
    assert predictor.layout.name == "mmdeploy"
    shows(boxes, (1, 0.8, BOX))


def test_half_precision_counts_as_single(tmp_path):
    output = yolov8_output(TWICE).astype(np.float16)
    path = models.constant(
        tmp_path / "m.onnx", {"o": output}, names=NAMES, image_kind=TensorProto.FLOAT16
    )
    _, boxes = found(path)
    assert boxes.score.dtype == np.float32
    assert np.allclose(boxes.xyxy, [BOX, BOX], atol=0.05)


@pytest.mark.parametrize("shape", [(1, 24, 8, 8), (1, 3, 8, 8, 8)])
def test_a_head_that_is_not_decoded_is_an_error_that_says_so(tmp_path, shape):
    outputs = {f"map{i}": np.zeros(shape, np.float32) for i in range(3)}
    with pytest.raises(DetectorError, match="not yet decoded") as caught:
        found(models.constant(tmp_path / "m.onnx", outputs, names=NAMES))
    assert "export" in caught.value.hint


def test_an_unknown_layout_lists_what_was_found_and_what_is_known(tmp_path):
    path = models.constant(
        tmp_path / "m.onnx", {"prob": np.zeros((1, 10), np.float32)}, names=NAMES
    )
    with pytest.raises(
        DetectorError, match=r"images float\(1, 3, 64, 64\).*prob float\(1, 10\)"
    ) as e:
        found(path)
    for name in layouts():
        assert name in e.value.hint


@pytest.mark.parametrize("layout", ["yolov8", "yolov5", "detr", "efficient_nms", "rtdetr"])
def test_a_layout_that_does_not_fit_is_an_error(tmp_path, layout):
    path = models.constant(
        tmp_path / "m.onnx", {"prob": np.zeros((1, 10), np.float32)}, names=NAMES
    )
    with pytest.raises(DetectorError, match=f"does not fit the layout '{layout}'"):
        found(path, layout=layout)


@pytest.mark.parametrize("shape", [(1, 84, 8400), (1, 25200, 85)])
def test_a_wrong_number_of_names_says_how_many_there_is_room_for(tmp_path, shape):
    path = models.constant(
        tmp_path / "m.onnx",
        {"output0": np.zeros(shape, np.float32)},
        names=NAMES,
        image=(1, 3, 640, 640),
    )
    with pytest.raises(DetectorError, match=r"room for 80 .*3 names"):
        found(path)


def test_a_layout_with_finished_scores_takes_no_activation(tmp_path):
    rows = np.zeros((1, 300, 6), np.float32)
    path = models.constant(tmp_path / "m.onnx", {"o": rows}, names=NAMES)
    with pytest.raises(DetectorError, match="finished scores"):
        found(path, activation="sigmoid")


def test_raw_yolo_scores_need_the_activation_named(tmp_path):
    output = yolov8_output([(CENTRE, 1, 3.0)])
    path = models.constant(tmp_path / "m.onnx", {"o": output}, names=NAMES)
    with pytest.raises(DetectorError, match=r"score of 3, outside 0\.\.1") as caught:
        found(path)
    assert "activation: sigmoid" in caught.value.hint
    _, boxes = found(path, activation="sigmoid", min_score=0.6)
    shows(boxes, (1, 1 / (1 + np.exp(-3)), BOX))


def test_activations():
    raw = np.array([[0.0, 1.0, -100.0], [200.0, 0.0, 0.0]], dtype=np.float32)
    assert np.allclose(activated(raw, "sigmoid"), [[0.5, 0.7310586, 0], [1, 0.5, 0.5]], atol=1e-6)
    assert np.allclose(activated(raw, "softmax").sum(axis=1), 1)
    assert activated(raw, "none") is raw


@pytest.mark.parametrize(("head", "first"), [(yolov8_output, 4), (yolov5_output, 5)])
def test_an_anchor_has_its_best_category_and_the_first_of_equals(tmp_path, head, first):
    output = head([(CENTRE, 1, 0.9)])
    row = output[0, :, 0] if head is yolov8_output else output[0, 0]
    row[first:] = 0.4, 0.8, 0.8
    boxes = found(models.constant(tmp_path / "m.onnx", {"o": output}, names=NAMES))[1]
    shows(boxes, (1, 0.8 if head is yolov8_output else 0.4, BOX))


@pytest.mark.parametrize(("head", "first"), [(yolov8_output, 4), (yolov5_output, 5)])
@pytest.mark.parametrize("category", [0, 1, 2])
def test_a_category_score_that_is_no_number_is_not_passed_over(tmp_path, head, first, category):
    output = head([(CENTRE, 1, 0.9)])
    row = output[0, :, 0] if head is yolov8_output else output[0, 0]
    row[first + category] = np.nan
    path = models.constant(tmp_path / "m.onnx", {"o": output}, names=NAMES)
    with pytest.raises(DetectorError, match="1 boxes with a coordinate or score that is NaN"):
        found(path)


def test_an_anchor_that_sees_no_object_is_not_looked_at(tmp_path):
    output = yolov5_output([(CENTRE, 1, 0.9)])
    output[0, 0, 4:] = 0.01, np.nan, 1, 1
    assert not len(found(models.constant(tmp_path / "m.onnx", {"o": output}, names=NAMES))[1].score)
