"""Somebody else's trainer: numpy, onnx and the trainer contract, nothing of ours.

A linear regression from the pixels of a small picture to one box and the label's logits, learnt by
gradient descent. `DIE_AT=STEP` in the environment kills it there, as a node that goes away does.
"""

import argparse
import contextlib
import io
import json
import os
import signal
import sys
import time
from pathlib import Path

import hotcoco
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

SIDE = 16


def samples(data, part, labels):
    """(n, SIDE * SIDE * 3 + 1) pixels and a one, (n, 4) boxes 0..1, (n, c) labels; the images."""
    coco = json.loads((data / f"{part}.json").read_text())
    first = {}
    for one in coco["annotations"]:
        first.setdefault(one["image_id"], one)
    x, box, label = [], [], []
    for image in coco["images"]:
        picture = Image.open(data / "images" / image["file_name"]).convert("RGB")
        small = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float64)
        x.append(np.append((small / 255).transpose(2, 0, 1).ravel(), 1.0))
        one = first.get(image["id"], {"bbox": [0, 0, 1, 1], "category_id": 1})
        left, top, width, height = one["bbox"]
        size = np.array([image["width"], image["height"]] * 2)
        box.append(np.array([left, top, left + width, top + height]) / size)
        label.append(np.eye(labels)[one["category_id"] - 1])
    return np.array(x), np.array(box), np.array(label), coco["images"]


def predictions(weights, x, images):
    found = []
    for row, image in zip(x @ weights, images, strict=True):
        x1, y1, x2, y2 = row[:4] * np.array([image["width"], image["height"]] * 2)
        scores = 1 / (1 + np.exp(-row[4:]))
        found.append(
            {
                "image_id": image["id"],
                "category_id": int(scores.argmax()) + 1,
                "bbox": [float(v) for v in (x1, y1, max(x2 - x1, 0), max(y2 - y1, 0))],
                "score": float(scores.max()),
            }
        )
    return found


def average_precision(data, found):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = hotcoco.COCO(str(data / "validation.json"))
        measured = hotcoco.COCOeval(truth, truth.load_res(found), "bbox")
        measured.run()
    return max(float(measured.stats[0]), 0.0)


def export(weights, path, names):
    """Pixels 0..1 (1, 3, SIDE, SIDE) -> boxes (1, 4) in its pixels, labels (1,), scores (1,)."""
    constants = {
        "w": weights[:-1].astype(np.float32),
        "b": weights[-1:].astype(np.float32),
        "flat": np.array([1, -1]),
        "zero": np.array([0]),
        "four": np.array([4]),
        "all": np.array([10_000]),
        "axis": np.array([1]),
        "side": np.array([SIDE], np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Reshape", ["image", "flat"], ["row"]),
        node("Gemm", ["row", "w", "b"], ["all_out"]),
        node("Slice", ["all_out", "zero", "four", "axis"], ["relative"]),
        node("Mul", ["relative", "side"], ["boxes"]),
        node("Slice", ["all_out", "four", "all", "axis"], ["logits"]),
        node("ArgMax", ["logits"], ["labels"], axis=1, keepdims=0),
        node("Sigmoid", ["logits"], ["each"]),
        node("ReduceMax", ["each"], ["scores"], axes=[1], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 4]),
            helper.make_tensor_value_info("labels", TensorProto.INT64, [1]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    data, out = given.data, given.out
    assert os.environ["QUORATE_DATA"] == str(data)
    assert os.environ["QUORATE_OUT"] == str(out)
    said = json.loads((data / "trainer.json").read_text())
    more = said["hyperparameters"]
    if "fail" in more:
        sys.exit(more["fail"])
    names = (data / "labels.txt").read_text().split("\n")[:-1]
    x, box, label, _ = samples(data, "train", len(names))
    held, _, _, images = samples(data, "validation", len(names))
    batch = min(said["batch_size"], len(x))
    steps = -(-len(x) // batch) * said["epochs"]
    rate = more.get("learning_rate", 0.02)
    weights, done, began = np.zeros((x.shape[1], 4 + len(names))), 0, time.monotonic()
    kept = out / "checkpoint/weights.npz"
    before = 0.0
    if kept.exists():
        there = np.load(kept)
        weights, done, before = there["weights"], int(there["step"]), float(there["seconds"])
        print(f"goes on from step {done}", flush=True)

    def tell(**event):
        seconds = before + time.monotonic() - began
        with open(out / "progress.jsonl", "a", encoding="utf-8") as log:
            line = {"step": done, "steps": steps, "seconds": seconds, **event}
            log.write(json.dumps(line) + "\n")

    each = -(-len(x) // batch)
    while done < steps:
        epoch, place = divmod(done, each)
        order = np.random.default_rng([said["seed"], epoch]).permutation(len(x))
        rows = order[place * batch : (place + 1) * batch]
        out_box, logits = np.split(x[rows] @ weights, [4], axis=1)
        score = 1 / (1 + np.exp(-logits))
        apart = np.concatenate([out_box - box[rows], score - label[rows]], axis=1)
        weights = weights - rate * x[rows].T @ apart / len(rows)
        done += 1
        loss = float((apart**2).sum(axis=1).mean())
        tell(epoch=epoch + 1, loss=loss, learning_rate=rate)
        time.sleep(more.get("pause", 0))
        if done % each == 0:
            tell(epoch=epoch + 1, map=average_precision(data, predictions(weights, held, images)))
        if done % 7 == 0:
            kept.parent.mkdir(exist_ok=True)
            seconds = before + time.monotonic() - began
            np.savez(kept, weights=weights, step=done, seconds=seconds)
        if str(done) == os.environ.get("DIE_AT") and not (out / "died").exists():
            (out / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    export(weights, out / "model.onnx", names)
    np.save(out / "weights.npy", weights)
    detector = {"name": "linear", "kind": "onnx", "weights": "model.onnx", "layout": "torchvision",
                "names": names, "labels_from": 0, "image_size": SIDE, "resize": "stretch",
                "scale": 1 / 255, "mean": [0, 0, 0], "std": [1, 1, 1],
                "antialias": not more.get("coarse", False),
                "min_score": 0.0}  # fmt: skip
    (out / "detector.json").write_text(json.dumps(detector))
    found = predictions(weights, held, images)
    if "spoil" in more:
        found = more["spoil"]
    (out / "predictions.json").write_text(json.dumps(found))
    (out / "versions.json").write_text(json.dumps({"numpy": np.__version__}))


if __name__ == "__main__":
    main()
