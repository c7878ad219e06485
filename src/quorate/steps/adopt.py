"""adopt: make our own what a container left of a shard, where it keeps the step contract."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from quorate._version import __version__
from quorate.detectors.container import ContainerDetector
from quorate.errors import QuorateError
from quorate.spec import Detector
from quorate.steps.container_output import GIVEN, RULES, Left
from quorate.steps.work import (
    Manifest,
    Work,
    fingerprint,
    read_json,
    write_detections,
    write_json,
)


def adopt(work: Work, shard: int, detector: ContainerDetector, *, inputs: str = "") -> Manifest:
    """Check a container's boxes of a shard, and write them as ours, the manifest last.

    `inputs` is a digest of what the container was given, where that is known; otherwise what it
    left stands for it. What is adopted already is left alone. Raises QuorateError, in one
    sentence, where a rule is not kept.
    """
    folder = work.detections(shard, detector.name)
    contents = work.images(shard)
    left = Left(folder, contents, detector)
    if left.stated.fingerprint:
        return read_json(folder / "manifest.json", Manifest)
    for _, look in RULES:
        look(left)
    detections, notes = left.boxes, left.notes
    about = detector.model_dump_json(exclude={"name", "weights", "calibration", "pool", "timeout"})
    digest = inputs or fingerprint(
        __version__, about, msgspec.json.encode(contents), left.file.read_bytes()
    )
    if left.file.name == "detections.parquet":
        left.file.rename(folder / GIVEN)
    write_detections(folder / "detections.parquet", detections)
    manifest = Manifest(
        fingerprint=digest,
        images=len(contents.images),
        detections=len(detections),
        seconds=round(left.stated.seconds, 3),
        detectors=(detector.name,),
        skipped=left.stated.skipped,
        notes=notes,
    )
    write_json(folder / "manifest.json", manifest)
    return manifest


def adopt_all(work: Work, shard: int, detectors: Iterable[Detector]) -> dict[str, str]:
    """Adopt what each container left of a shard; those whose work is unusable, and why."""
    refused = {}
    for detector in detectors:
        left = work.detections(shard, detector.name)
        if isinstance(detector, ContainerDetector) and (left / "manifest.json").exists():
            try:
                adopt(work, shard, detector)
            except QuorateError as error:
                refused[detector.name] = error.message
    return refused
