"""The work folder: where each step finds its input and leaves its output.

    work/
      spec.yaml                            the ensemble as it was prepared, its paths absolute
      plan.json                            what prepare found: labels, shards, bad pictures
      shards/00000/
        images.json                        COCO `images` and `categories` of the shard
        detections/NAME/parts/             finished parts of a detector that is still at work
        detections/NAME/detections.parquet
        detections/NAME/manifest.json      written last: this detector is done with this shard
        detections/NAME/failed.json        or why it is not
        fused/detections.parquet
        fused/manifest.json                likewise

A step is done when its manifest is there and bears the fingerprint of the step's whole input;
anything else in its folder is the rest of a killed run. Files appear whole or not at all.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from quorate.dataset import Image
from quorate.detections import Detections
from quorate.errors import InputError
from quorate.labels import Labels
from quorate.storage import write_bytes, writing

T = TypeVar("T")


class Skipped(msgspec.Struct, frozen=True):
    """A picture that could not be read, and why."""

    file_name: str
    reason: str


class Failure(msgspec.Struct, frozen=True):
    """Why a detector is not done with a shard; it counts only where there is no manifest."""

    reason: str


class Category(msgspec.Struct, frozen=True):
    """One of COCO's `categories`."""

    id: int
    name: str


class ShardImages(msgspec.Struct, frozen=True):
    """A shard's `images.json`: the input of the step contract."""

    images: tuple[Image, ...]
    categories: tuple[Category, ...]

    @property
    def labels(self) -> Labels:
        """The vocabulary."""
        return Labels(
            names=tuple(category.name for category in self.categories),
            ids=tuple(category.id for category in self.categories),
        )


class Plan(msgspec.Struct, frozen=True):
    """What prepare found; the other steps start from it."""

    fingerprint: str
    data: str
    root: str
    categories: tuple[Category, ...]
    shards: int
    images: int
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """That a step is done with a shard, with what, and what it counted.

    detectors  names that the boxes bear, of a detector whose views vote that of each view
    boxes      how many each of several such names bears
    """

    fingerprint: str
    images: int
    detections: int
    seconds: float
    detectors: tuple[str, ...] = ()
    boxes: dict[str, int] = {}
    failed: dict[str, str] = {}
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """The paths of a work folder."""

    root: Path

    @property
    def plan_file(self) -> Path:
        """`plan.json`."""
        return self.root / "plan.json"

    @property
    def spec_file(self) -> Path:
        """`spec.yaml`."""
        return self.root / "spec.yaml"

    def plan(self) -> Plan:
        """What prepare found; InputError before it has run."""
        if not self.plan_file.exists():
            raise InputError(
                f"{self.root}: nothing is prepared here.", hint="run `quorate step prepare` first"
            )
        return read_json(self.plan_file, Plan)

    def shard(self, shard: int) -> Path:
        """The folder of one shard."""
        return self.root / "shards" / f"{shard:05d}"

    def images(self, shard: int) -> ShardImages:
        """The pictures of one shard."""
        path = self.shard(shard) / "images.json"
        if not path.exists():
            raise InputError(f"{path}: there is no such shard; prepare made {self.plan().shards}.")
        return read_json(path, ShardImages)

    def detections(self, shard: int, detector: str) -> Path:
        """Where one detector leaves its boxes of one shard."""
        return self.shard(shard) / "detections" / detector

    def failed(self, shard: int, detector: str, reason: str) -> None:
        """Say why a detector is not done with a shard, for fusion and the report to tell."""
        folder = self.detections(shard, detector)
        (folder / "manifest.json").unlink(missing_ok=True)
        write_json(folder / "failed.json", Failure(reason))

    def fused(self, shard: int) -> Path:
        """Where fusion leaves its boxes of one shard."""
        return self.shard(shard) / "fused"


def read_json(path: Path, kind: type[T]) -> T:
    """Decode one JSON file of ours; InputError, naming the file, when it is something else."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: {error}.") from None


def write_json(path: Path, value: msgspec.Struct) -> None:
    """Write a JSON file that appears whole or not at all."""
    write_bytes(path, msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


def write_detections(path: Path, detections: Detections) -> None:
    """Write a Parquet file that appears whole or not at all."""
    with writing(path) as file:
        detections.to_parquet(file)


def done(folder: Path, fingerprint: str) -> Manifest | None:
    """The manifest of a step that is done with just this input, else None."""
    path = folder / "manifest.json"
    if not path.exists():
        return None
    manifest = read_json(path, Manifest)
    return manifest if manifest.fingerprint == fingerprint else None


def fingerprint(*parts: bytes | str) -> str:
    """A digest of a step's whole input."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()
