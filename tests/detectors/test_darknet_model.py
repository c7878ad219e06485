"""The ONNX that is written, held to onnx's checker; what OpenCV lacks, held to formulas."""

import numpy as np
import onnx
import onnxruntime
import pytest

from quorate.detectors.darknet.conversion import onnx_model
from quorate.detectors.darknet.network import read_network
from quorate.detectors.darknet.weights import read_filters
from tests.detectors import darknet_files as darknet
from tests.detectors.darknet_files import ANCHORS, SHOW_ALL, conv, net, section, yolo


def built(cfg, seed=0):
    network = read_network(cfg.encode(), origin="m.cfg")
    filters = read_filters(darknet.numbers(cfg, seed), network, origin="w")
    return network, onnx_model(network, filters)


@pytest.mark.parametrize("kind", darknet.CFGS)
def test_the_file_is_onnx_by_onnxs_own_checker(kind):
    network, data = built(darknet.CFGS[kind])
    model = onnx.load_model_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    [given], [found] = model.graph.input, model.graph.output
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    sizes = [d.dim_value for d in inferred.graph.output[0].type.tensor_type.shape.dim]
    rows = sum(h.rows for h in network.heads.values())
    assert (given.name, found.name, sizes) == ("images", "boxes", [0, rows, 8])


def test_the_same_files_make_the_same_bytes():
    assert built(darknet.V4)[1] == built(darknet.V4)[1]


def rows_and_input(head, *, layers="", size=(64, 96)):
    """The rows of a head, and float64 (anchors, 5 + c, cells) that went into it."""
    cfg = net(size[1], size[0]) + conv(8, stride=16) + layers
    cfg += conv(24, 1, activation="linear", normalised=0) + head
    _, data = built(cfg)
    model = onnx.load_model_from_string(data)
    tap = next(n.output[0] for n in reversed(model.graph.node) if n.op_type == "Conv")
    model.graph.output.append(onnx.helper.make_tensor_value_info(tap, 1, None))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    image = np.random.default_rng(5).random((2, 3, *size), dtype=np.float32)
    rows, given = session.run(["boxes", tap], {"images": image})
    count, _, height, width = given.shape
    return rows, given.astype(np.float64).reshape(count, 3, 8, height, width)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("softmax", [0, 1])
def test_a_region_is_decoded_by_darknets_formulas(softmax):
    """get_region_box; a sigmoid for each category without `softmax`, which OpenCV lacks."""
    anchors = [(0.5, 0.75), (1.5, 2.5), (3.0, 1.25)]
    sides = ",".join(f"{w},{h}" for w, h in anchors)
    head = section("region", anchors=sides, classes=3, num=3, softmax=softmax)
    rows, given = rows_and_input(head + SHOW_ALL)
    for picture, anchor, y, x in np.ndindex(2, 3, 4, 6):
        value = given[picture, anchor, :, y, x]
        row = rows[picture, (y * 6 + x) * 3 + anchor]
        odds = np.exp(value[5:])
        wanted = [
            *((np.array([x, y]) + sigmoid(value[:2])) / [6, 4] * [96, 64]),
            *(np.exp(value[2:4]) * anchors[anchor] / [6, 4] * [96, 64]),
            sigmoid(value[4]),
            *(odds / odds.sum() if softmax else sigmoid(value[5:])),
        ]
        np.testing.assert_allclose(row, wanted, rtol=1e-4)


def test_a_yolo_is_decoded_by_darknets_formulas():
    """get_yolo_box: anchors in pixels, chosen by the mask."""
    rows, given = rows_and_input(yolo(ANCHORS, "4,0,2", scale_x_y=1.1))
    for picture, anchor, y, x in np.ndindex(2, 3, 4, 6):
        value = given[picture, anchor, :, y, x]
        row = rows[picture, (y * 6 + x) * 3 + anchor]
        wanted = [
            *((np.array([x, y]) + sigmoid(value[:2]) * 1.1 - 0.05) / [6, 4] * [96, 64]),
            *(np.exp(value[2:4]) * ANCHORS[[4, 0, 2][anchor]]),
            *sigmoid(value[4:]),
        ]
        np.testing.assert_allclose(row, wanted, rtol=1e-4)


def test_reorg_is_darknets_own_loop():
    """reorg_cpu of blas.c, index by index."""
    cfg = net(32, 16) + conv(8) + section("reorg", stride=2)
    cfg += section("route", layers=-1) + conv(24, 1, normalised=0) + yolo(ANCHORS, "0,1,2")
    _, data = built(cfg)
    model = onnx.load_model_from_string(data)
    before = next(n.output[0] for n in model.graph.node if n.op_type == "LeakyRelu")
    after = [n.output[0] for n in model.graph.node if n.op_type == "Reshape"][1]
    for name in (before, after):
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    image = np.random.default_rng(5).random((1, 3, 16, 32), dtype=np.float32)
    given, found = session.run([before, after], {"images": image})
    channels, height, width, stride = 8, 16, 32, 2
    flat, wanted = given.reshape(-1), np.empty(given.size, np.float32)
    out_c = channels // stride**2
    for k, j, i in np.ndindex(channels, height, width):
        here = i + width * (j + height * k)
        c2, offset = k % out_c, k // out_c
        w2, h2 = i * stride + offset % stride, j * stride + offset // stride
        wanted[here] = flat[w2 + width * stride * (h2 + height * stride * c2)]
    assert found.shape == (1, 32, 8, 16)
    np.testing.assert_array_equal(found.reshape(-1), wanted)


def test_upsample_takes_its_scale_and_a_shortcut_what_there_is():
    """Three strides at once, times 0.5; 8 channels onto 16: the last 8 stay as they are."""
    layers = section("upsample", stride=3, scale=0.5) + conv(16, 1) + conv(8, 1)
    layers += conv(16, 1) + section("shortcut", **{"from": -2}, activation="leaky")
    cfg = net(32, 32) + conv(8, stride=16) + layers
    cfg += conv(24, 1, normalised=0) + yolo(ANCHORS, "0,1,2")
    _, data = built(cfg)
    model = onnx.load_model_from_string(data)
    taps = ["0_convolutional", "1_upsample", "3_convolutional", "4_convolutional", "5_shortcut"]
    for name in taps:
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    image = np.random.default_rng(5).random((1, 3, 32, 32), dtype=np.float32)
    small, large, few, many, added = session.run(taps, {"images": image})
    np.testing.assert_allclose(large, small.repeat(3, 2).repeat(3, 3) * 0.5, rtol=1e-6)
    wanted = many.copy()
    wanted[:, :8] += few
    wanted = np.where(wanted > 0, wanted, wanted * np.float32(0.1))
    np.testing.assert_allclose(added, wanted, rtol=1e-6)


def test_strides_of_their_own_across_and_down():
    cfg = net(64, 64) + conv(8, stride_x=4, stride_y=2) + section("maxpool", size=2, stride_y=2)
    network = read_network((cfg + conv(24) + yolo(ANCHORS, "0,1,2")).encode(), origin="c")
    assert [layer.shape for layer in network.layers][:2] == [(8, 32, 16), (8, 16, 16)]
