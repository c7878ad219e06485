"""The work folder: where each step finds its input and leaves its output.

    work/
      spec.yaml                            the ensemble as it was prepared, its paths absolute
      plan.json                            what prepare found: labels, shards, bad pictures
      .owner                               who is at work here, while somebody is
      shards/00000/
        images.json                        COCO `images` and `categories` of the shard
        detections/NAME/parts/             finished parts of a detector that is still at work
        detections/NAME/detections.parquet
        detections/NAME/manifest.json      written last: this detector is done with this shard
        detections/NAME/failed.json        or why it is not
        fused/detections.parquet
        fused/manifest.json                likewise
        earlier.json                       which of the folders below know some of its pictures
      earlier/…/                           shards of an earlier plan, until all is detected anew

A step is done when its manifest is there and bears the fingerprint of the step's whole input;
anything else in its folder is the rest of a killed run. Files appear whole or not at all.
Where classifiers vote, the tables are called `classifications.parquet`.
"""

from __future__ import annotations

import hashlib
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from quorate.dataset import Image, LabelInfo
from quorate.display import brief
from quorate.errors import InputError
from quorate.labels import Labels
from quorate.storage import write_bytes, writing
from quorate.storage.owner import owned

if TYPE_CHECKING:
    from quorate.classifications import Classifications
    from quorate.detections import Detections

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

    @classmethod
    def each(cls, labels: Labels) -> tuple[Category, ...]:
        """Those of a vocabulary."""
        return tuple(cls(i, name) for i, name in zip(labels.ids, labels.names, strict=True))


Key = tuple[str, int, int, str]
"""What is the same of a picture under every plan: its file name, width, height and stamp."""


class ShardImages(msgspec.Struct, frozen=True, omit_defaults=True):
    """A shard's `images.json`: the input of the step contract.

    stamps   what tells the contents of each picture's file from those of another (`Tree.stamps`)
    skipped  pictures of the shard that `measure` left out
    """

    images: tuple[Image, ...]
    categories: tuple[Category, ...]
    stamps: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()

    __repr__ = brief

    @property
    def keys(self) -> list[Key | None]:
        """Each picture's key; None where its file has no stamp."""
        stamps = self.stamps or ("",) * len(self.images)
        return [
            (image.file_name, image.width, image.height, stamp) if stamp else None
            for image, stamp in zip(self.images, stamps, strict=True)
        ]

    @property
    def labels(self) -> Labels:
        """The vocabulary."""
        return Labels(
            names=tuple(category.name for category in self.categories),
            ids=tuple(category.id for category in self.categories),
        )


class Earlier(msgspec.Struct, frozen=True):
    """A shard's `earlier.json`: the names of the folders that know some of its pictures."""

    folders: tuple[str, ...]


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a data set says beside its pictures, as `Dataset` has it.

    annotated  whether it says what is on them, so that it is to be read again for that
    """

    annotated: bool
    name: str = ""
    label_info: dict[str, LabelInfo] = {}
    info: dict[str, Any] = {}


class Plan(msgspec.Struct, frozen=True):
    """What prepare found; the other steps start from it.

    images   how many there are; with `apart`, those that are no pictures among them
    skipped  those that could not be read; with `apart`, each shard lists its own
    apart    whether each shard is still to be measured
    source   None in a work folder that an older version has made
    """

    data: str
    root: str
    shards: int
    images: int
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    apart: bool = False
    source: Source | None = None

    __repr__ = brief


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """That a step is done with a shard, with what, and what it counted.

    voter      the part of the fingerprint that is the detector's, without the pictures
    detectors  names that the boxes bear, of a detector whose views vote that of each view
    boxes      how many each of several such names bears
    about      what the detector's model was taken for, in words
    dropped    how many of its boxes were left out, by the reason
    """

    fingerprint: str
    images: int
    detections: int
    seconds: float
    voter: str = ""
    detectors: tuple[str, ...] = ()
    boxes: dict[str, int] = {}
    failed: dict[str, str] = {}
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    about: dict[str, str] = {}
    dropped: dict[str, int] = {}


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

    @property
    def earlier(self) -> Path:
        """Where shards of earlier plans wait for what is known of their pictures to be taken."""
        return self.root / "earlier"

    def owned(self) -> AbstractContextManager[object]:
        """Be the only one at work here; BusyError, saying who is, where another process is."""
        return owned(self.root / ".owner")

    def forget(self) -> None:
        """Forget all that was prepared and done."""
        for folder in (self.root / "shards", self.earlier):
            shutil.rmtree(folder, ignore_errors=True)
        self.plan_file.unlink(missing_ok=True)

    def forget_earlier(self) -> None:
        """Forget the shards of earlier plans: every detector is done with the present ones."""
        shutil.rmtree(self.earlier, ignore_errors=True)

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
        """The pictures of one shard; InputError where it is still to be measured."""
        found = self.listed(shard)
        if any(not image.width for image in found.images):
            raise InputError(
                f"{self.shard(shard)}: the sizes of its pictures are not known.",
                hint=f"run `quorate step measure --shard {shard}` first",
            )
        return found

    def listed(self, shard: int) -> ShardImages:
        """The pictures of one shard, their sizes known or not."""
        path = self.shard(shard) / "images.json"
        if not path.exists():
            raise InputError(f"{path}: there is no such shard; prepare made {self.plan().shards}.")
        return read_json(path, ShardImages)

    def earlier_of(self, shard: int) -> list[Path]:
        """The shards of earlier plans that know some of a shard's pictures."""
        path = self.shard(shard) / "earlier.json"
        folders = read_json(path, Earlier).folders if path.exists() else ()
        return [self.earlier / name for name in folders if (self.earlier / name).is_dir()]

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
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file.") from None
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: {error}.") from None


def write_json(path: Path, value: object) -> None:
    """Write a JSON file that appears whole or not at all."""
    write_bytes(path, msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


def write_table(
    path: Path, table: Detections | Classifications, contents: ShardImages | None = None
) -> None:
    """Write a Parquet file that appears whole or not at all.

    With the shard's `contents`, names of labels and pictures stand beside their numbers.
    """
    labels: Labels | None = None
    pictures: dict[int, str] = {}
    if contents is not None:
        labels, pictures = contents.labels, {i.id: i.file_name for i in contents.images}
    with writing(path) as file:
        table.to_parquet(file, labels=labels, pictures=pictures)


def done(folder: Path, fingerprint: str) -> Manifest | None:
    """The manifest of a step that is done with just this input, else None."""
    try:
        manifest = read_json(folder / "manifest.json", Manifest)
    except InputError:  # none, or one that a container left and that was never adopted
        return None
    return manifest if manifest.fingerprint == fingerprint else None


def fingerprint(*parts: bytes | str) -> str:
    """A digest of a step's whole input."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()
