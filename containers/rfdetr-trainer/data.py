"""What the trainer contract hands over, checked, and laid out as RF-DETR reads it."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rfdetr.training import RFDETRDataModule
from torch.utils.data import DataLoader, Dataset, Sampler


class InputError(Exception):
    """What was given cannot be trained on; the message is one sentence for a person."""


@dataclass(frozen=True)
class Given:
    """What DATA holds. `train` and `validation` are COCO's instances, with whole paths."""

    name: str
    epochs: int
    batch: int
    seed: int
    checkpoint: Path | None
    hyperparameters: dict
    labels: list[str]
    train: dict
    validation: dict
    digest: str

    @classmethod
    def read(cls, folder: Path) -> Given:
        """Read DATA; InputError in one sentence where nothing can be trained on it."""
        folder = folder.resolve()
        said, labels = _json(folder / "trainer.json"), _labels(folder)
        train, validation = (
            _coco(folder, f"{part}.json", labels) for part in ("train", "validation")
        )
        if not train["annotations"]:
            raise InputError("train.json has no boxes: there is nothing to learn.")
        if not validation["images"]:
            raise InputError("validation.json has no pictures: nothing could be measured.")
        try:
            epochs, batch, seed = (
                usual if said.get(key) is None else int(said[key])
                for key, usual in (("epochs", 50), ("batch_size", 4), ("seed", 0))
            )
        except (TypeError, ValueError):
            raise InputError(
                "trainer.json: epochs, batch_size and seed are whole numbers."
            ) from None
        if epochs < 1 or batch < 1 or seed < 0:
            raise InputError("trainer.json: epochs and batch_size are at least 1, seed at least 0.")
        hyperparameters = said.get("hyperparameters") or {}
        if not isinstance(hyperparameters, dict):
            raise InputError("trainer.json: hyperparameters are names with values.")
        whole = (folder / one for one in ("trainer.json", "train.json", "labels.txt"))
        return cls(
            name=str(said.get("name") or "rfdetr"),
            epochs=epochs,
            batch=batch,
            seed=seed,
            checkpoint=folder / str(said["checkpoint"]) if said.get("checkpoint") else None,
            hyperparameters=hyperparameters,
            labels=labels,
            train=train,
            validation=validation,
            digest=hashlib.sha256(b"".join(one.read_bytes() for one in whole)).hexdigest(),
        )

    def lay_out(self, folder: Path) -> None:
        """Write what the library takes for a COCO export of Roboflow; pictures stay in DATA."""
        for part, coco in (("train", self.train), ("valid", self.validation)):
            (folder / part).mkdir()
            (folder / part / "_annotations.coco.json").write_text(json.dumps(coco))


def _json(path: Path) -> dict:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name} cannot be read ({error}).") from None
    if not isinstance(value, dict):
        raise InputError(f"{path.name} does not hold an object.")
    return value


def _labels(folder: Path) -> list[str]:
    try:
        names = (folder / "labels.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"labels.txt cannot be read ({error}).") from None
    if not names or not all(names):
        raise InputError("labels.txt has no labels, or an empty line.")
    return names


def _coco(folder: Path, name: str, labels: list[str]) -> dict:
    """COCO's instances with whole paths and without crowds; each picture's head is looked at."""
    coco, boxes = _json(folder / name), []
    try:
        images = [
            {key: int(one[key]) for key in ("id", "width", "height")}
            | {"file_name": str(folder / "images" / one["file_name"])}
            for one in coco["images"]
        ]
        for one in coco["annotations"]:
            x, y, width, height = map(float, one["bbox"])
            if not 1 <= int(one["category_id"]) <= len(labels):
                raise InputError(f"{name}: category {one['category_id']} is not in labels.txt.")
            if width > 0 and height > 0 and not one.get("iscrowd"):
                box = {"id": len(boxes) + 1, "image_id": int(one["image_id"]), "iscrowd": 0}
                box |= {"bbox": [x, y, width, height], "area": width * height}
                boxes.append(box | {"category_id": int(one["category_id"])})
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{name} is not COCO's instances ({error!r}).") from None
    for one in images:
        path = Path(one["file_name"])
        try:
            with Image.open(path) as picture:
                size = picture.size
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise InputError(f"{path.name} cannot be read as a picture ({error}).") from None
        if size != (one["width"], one["height"]):
            listed = f"{one['width']} x {one['height']}"
            raise InputError(f"{path.name} is {size[0]} x {size[1]}, and is listed as {listed}.")
    # Without a supercategory the library keeps every label, those without a box too.
    categories = [{"id": i, "name": label} for i, label in enumerate(labels, 1)]
    return {"images": images, "annotations": boxes, "categories": categories}


class Order(Sampler):
    """The pictures of an epoch, by seed and epoch; Lightning tells which (`set_epoch`).

    Each comes once, and the first ones once more where they fill no whole number of steps.
    """

    def __init__(self, count: int, step: int, seed: int, epoch: int, begun: int) -> None:
        self.count, self.length = count, -(-count // step) * step
        self.seed, self.epoch, self.first, self.begun = seed, epoch, epoch, begun % self.length

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        # Lightning asks more than once for the epoch that it begins with.
        begun = self.begun if self.epoch == self.first else 0
        return iter([(self.epoch, int(one)) for one in np.resize(order, self.length)[begun:]])


class Seeded(Dataset):
    """A data set whose augmentation follows from seed, epoch and picture alone."""

    def __init__(self, samples: Dataset, seed: int) -> None:
        self.samples, self.seed = samples, seed

    def __getitem__(self, key: tuple[int, int]):
        state = int(np.random.SeedSequence((self.seed, *key)).generate_state(1)[0])
        random.seed(state)
        np.random.seed(state)
        torch.manual_seed(state)
        return self.samples[key[1]]


class Data(RFDETRDataModule):
    """The library's data, in an order that a training which was killed can go on with.

    begun  the epoch, from 0, and the batches of it that were done. The loader is asked for before
           Lightning has read its checkpoint, to count the steps of the learning rate.
    """

    begun = (0, 0)

    def train_dataloader(self) -> DataLoader:
        loader, (epoch, batches) = super().train_dataloader(), self.begun
        seed, batch = self.train_config.seed, self.train_config.batch_size
        order = Order(
            len(loader.dataset),
            batch * self.train_config.grad_accum_steps,
            seed,
            epoch,
            begun=batch * batches,
        )
        return DataLoader(
            Seeded(loader.dataset, seed),
            batch_size=batch,
            sampler=order,
            collate_fn=loader.collate_fn,
            num_workers=loader.num_workers,
            pin_memory=loader.pin_memory,
        )
