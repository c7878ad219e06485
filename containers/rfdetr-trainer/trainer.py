"""RF-DETR, trained by its own library, keeping the trainer contract.

    python trainer.py --data DIR --out DIR

Reads train.json, validation.json, images/, labels.txt and trainer.json in DATA; leaves
progress.jsonl, checkpoint/, model.onnx, detector.json, predictions.json and versions.json in OUT.
Ends with 0 when all of that is there and checked; else with one sentence on standard error.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pickle
import shutil
import sys
import tempfile
import types
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from data import Data, Given, InputError
from PIL import Image
from progress import Progress, note, sound
from pydantic import ValidationError
from pytorch_lightning import seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from rfdetr import RFDETR
from rfdetr.config import (
    ModelConfig,
    RFDETRBaseConfig,
    RFDETRLargeConfig,
    RFDETRMediumConfig,
    RFDETRNanoConfig,
    RFDETRSmallConfig,
    TrainConfig,
)
from rfdetr.training import RFDETRModelModule, build_trainer
from rfdetr.training.callbacks import RFDETREMACallback
from torchvision.transforms import functional as pixels

MODELS = {
    "nano": RFDETRNanoConfig,
    "small": RFDETRSmallConfig,
    "medium": RFDETRMediumConfig,
    "base": RFDETRBaseConfig,
    "large": RFDETRLargeConfig,
}
"""Those whose weights are under Apache-2.0 too."""
OF_MODEL = ("resolution", "num_queries", "group_detr", "gradient_checkpointing", "freeze_encoder")
OF_TRAINING = (
    "lr", "lr_encoder", "lr_scheduler", "lr_vit_layer_decay", "lr_component_decay", "warmup_epochs",
    "weight_decay", "clip_max_norm", "drop_path", "grad_accum_steps", "use_ema", "ema_decay",
    "multi_scale", "scale_jitter", "eval_interval", "num_workers",
)  # fmt: skip
"""Hyperparameters by the names that the library has for them; it checks them too."""
LEAST_SCORE, MOST = 0.01, 100
"""What `predictions.json` holds: boxes from this score, most a picture."""
AGREE = 1e-3
"""How far ONNX may be from torch: scores, and boxes as a share of the picture's side."""
SHARED = Path("/dev/shm")  # noqa: S108  it is asked for its room, nothing is written
PACKAGES = ("rfdetr", "torch", "torchvision", "pytorch-lightning", "transformers", "onnx",
            "onnxruntime", "numpy", "pillow")  # fmt: skip


def weights_of(given: Given) -> Path | None:
    """The file to begin with, which torch can read without running what is in it."""
    if given.checkpoint is None:
        return None
    place = given.checkpoint
    file = place / "model.ckpt" if place.is_dir() else place
    try:
        with torch.serialization.safe_globals([argparse.Namespace, types.SimpleNamespace]):
            held = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{file} is no checkpoint of RF-DETR ({reason}).") from None
    if not isinstance(held, dict) or not {"model", "state_dict"} & held.keys():
        raise InputError(f"{file} is no checkpoint of RF-DETR: it holds no weights of a model.")
    return file


def settings_of(given: Given, folder: Path) -> tuple[ModelConfig, TrainConfig, float]:
    """The library's settings, and the seconds between checkpoints; InputError for one unknown."""
    said = dict(given.hyperparameters)
    kind, seconds = said.pop("model", "nano"), said.pop("checkpoint_seconds", 300.0)
    for name in said:
        if name not in (*OF_MODEL, *OF_TRAINING):
            known = ", ".join(sorted(("model", "checkpoint_seconds", *OF_MODEL, *OF_TRAINING)))
            raise InputError(f"There is no hyperparameter '{name}': there are {known}.")
    if kind not in MODELS:
        raise InputError(f"The hyperparameter model is one of {', '.join(MODELS)}.")
    if not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise InputError("The hyperparameter checkpoint_seconds is a number of seconds.")
    weights = weights_of(given)
    if weights is None and kind == "base":
        raise InputError("The model base needs a checkpoint to begin with; nano does not.")
    usual = {"lr_scheduler": "cosine"}
    try:
        model = MODELS[kind](
            **{name: said[name] for name in OF_MODEL if name in said},
            num_classes=len(given.labels),
            pretrain_weights=weights,
            model_name=f"RFDETR{kind.capitalize()}",
        )
        training = TrainConfig(
            **usual | {name: said[name] for name in OF_TRAINING if name in said},
            dataset_dir=folder,
            output_dir=folder,
            class_names=given.labels,
            epochs=given.epochs,
            batch_size=given.batch,
            seed=given.seed,
            eval_max_dets=100,
            augmentation_backend="torchvision",
            progress_bar=None,
            tensorboard=False,
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"][:1]))
        raise InputError(
            f"The hyperparameter {place} is {first['input']!r}: {first['msg']}."
        ) from None
    block = model.patch_size * model.num_windows
    if model.resolution < block or model.resolution % block:
        raise InputError(f"The hyperparameter resolution is a multiple of {block} for {kind}.")
    if not 0 < training.lr < math.inf:
        raise InputError("The hyperparameter lr is a number above 0.")
    # What a reading process has ready: three batches of three colours, four bytes each.
    needed = training.num_workers * 3 * given.batch * 3 * 4 * model.resolution**2
    if SHARED.exists() and needed > (room := shutil.disk_usage(SHARED).free):
        note(f"{SHARED} has {room >> 20} MB: pictures are read without processes of their own")
        training.num_workers = 0
    return model, training, float(seconds)


def train(given: Given, out: Path, folder: Path) -> Path:
    """Learn, and leave the weights in `model/`; the file."""
    given.lay_out(folder)
    model, training, every = settings_of(given, folder)
    out.mkdir(parents=True, exist_ok=True)
    if model.pretrain_weights is None:
        note("there is no checkpoint to begin with: a DETR that begins with nothing learns slowly")
    seed_everything(given.seed, verbose=False)
    try:
        module, data = RFDETRModelModule(model, training), Data(model, training)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{model.pretrain_weights} does not fit this model: {reason}") from None
    trainer = build_trainer(training, model, logger=False, enable_model_summary=False)
    progress = Progress(given, out, every)
    # The library's own checkpoints come once an epoch, and are not renamed into their place.
    others = [one for one in trainer.callbacks if not isinstance(one, ModelCheckpoint)]
    trainer.callbacks = [*others, progress]
    checkpoint = progress.begun()
    data.begun = progress.start
    try:
        trainer.fit(module, data, ckpt_path=checkpoint)
    except (ArithmeticError, AssertionError, RuntimeError, ValueError) as error:
        if not isinstance(error, ArithmeticError) and sound(module):
            raise
        kept = "the last checkpoint is kept" if progress.file.exists() else "none was kept"
        raise InputError(
            f"The loss after step {trainer.global_step} is no number; {kept}. A lower lr than "
            f"{training.lr:g} may help."
        ) from None
    for one in others:
        if isinstance(one, RFDETREMACallback):
            module.model.load_state_dict(one.get_ema_model_state_dict())
    file = out / "model" / "model.ckpt"
    file.parent.mkdir(exist_ok=True)
    trainer.save_checkpoint(file.with_suffix(".new"), weights_only=True)
    os.replace(file.with_suffix(".new"), file)
    return file


def export(given: Given, out: Path, file: Path) -> None:
    """Leave ONNX, held against the library, and what the library finds."""
    detector = RFDETR.from_checkpoint(file)
    detector.export(output_dir=out, output_name="model", dynamic_batch=True, verbose=False)
    found = []
    for image in given.validation["images"]:
        with Image.open(image["file_name"]) as picture:
            boxes = detector.predict(picture.convert("RGB"), threshold=LEAST_SCORE)
        size = np.array([image["width"], image["height"]] * 2)
        rows = zip(boxes.xyxy.clip(0, size), boxes.confidence, boxes.class_id, strict=True)
        # The last logit is of no label; the library's boxes come best first.
        rows = [one for one in rows if one[2] < len(given.labels)][:MOST]
        for (x1, y1, x2, y2), score, label in rows:
            if x2 > x1 and y2 > y1:
                found.append(
                    {"image_id": image["id"], "category_id": int(label) + 1, "score": float(score),
                     "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)]}
                )  # fmt: skip
    far = differs(detector, out / "model.onnx", given.validation["images"][:4])
    if far > AGREE:
        raise InputError(f"The exported ONNX differs from torch by {far:.2g}: it is of no use.")
    versions = {"python": sys.version.split()[0], **{one: version(one) for one in PACKAGES}}
    entry = {"name": given.name, "kind": "onnx", "weights": "model.onnx", "layout": "rfdetr",
             "names": given.labels, "labels_from": 0, "antialias": False}  # fmt: skip
    for name, value in (("predictions", found), ("versions", versions), ("detector", entry)):
        fresh = out / f".{name}.json"
        fresh.write_text(json.dumps(value, indent=1))
        os.replace(fresh, out / f"{name}.json")


def differs(detector: RFDETR, file: Path, images: list[dict]) -> float:
    """How far ONNX's best boxes are from torch's, nine in ten: scores and shares of the side."""
    session, side, far = onnxruntime.InferenceSession(file), detector.model.resolution, []
    model = detector.model.model.eval().cpu()
    for image in images:
        with Image.open(image["file_name"]) as picture:
            frame = pixels.to_tensor(picture.convert("RGB"))
        frame = pixels.resize(frame, [side, side], antialias=False)
        frame = pixels.normalize(frame, detector.means, detector.stds)[None]
        with torch.inference_mode():
            mine = model(frame)
        boxes, logits = session.run(["dets", "labels"], {"input": frame.numpy()})
        theirs = torch.cat([torch.from_numpy(boxes), torch.from_numpy(logits).sigmoid()], -1)[0]
        rows = torch.cat([mine["pred_boxes"], mine["pred_logits"].sigmoid()], -1)[0]
        best = rows[rows[:, 4:].max(1).values.argsort(descending=True)[:20]]
        far.append(torch.cdist(best, theirs, p=math.inf).min(1).values)
    # Places get their queries by rank; where two rank alike, the last digit decides who gets which.
    return float(torch.cat(far).quantile(0.9))


def main() -> int:
    """Train; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("QUORATE_DATA"), help="the folder in")
    parser.add_argument("--out", default=os.environ.get("QUORATE_OUT"), help="the folder out")
    said = parser.parse_args()
    if not said.data or not said.out:
        parser.error("--data and --out, or QUORATE_DATA and QUORATE_OUT, name the folders")
    warnings.simplefilter("ignore")
    out = Path(said.out)
    try:
        given = Given.read(Path(said.data))
        with tempfile.TemporaryDirectory() as folder:
            export(given, out, train(given, out, Path(folder)))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except torch.OutOfMemoryError:
        print("The memory is too small: give a smaller batch_size or resolution.", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{out}: cannot be written ({error.strerror or error}).", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
