"""A detector of Keras and TensorFlow that keeps the trainer contract.

    python trainer.py --data DIR --out DIR

Reads train.json, validation.json, images/, labels.txt and trainer.json in DATA; leaves
progress.jsonl, checkpoint/, model.onnx, detector.json, predictions.json and versions.json in OUT.
Ends with 0 when all of that is there and checked; else with one sentence on standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import math
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import detector
import keras
import numpy as np
import onnxruntime
import tensorflow as tf
from data import (
    GREY,
    InputError,
    Sample,
    augmented,
    inner,
    read_json,
    read_labels,
    read_samples,
    scale_of,
    shown,
)
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

LEAST_SCORE, SUPPRESS, MOST = 0.01, 0.6, 100
"""What `predictions.json` holds: boxes from this score, the IoU that suppresses, most a picture."""
AGREE = 1e-3
"""How far ONNX may be from Keras: scores, and boxes as a share of the network's side."""
MODEL = "model.safetensors"
"""The weights alone, in `model/`: what a later training begins with."""
EVERY = 2.0
"""Seconds between two lines of progress within an epoch."""
PACKAGES = ("tensorflow-cpu", "keras", "numpy", "tf2onnx", "onnx", "onnxruntime", "pillow")


@dataclass(frozen=True)
class Hyperparameters:
    """What `hyperparameters` of trainer.json may say.

    learning_rate       at its highest, after the warm-up; it falls to a hundredth as a cosine does
    warmup              the share of all steps in which it rises from nothing
    weight_decay        of AdamW
    image_size          pixels of the network's square, a multiple of 32
    width               channels of the first layer; the last have four times as many
    checkpoint_seconds  between two checkpoints
    """

    learning_rate: float = 2e-3
    warmup: float = 0.05
    weight_decay: float = 1e-4
    image_size: int = 320
    width: int = 16
    checkpoint_seconds: float = 300.0

    @classmethod
    def of(cls, given: dict) -> Hyperparameters:
        """Those given, checked; InputError for one that is not known or makes no sense."""
        known = {one.name: type(one.default) for one in fields(cls)}
        values = {}
        for name, value in given.items():
            if name not in known:
                raise InputError(
                    f"There is no hyperparameter '{name}': there are {', '.join(known)}."
                )
            try:
                values[name] = known[name](value)
                sound = math.isfinite(values[name]) and values[name] >= 0
            except (TypeError, ValueError):
                sound = False
            if not sound:
                raise InputError(
                    f"The hyperparameter {name} is {value!r}, which is no such number."
                )
        found = cls(**values)
        if found.image_size % 32 or not 32 <= found.image_size <= 4096:
            raise InputError("The hyperparameter image_size is a multiple of 32 up to 4096.")
        if not 1 <= found.width <= 512 or found.learning_rate == 0 or found.warmup > 1:
            raise InputError("width is 1 to 512, learning_rate above 0 and warmup at most 1.")
        return found


@dataclass(frozen=True)
class Given:
    """What DATA holds."""

    name: str
    epochs: int
    batch: int
    seed: int
    checkpoint: Path | None
    settings: Hyperparameters
    labels: list[str]
    train: list[Sample]
    validation: list[Sample]
    digest: str

    @classmethod
    def read(cls, folder: Path) -> Given:
        """Read DATA; InputError in one sentence where nothing can be trained on it."""
        said, labels = read_json(folder / "trainer.json"), read_labels(folder)
        train = read_samples(folder, "train.json", len(labels))
        validation = read_samples(folder, "validation.json", len(labels))
        if not any(len(one.boxes) for one in train):
            raise InputError("train.json has no boxes: there is nothing to learn.")
        if not validation:
            raise InputError("validation.json has no pictures: nothing could be measured.")
        try:
            numbers = {key: int(said.get(key) or usual) for key, usual in
                       (("epochs", 50), ("batch_size", 8), ("seed", 0))}  # fmt: skip
        except (TypeError, ValueError):
            raise InputError(
                "trainer.json: epochs, batch_size and seed are whole numbers."
            ) from None
        if numbers["epochs"] < 1 or numbers["batch_size"] < 1 or numbers["seed"] < 0:
            raise InputError("trainer.json: epochs and batch_size are at least 1, seed at least 0.")
        files = ("trainer.json", "train.json", "labels.txt")
        whole = b"".join((folder / one).read_bytes() for one in files)
        return cls(
            name=str(said.get("name") or "keras"),
            epochs=numbers["epochs"],
            batch=numbers["batch_size"],
            seed=numbers["seed"],
            checkpoint=folder / str(said["checkpoint"]) if said.get("checkpoint") else None,
            settings=Hyperparameters.of(said.get("hyperparameters") or {}),
            labels=labels,
            train=train,
            validation=validation,
            digest=hashlib.sha256(whole).hexdigest(),
        )

    @property
    def steps_of_epoch(self) -> int:
        return -(-len(self.train) // self.batch)

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_of_epoch

    def rate(self, step: int) -> float:
        """The learning rate of a step, from 0: a linear rise, then half a cosine."""
        rise = max(1, round(self.steps * self.settings.warmup))
        if step < rise:
            return self.settings.learning_rate * (step + 1) / rise
        done = (step - rise) / max(1, self.steps - rise)
        return self.settings.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)

    def batch_of(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pictures, boxes and labels of the cells of a step: the same whenever they are asked."""
        epoch, at = divmod(step, self.steps_of_epoch)
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.train))
        side, parts = self.settings.image_size, []
        for index in order[at * self.batch : (at + 1) * self.batch]:
            sample = self.train[index]
            random = np.random.default_rng((self.seed, epoch, int(index)))
            frame, boxes = shown(sample, side)
            frame, boxes = augmented(frame, boxes, inner(sample, side)[0], random)
            parts.append((frame, *detector.taught(boxes, sample.labels, side)))
        frames, boxes, labels = map(np.stack, zip(*parts, strict=True))
        return frames.astype("f4") / 255, boxes, labels


def note(sentence: str) -> None:
    print(f"note: {sentence}", file=sys.stderr, flush=True)


def tensors(file: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a safetensors file and its metadata; InputError where it is none."""
    try:
        with safe_open(file, framework="numpy") as opened:
            found = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118  no mapping
            return found, opened.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file} is no checkpoint of this trainer ({error}).") from None


class Training:
    """The network at work: model, optimiser, and where they are."""

    def __init__(self, given: Given, out: Path) -> None:
        self.given, self.out = given, out
        self.file = out / "checkpoint" / "state.safetensors"
        self.step, self.before, self.began = 0, 0.0, time.monotonic()
        self.stopped = False
        settings = given.settings
        self.model = detector.network(len(given.labels), settings.image_size, settings.width)
        self.optimiser = keras.optimizers.AdamW(
            settings.learning_rate, weight_decay=settings.weight_decay, clipnorm=10.0
        )
        self.optimiser.build(self.model.trainable_variables)
        self.truth = _coco(given)

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.began

    def _arrays(self) -> dict[str, np.ndarray]:
        found = {f"model/{one.path}": one.numpy() for one in self.model.variables}
        optimiser = enumerate(self.optimiser.variables)
        return found | {f"optimiser/{i}": np.asarray(one) for i, one in optimiser}

    def save(self) -> None:
        """Keep the state in one file that is whole or not there."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.file.with_suffix(".new")
        said = {"step": str(self.step), "seconds": str(self.seconds), "digest": self.given.digest}
        save_file(self._arrays(), fresh, said)
        os.replace(fresh, self.file)

    def resume(self) -> None:
        """Go on where an earlier call was, or begin from the checkpoint that is given."""
        if self.file.exists():
            arrays, said = tensors(self.file)
            if said.get("digest") == self.given.digest:
                for key, one in self._places().items():
                    one.assign(arrays[key])
                self.step, self.before = int(said["step"]), float(said["seconds"])
                note(f"going on after step {self.step} of {self.given.steps}")
                self._forget()
                return
            note("checkpoint/ is of other data or settings: training begins anew")
        (self.out / "progress.jsonl").write_text("")
        if self.given.checkpoint:
            self._fine_tune(self.given.checkpoint)

    def _places(self) -> dict:
        found = {f"model/{one.path}": one for one in self.model.variables}
        return found | {f"optimiser/{i}": one for i, one in enumerate(self.optimiser.variables)}

    def _forget(self) -> None:
        """Drop the lines of steps that are made again."""
        path = self.out / "progress.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [one for one in lines if one.endswith("}") and json.loads(one)["step"] <= self.step]
        path.write_text("".join(f"{one}\n" for one in kept))

    def _fine_tune(self, place: Path) -> None:
        file = place / MODEL if place.is_dir() else place
        arrays, _ = tensors(file)
        fresh = []
        for one in self.model.variables:
            value = arrays.get(f"model/{one.path}")
            if value is not None and value.shape == tuple(one.shape):
                one.assign(value)
            else:
                fresh.append(one.path)
        if len(fresh) == len(self.model.variables):
            raise InputError(f"{file} is of another network: no layer fits.")
        if fresh:
            note(f"not in the checkpoint, or of another shape, so begun anew: {', '.join(fresh)}")

    def run(self) -> None:
        """All steps that are left, with a checkpoint now and then and a line of progress."""
        given, side = self.given, self.given.settings.image_size
        model, optimiser = self.model, self.optimiser

        @tf.function(reduce_retracing=True)
        def once(frames, boxes, labels):
            with tf.GradientTape() as tape:
                parts = detector.losses(model(frames, training=True), boxes, labels, side)
                loss = parts["labels"] + 2.0 * parts["boxes"]
            gradients = tape.gradient(loss, model.trainable_variables)
            return loss, parts, gradients

        saved = told = time.monotonic()
        begun, done_here = time.monotonic(), 0
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stopped", True))
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(given.batch_of, self.step) if self.step < given.steps else None
            while ahead:
                frames, boxes, labels = ahead.result()
                more = self.step + 1 < given.steps
                ahead = reader.submit(given.batch_of, self.step + 1) if more else None
                loss, parts, gradients = once(frames, boxes, labels)
                if not math.isfinite(float(loss)):
                    kept = "the last checkpoint is kept" if self.file.exists() else "none was kept"
                    raise InputError(
                        f"The loss of step {self.step} is no number; {kept}. A lower "
                        f"learning_rate than {given.settings.learning_rate:g} may help."
                    )
                # Only now it is known that the weights are sound: this loss is theirs.
                if self.stopped or time.monotonic() - saved >= given.settings.checkpoint_seconds:
                    self.save()
                    saved = time.monotonic()
                if self.stopped:
                    note(f"told to end after step {self.step}; the same call goes on from there")
                    raise SystemExit(143)
                rate = given.rate(self.step)
                optimiser.learning_rate.assign(rate)
                optimiser.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
                self.step, done_here = self.step + 1, done_here + len(frames)
                now = time.monotonic()
                ended = self.step % given.steps_of_epoch == 0
                if ended or now - told >= EVERY:
                    told = now
                    self._tell(float(loss), parts, rate, done_here / (now - begun), ended)
        self.save()

    def _tell(self, loss: float, parts: dict, rate: float, speed: float, ended: bool) -> None:
        epoch = -(-self.step // self.given.steps_of_epoch)
        often = max(1, self.given.epochs // 10)
        measured = ended and (epoch % often == 0 or epoch == self.given.epochs)
        event = {
            "epoch": epoch,
            "step": self.step,
            "steps": self.given.steps,
            "loss": loss,
            "losses": {name: float(value) for name, value in parts.items()},
            "learning_rate": rate,
            "images_per_second": round(speed, 2),
            "map": self.measure(self.find(self.model_in_keras())) if measured else None,
            "seconds": round(self.seconds, 2),
        }
        with open(self.out / "progress.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")
        shown = "" if event["map"] is None else f"  mAP {event['map']:.3f}"
        print(
            f"epoch {epoch}/{self.given.epochs}  step {self.step}/{self.given.steps}  "
            f"loss {loss:.3f}{shown}", flush=True,
        )  # fmt: skip

    def model_in_keras(self):
        model = detector.exported(self.model, self.given.settings.image_size)
        return lambda frames: model(frames, training=False).numpy()

    def frames(self, samples: list[Sample]) -> np.ndarray:
        side = self.given.settings.image_size
        return np.stack([shown(one, side)[0] for one in samples]).astype("f4") / 255

    def find(self, ask) -> list[dict]:
        """What a model finds on the validation pictures, as COCO results."""
        side, found = self.given.settings.image_size, []
        for start in range(0, len(self.given.validation), self.given.batch):
            samples = self.given.validation[start : start + self.given.batch]
            for sample, rows in zip(samples, ask(self.frames(samples)), strict=True):
                for box in detector.best(rows, least=LEAST_SCORE, iou=SUPPRESS, most=MOST):
                    size = (sample.width, sample.height) * 2
                    x1, y1, x2, y2 = np.clip(box[:4] / scale_of(sample, side), 0, size).tolist()
                    if x2 > x1 and y2 > y1:
                        found.append(
                            {
                                "image_id": sample.id,
                                "category_id": int(box[5]) + 1,
                                "bbox": [x1, y1, x2 - x1, y2 - y1],
                                "score": float(box[4]),
                            }
                        )
        return found

    def measure(self, found: list[dict]) -> float:
        """COCO's mAP of what was found; 0 where that is nothing."""
        if not found:
            return 0.0
        with contextlib.redirect_stdout(io.StringIO()):
            judge = COCOeval(self.truth, self.truth.loadRes([dict(one) for one in found]), "bbox")
            judge.evaluate()
            judge.accumulate()
            judge.summarize()
        return max(0.0, float(judge.stats[0]))

    def export(self) -> None:
        """Leave the network as ONNX, checked against Keras, and what it finds."""
        side, out = self.given.settings.image_size, self.out
        model = detector.exported(self.model, side)
        frames = self.frames(self.given.validation[:4])
        expected = model.predict(frames, verbose=0)
        with contextlib.redirect_stdout(sys.stderr):
            model.export(out / "model.onnx", format="onnx", verbose=False)
        session = onnxruntime.InferenceSession(out / "model.onnx")
        name = session.get_inputs()[0].name
        found = session.run(None, {name: frames})[0]
        unit = np.r_[[side] * 4, [1] * len(self.given.labels)][None, :, None]
        far = float(np.abs((found - expected) / unit).max())
        if far > AGREE:
            raise InputError(
                f"The exported ONNX differs from Keras by {far:.2g}: it is not to be used."
            )
        (out / "model").mkdir(exist_ok=True)
        weights = {key: value for key, value in self._arrays().items() if key.startswith("model/")}
        save_file(weights, out / "model" / MODEL)
        predictions = self.find(lambda frames: session.run(None, {name: frames})[0])
        self._write("predictions.json", predictions)
        self._write("versions.json", {"python": sys.version.split()[0],
                                      **{one: version(one) for one in PACKAGES}})  # fmt: skip
        self._write("metrics.json", {"map": self.measure(predictions), "onnx_differs": far})
        self._write(
            "detector.json",
            {
                "name": self.given.name,
                "kind": "onnx",
                "weights": "model.onnx",
                "layout": "yolov8",
                "names": self.given.labels,
                "resize": "corner",
                "antialias": True,
                "pad": GREY,
                "nms_iou": SUPPRESS,
            },
        )

    def _write(self, name: str, value: object) -> None:
        fresh = self.out / f".{name}"
        fresh.write_text(json.dumps(value, indent=1))
        os.replace(fresh, self.out / name)


def _coco(given: Given) -> COCO:
    """The truth of the validation pictures, for COCO's own measure."""
    truth, boxes = COCO(), []
    for sample in given.validation:
        for box, label in zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True):
            x1, y1, x2, y2 = box
            one = {"id": len(boxes) + 1, "image_id": sample.id, "category_id": label + 1}
            size = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            boxes.append(one | size | {"iscrowd": 0})
    truth.dataset = {
        "info": {},
        "images": [{"id": one.id, "width": one.width, "height": one.height}
                   for one in given.validation],
        "annotations": boxes,
        "categories": [{"id": i, "name": name} for i, name in enumerate(given.labels, 1)],
    }  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth


def main() -> int:
    """Train; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("QUORATE_DATA"), help="the folder in")
    parser.add_argument("--out", default=os.environ.get("QUORATE_OUT"), help="the folder out")
    said = parser.parse_args()
    if not said.data or not said.out:
        parser.error("--data and --out, or QUORATE_DATA and QUORATE_OUT, name the folders")
    out = Path(said.out)
    try:
        given = Given.read(Path(said.data))
        out.mkdir(parents=True, exist_ok=True)
        keras.utils.set_random_seed(given.seed)
        tf.config.experimental.enable_op_determinism()
        training = Training(given, out)
        training.resume()
        training.run()
        training.export()
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except tf.errors.ResourceExhaustedError:
        print("The memory is too small: give a smaller batch_size or image_size.", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{out}: cannot be written ({error.strerror or error}).", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
