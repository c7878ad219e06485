"""Real detectors on real photographs, held to their own libraries' decoding.

The models, photographs and their truth are others': a folder with `models`, `pictures` and
`truth.json`, which `QUORATE_REAL` names or which lies beside the checkout. Without it nothing runs.
"""

import contextlib
import io
import json
import os
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from PIL import Image

from quorate import OnnxDetector
from quorate.detectors.darknet import DarknetDetector
from quorate.detectors.names import known
from quorate.pictures import decode

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("QUORATE_REAL") or ROOT.parent / "shared" / "real")
pytestmark = pytest.mark.skipif(
    not (FOLDER / "truth.json").exists(), reason="needs a folder of real models, QUORATE_REAL"
)
MODELS = FOLDER / "models"
VOC = dict(
    zip(
        ("airplane", "motorcycle", "couch", "potted plant", "dining table", "tv"),
        ("aeroplane", "motorbike", "sofa", "pottedplant", "diningtable", "tvmonitor"),
        strict=True,
    )
)
COCO = known("coco")
LOW = 0.001


@pytest.fixture(scope="module")
def photographs():
    truth = json.loads((FOLDER / "truth.json").read_text())
    return [
        (one["id"], decode((FOLDER / "pictures" / one["file_name"]).read_bytes(), name="p"))
        for one in truth["images"]
    ]


def ap(found):
    """COCO's AP of (image id, xyxy, score, label in COCO's words)."""
    from pycocotools import coco
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO(str(FOLDER / "truth.json"))
        ids = {one["name"]: number for number, one in truth.cats.items()}
        rows = [
            {
                "image_id": image,
                "category_id": ids[VOC.get(word, word)],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": float(score),
            }
            for image, (x1, y1, x2, y2), score, word in found
            if VOC.get(word, word) in ids
        ]
        judged = COCOeval(truth, truth.loadRes(rows), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return judged.stats[0]


def ours(detector, photographs):
    predictor = detector.load()
    return [
        (image, xyxy.tolist(), score, predictor.labels[label])
        for image, pixels in photographs
        for xyxy, score, label in zip(*predictor.predict([pixels])[0][:3], strict=True)
    ]


def greedy(boxes, scores, labels, iou, grow=0.0):
    """Rows that are kept, best first: suppression within a label, as each library writes it."""
    left = [*np.argsort(-scores, kind="stable")]
    kept = []
    while left:
        best, *left = left
        kept.append(best)
        x1, y1, x2, y2 = boxes[left].T if left else np.empty((4, 0))
        a, b, c, d = boxes[best]
        width = np.minimum(c, x2) - np.maximum(a, x1) + grow
        height = np.minimum(d, y2) - np.maximum(b, y1) + grow
        both = width.clip(0) * height.clip(0)
        areas = (x2 - x1 + grow) * (y2 - y1 + grow)
        share = both / (areas + (c - a + grow) * (d - b + grow) - both)
        stay = (share <= iou) | (labels[left] != labels[best] if left else np.empty(0, bool))
        left = [row for row, stays in zip(left, stay, strict=True) if stays]
    return kept


def listed(image, boxes, scores, labels, iou, shape):
    """What is left, clipped to the picture: that is ours, and no library's own."""
    rows = greedy(boxes, scores, labels, iou)[:300]
    boxes = boxes.clip(0, [shape[1], shape[0]] * 2)
    return [(image, boxes[i].tolist(), scores[i], COCO[labels[i]]) for i in rows]


def run(file):
    session = onnxruntime.InferenceSession(str(MODELS / file), providers=["CPUExecutionProvider"])
    return lambda **inputs: session.run(None, inputs)


def yolox(photographs):
    """Megvii's `demo_postprocess` and `multiclass_nms`, after its `preproc`."""
    look = run("yolox_nano.onnx")
    for image, pixels in photographs:
        height, width = pixels.shape[:2]
        ratio = min(416 / height, 416 / width)
        padded = np.full((416, 416, 3), 114, np.uint8)
        size = int(width * ratio), int(height * ratio)
        small = cv2.resize(pixels[..., ::-1], size, interpolation=cv2.INTER_LINEAR)
        padded[: size[1], : size[0]] = small
        (out,) = look(images=padded.transpose(2, 0, 1)[None].astype(np.float32))[0]
        grids, strides = [], []
        for stride in (8, 16, 32):
            side = 416 // stride
            xv, yv = np.meshgrid(np.arange(side), np.arange(side))
            grids.append(np.stack((xv, yv), 2).reshape(-1, 2))
            strides.append(np.full((side * side, 1), stride))
        grid, stride = np.concatenate(grids), np.concatenate(strides)
        centre, size = (out[:, :2] + grid) * stride, np.exp(out[:, 2:4]) * stride
        boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1) / ratio
        scores = out[:, 4:5] * out[:, 5:]
        label, score = scores.argmax(1), scores.max(1)
        keep = score > LOW
        yield from listed(image, boxes[keep], score[keep], label[keep], 0.45, pixels.shape)


def fastestdet(photographs):
    """FastestDet's `handle_preds`."""
    look = run("fastestdet.onnx")
    for image, pixels in photographs:
        height, width = pixels.shape[:2]
        small = cv2.resize(pixels[..., ::-1], (352, 352), interpolation=cv2.INTER_LINEAR)
        fed = small.transpose(2, 0, 1)[None].astype(np.float32) / 255
        (out,) = look(**{"input.1": fed})[0]
        gy, gx = np.meshgrid(np.arange(22), np.arange(22), indexing="ij")
        cx, cy = (np.tanh(out[1]) + gx) / 22, (np.tanh(out[2]) + gy) / 22
        w, h = 1 / (1 + np.exp(-out[3])), 1 / (1 + np.exp(-out[4]))
        boxes = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], -1).reshape(-1, 4)
        boxes = boxes * [width, height, width, height]
        score = (out[0] * out[5:].max(0)).reshape(-1)
        label = out[5:].argmax(0).reshape(-1)
        keep = score > LOW
        yield from listed(image, boxes[keep], score[keep], label[keep], 0.45, pixels.shape)


def deimv2(photographs):
    """DEIM's own script: Pillow's resizing, and the model's last step told the picture's size."""
    look = run("deimv2_atto_int8.onnx")
    for image, pixels in photographs:
        height, width = pixels.shape[:2]
        small = Image.fromarray(pixels).resize((320, 320), Image.Resampling.BILINEAR)
        fed = np.asarray(small, np.float32).transpose(2, 0, 1)[None] / 255
        labels, boxes, scores = look(images=fed, orig_target_sizes=np.array([[width, height]]))
        for label, box, score in zip(labels, boxes, scores, strict=True):
            if score > LOW:
                yield image, box.tolist(), score, COCO[label]


def onnx(name, file, **options):
    return OnnxDetector(
        name=name, weights=str(MODELS / file), names="coco", min_score=LOW, **options
    )


@pytest.mark.parametrize(
    ("detector", "library", "layout", "least"),
    [
        (lambda: onnx("yolox", "yolox_nano.onnx"), yolox, "yolox", 0.52),
        (lambda: onnx("fastestdet", "fastestdet.onnx"), fastestdet, "fastestdet", 0.36),
        (lambda: onnx("deim", "deimv2_atto_int8.onnx"), deimv2, "rtdetr", 0.05),
    ],
    ids=["yolox", "fastestdet", "deimv2"],
)
def test_a_model_is_recognised_and_as_good_as_in_its_library(
    detector, library, layout, least, photographs
):
    assert detector().load().layout.name == layout
    mine = ap(ours(detector(), photographs))
    assert mine == pytest.approx(ap([*library(photographs)]), abs=0.002)
    assert mine > least


@pytest.mark.parametrize(
    ("name", "least"),
    [("yolo-fastest", 0.15), ("yolo-fastest-1.1", 0.25), ("yolo-fastest-1.1-xl", 0.35)],
)
def test_darknets_boxes_are_those_of_opencv(name, least, photographs):
    """OpenCV's reader leaves out what scores less than .2 and suppresses above .4.

    It adds 1e-6 beside a variance where darknet adds 1e-5; what that makes is what is allowed.
    """
    files = {"cfg": str(MODELS / f"{name}.cfg"), "weights": str(MODELS / f"{name}.weights")}
    net = cv2.dnn.readNetFromDarknet(files["cfg"], files["weights"])
    detector = DarknetDetector(name="d", **files, names="coco", min_score=0.2, nms_iou=0.4)
    theirs = []
    for image, pixels in photographs:
        height, width = pixels.shape[:2]
        net.setInput(cv2.dnn.blobFromImage(pixels, 1 / 255, (320, 320)))
        out = np.concatenate(net.forward(net.getUnconnectedOutLayersNames()))
        score, label = out[:, 5:].max(1), out[:, 5:].argmax(1)
        out, score, label = out[score > 0.2], score[score > 0.2], label[score > 0.2]
        sides = np.array([width, height])
        centre, size = out[:, :2] * sides, out[:, 2:4] * sides
        boxes = np.concatenate([centre - size / 2, centre + size / 2], 1)
        theirs += listed(image, boxes, score, label, 0.4, pixels.shape)
    found = ours(detector, photographs)
    assert ap(found) == pytest.approx(ap(theirs), abs=0.002)
    assert ap(found) > least
    assert len(found) == pytest.approx(len(theirs), abs=2)
    for image, box, score, word in found:
        near = [
            (np.abs(np.subtract(box, other)).max(), abs(score - its))
            for there, other, its, label in theirs
            if (there, label) == (image, word)
        ]
        pixels, points = min(near, default=(0, 0)) if score < 0.202 else min(near)
        assert pixels < 0.2
        assert points < 3e-3


def test_ultraface_finds_the_faces_that_its_own_code_finds(photographs):
    """This file is the one without its last step: its own code decodes by anchors."""
    look = run("ultraface_rfb_320.onnx")
    weights = str(MODELS / "ultraface_rfb_320.onnx")
    options = {"names": ("face",), "min_score": 0.7, "nms_iou": 0.3}
    predictor = OnnxDetector(name="d", weights=weights, **options).load()
    assert (predictor.layout.name, predictor.layout.base) == ("ultraface", 1)
    sizes = ((8, (10, 16, 24)), (16, (32, 48)), (32, (64, 96)), (64, (128, 192, 256)))
    priors = np.array(
        [
            [(i + 0.5) * stride / 320, (j + 0.5) * stride / 240, side / 320, side / 240]
            for stride, sides in sizes
            for j in range(-(-240 // stride))
            for i in range(-(-320 // stride))
            for side in sides
        ]
    ).clip(0, 1)
    faces = 0
    for _, pixels in photographs:
        height, width = pixels.shape[:2]
        small = cv2.resize(pixels, (320, 240)).astype(np.float32)
        scores, given = look(input=((small - 127) / 128).transpose(2, 0, 1)[None])
        keep = scores[0, :, 1] > 0.7
        centre = given[0, keep, :2] * 0.1 * priors[keep, 2:] + priors[keep, :2]
        size = np.exp(given[0, keep, 2:] * 0.2) * priors[keep, 2:]
        boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
        score, boxes = scores[0, keep, 1], boxes * [width, height, width, height]
        rows = greedy(boxes, score, np.zeros(len(score)), 0.3)
        found = predictor.predict([pixels])[0]
        np.testing.assert_allclose(found.score, score[rows], atol=1e-5)
        wanted = boxes[rows].clip(0, [width, height, width, height])
        np.testing.assert_allclose(found.xyxy, wanted, atol=2e-2)
        faces += len(rows)
    assert faces > 10
