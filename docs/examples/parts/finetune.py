"""A trainer of the trainer contract: it goes on learning with the demo's `yolo`, on other pictures.

    python finetune.py --data DIR --out DIR        # as `quorate train` calls it

It begins from the ONNX file that `checkpoint` names, whose weights it puts back into the network.
Batch norms stay what they were folded into. Needs torch, torchvision, onnx, onnxruntime, numpy and
pillow; nothing of Quorate.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torchvision
from export import ANCHORS, IMAGE_SIDE, LABELS, save, shaped, traced
from losses import yolo_loss
from networks import Yolo
from onnx import numpy_helper
from pictures import GREY, Batches, Sample, Views
from PIL import Image
from torch import Tensor, nn

VIEWS = Views(320, "long", 480, ("any",))
KEPT_EVERY = 50
"""Steps between two checkpoints."""
TOLERANCE = 1e-2
"""Pixels, and shares of one, by which the network may differ from the file it was read from."""


def read_network(path: Path) -> Yolo:
    """Put the weights of an exported `yolo` back into a network; checked on a random picture."""
    graph = onnx.load(path).graph
    values = {one.name: numpy_helper.to_array(one).astype(np.float32) for one in graph.initializer}
    values |= {name.removesuffix("_half"): value for name, value in values.items()}
    tensors = {name: torch.from_numpy(value.copy()) for name, value in values.items()}
    network = Yolo().eval()
    trunk = network.trunk
    blocks = [trunk.stem]
    for stage in (trunk.stage3, trunk.stage4):
        blocks += [stage.first, stage.second, stage.shortcut]
    blocks += [trunk.stage5, trunk.smooth]
    folded = [
        node.input
        for node in graph.node
        if node.op_type == "Conv" and not node.input[1].startswith("network.")
    ]
    for block, (_, weight, bias) in zip(blocks, folded, strict=True):
        at = next(i for i, layer in enumerate(block) if isinstance(layer, nn.Conv2d))
        old = block[at]
        new = nn.Conv2d(
            old.in_channels, old.out_channels, old.kernel_size, old.stride, old.padding, bias=True
        )
        new.weight.data, new.bias.data = tensors[weight], tensors[bias]
        block[at], block[at + 1] = new, nn.Identity()
    for name, parameter in network.named_parameters():
        if f"network.{name}" in tensors:
            parameter.data = tensors[f"network.{name}"]
    _read_norms(network, graph, tensors)
    _check(network, path)
    return network


def _read_norms(network: Yolo, graph: onnx.GraphProto, tensors: dict[str, Tensor]) -> None:
    """Each level's factor and shift behind a head's shared convolution, back into its norms."""
    follows = {name: node for node in graph.node for name in node.input}
    for head, name in ((network.box, "box"), (network.category, "category")):
        weight = f"network.{name}.shared.conv.weight"
        convs = [n for n in graph.node if n.op_type == "Conv" and n.input[1] == weight]
        for norm, node in zip(head.shared.norms, convs, strict=True):
            scaled = follows[node.output[0]]
            shifted = follows[scaled.output[0]]
            factor = next(tensors[one] for one in scaled.input if one in tensors).flatten()
            shift = next(tensors[one] for one in shifted.input if one in tensors).flatten()
            norm.running_var.copy_(factor**-2 - norm.eps)
            norm.running_mean.copy_(-shift / factor)
            # A negative factor cannot be: scales began at one, and variances have none.
            assert bool((factor > 0).all()), name


@torch.no_grad()
def _check(network: Yolo, path: Path) -> None:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    image = torch.rand(1, 3, IMAGE_SIDE, IMAGE_SIDE, generator=torch.Generator().manual_seed(0))
    (expected,) = session.run(None, {"images": image.numpy()})
    apart = float(np.abs(network.decode(image).numpy() - expected).max())
    if apart > TOLERANCE:
        raise SystemExit(f"{path}: the network differs from the file by {apart:.3g}.")


def read_samples(data: Path, part: str) -> tuple[list[Sample], list[dict]]:
    """The pictures of a part with their boxes, labels numbered as the network has them."""
    coco = json.loads((data / f"{part}.json").read_text())
    own = {one["id"]: LABELS.index(one["name"]) for one in coco["categories"]}
    boxes: dict[int, list[list[float]]] = {image["id"]: [] for image in coco["images"]}
    for one in coco["annotations"]:
        x, y, w, h = one["bbox"]
        boxes[one["image_id"]].append([x, y, x + w, y + h, own[one["category_id"]]])
    samples = []
    for image in coco["images"]:
        pixels = np.asarray(Image.open(data / "images" / image["file_name"]).convert("RGB"))
        table = np.array(boxes[image["id"]], np.float32).reshape(-1, 5)
        samples.append(Sample(pixels, table[:, :4], table[:, 4].astype(np.int64), "any"))
    return samples, coco["images"]


@torch.no_grad()
def look(network: Yolo, pixels: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (xyxy, pixels of the picture), scores and labels after suppression."""
    tall, wide = pixels.shape[:2]
    scale = IMAGE_SIDE / max(tall, wide)
    size = round(wide * scale), round(tall * scale)
    canvas = Image.new("RGB", (IMAGE_SIDE, IMAGE_SIDE), (GREY, GREY, GREY))
    left, top = (IMAGE_SIDE - size[0]) // 2, (IMAGE_SIDE - size[1]) // 2
    canvas.paste(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR), (left, top))
    image = torch.from_numpy(np.array(canvas)).permute(2, 0, 1)[None].float() / 255
    found = network.decode(image)[0].T
    scores, labels = found[:, 4:].max(1)
    known = scores > 0.05
    found, scores, labels = found[known], scores[known], labels[known]
    half = found[:, 2:4] / 2
    boxes = torch.cat([found[:, :2] - half, found[:, :2] + half], 1)
    kept = torchvision.ops.batched_nms(boxes, scores, labels, 0.6)[:300]
    boxes = (boxes[kept] - torch.tensor([left, top] * 2)) / scale
    limit = torch.tensor([wide, tall] * 2)
    return torch.minimum(boxes.clamp(min=0), limit), scores[kept], labels[kept]


def predictions(network: Yolo, data: Path) -> list[dict]:
    """COCO results of the validation pictures."""
    samples, images = read_samples(data, "validation")
    words = (data / "labels.txt").read_text().splitlines()
    found = []
    for sample, image in zip(samples, images, strict=True):
        for box, score, label in zip(*look(network, sample.pixels), strict=True):
            x1, y1, x2, y2 = box.tolist()
            found.append(
                {
                    "image_id": image["id"],
                    "category_id": words.index(LABELS[int(label)]) + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": float(score),
                }
            )
    return found


def main() -> None:
    """Learn, and leave what the contract asks for."""
    parser = argparse.ArgumentParser(description="Go on learning with the demo's yolo.")
    parser.add_argument("--data", type=Path, default=os.environ.get("QUORATE_DATA"))
    parser.add_argument("--out", type=Path, default=os.environ.get("QUORATE_OUT"))
    given = parser.parse_args()
    data, out = given.data, given.out
    said = json.loads((data / "trainer.json").read_text())
    if said["checkpoint"] is None:
        sys.exit("It begins with weights: name them, `checkpoint: models/yolo.onnx`.")
    torch.set_num_threads(said["hyperparameters"].get("threads", 1))
    torch.manual_seed(said["seed"])
    network = read_network(data / said["checkpoint"])
    samples, _ = read_samples(data, "train")
    batch, peak = said["batch_size"], said["hyperparameters"].get("learning_rate", 5e-4)
    each = -(-len(samples) // (4 * batch))  # a picture of a batch is put together of four
    steps, done, before = each * said["epochs"], 0, 0.0
    optimiser = torch.optim.AdamW(network.parameters(), peak, weight_decay=0.02)
    kept = out / "checkpoint/state.pt"
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        done, before = state["step"], state["seconds"]
    began = time.monotonic()
    for step in range(done, steps):
        (images, truth), *_ = Batches(samples, VIEWS, batch, 1, said["seed"] * 1_000_003 + step)
        for group in optimiser.param_groups:
            rise = min(1.0, (step + 1) / 20)
            group["lr"] = peak * rise * (0.02 + 0.98 * min(1.0, 2 * (1 - step / steps)))
        loss = yolo_loss(network(images), truth)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        seconds = before + time.monotonic() - began
        event = {
            "epoch": step // each + 1,
            "step": step + 1,
            "steps": steps,
            "loss": loss.item(),
            "learning_rate": optimiser.param_groups[0]["lr"],
            "images_per_second": batch * (step + 1 - done) / max(seconds - before, 1e-9),
            "seconds": seconds,
        }
        with open(out / "progress.jsonl", "a", encoding="utf-8") as log:
            log.write(json.dumps(event) + "\n")
        if step % KEPT_EVERY == KEPT_EVERY - 1:
            kept.parent.mkdir(exist_ok=True)
            state = {
                "network": network.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": step + 1,
                "seconds": seconds,
            }
            torch.save(state, kept.with_suffix(".new"))
            kept.with_suffix(".new").replace(kept)
    example = torch.rand(1, 3, IMAGE_SIDE, IMAGE_SIDE)
    axes = {"images": {0: "batch"}, "output0": {0: "batch"}}
    model = traced(network, example, ["images"], ["output0"], axes, out / "model.onnx")
    shaped(model, {"output0": ["batch", 4 + len(LABELS), ANCHORS]})
    names = repr(dict(enumerate(LABELS)))
    save(model, out / "model.onnx", {"task": "detect", "stride": "32", "names": names})
    entry = {"kind": "onnx", "weights": "model.onnx", "antialias": True, "nms_iou": 0.6}
    (out / "detector.json").write_text(json.dumps(entry))
    (out / "predictions.json").write_text(json.dumps(predictions(network, data)))
    versions = {"torch": torch.__version__, "onnx": onnx.__version__}
    (out / "versions.json").write_text(json.dumps(versions))


if __name__ == "__main__":
    main()
