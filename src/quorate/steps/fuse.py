"""fuse: let the quorum decide on one shard."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from quorate._version import __version__
from quorate.detections import Detections
from quorate.errors import QuorumError
from quorate.spec import EnsembleSpec
from quorate.steps.adopt import adopt_all
from quorate.steps.work import (
    Failure,
    Manifest,
    Work,
    done,
    fingerprint,
    read_json,
    write_detections,
    write_json,
)


def fuse(
    work: Work,
    shard: int,
    ensemble: EnsembleSpec,
    *,
    failed: Mapping[str, str] | None = None,
    statuses: Mapping[str, str] | None = None,
    ask: Callable[[], Mapping[str, str]] = dict,
) -> Manifest:
    """Fuse the boxes of the detectors that are done with a shard; write them and the manifest.

    Calibrations are applied here: the detectors' own files keep the scores as they were given.
    Only a detector with a manifest takes part, and none that `failed` names with its reason, nor
    a container whose work does not keep the step contract: the others' is adopted here. Why
    another does not is in its `failed.json`; of those that left none, `ask` is called for what
    the runner knows, and what is not known there is worded from the `statuses` of their tasks.
    Raises QuorumError, naming them, where fewer than the quorum took part.
    """
    from quorate.fusion import fuse as fuse_detections
    from quorate.fusion.calibrate import calibrated

    failed = {**adopt_all(work, shard, ensemble.detectors), **(failed or {})}
    contents = work.images(shard)
    folders = {d.name: work.detections(shard, d.name) for d in ensemble.detectors}
    manifests = {
        name: read_json(folder / "manifest.json", Manifest)
        for name, folder in folders.items()
        if (folder / "manifest.json").exists() and name not in failed
    }
    absent = {
        name: failed.get(name) or _own_reason(folder)
        for name, folder in folders.items()
        if name not in manifests
    }
    if not all(absent.values()):
        known = ask()
        absent = {
            name: reason or known.get(name) or _worded((statuses or {}).get(name, ""))
            for name, reason in absent.items()
        }
    if len(manifests) < ensemble.needed:
        raise QuorumError(
            f"Shard {shard}: {len(manifests)} of {len(folders)} detectors succeeded, "
            f"need {ensemble.needed}: "
            + "; ".join(f"{name}: {reason}" for name, reason in absent.items()),
            hint="mend the detectors that failed, or lower `quorum`; what is done is kept",
        )
    inputs = fingerprint(
        __version__,
        ensemble.fusion.model_dump_json(),
        *(f"{name} {how.model_dump_json()}" for name, how in ensemble.calibrations.items()),
        repr(absent),
        *(f"{name} {manifest.fingerprint}" for name, manifest in manifests.items()),
    )
    folder = work.fused(shard)
    if manifest := done(folder, inputs):
        return manifest
    started = time.perf_counter()
    detections = Detections.concat(
        [Detections.from_parquet(folders[name] / "detections.parquet") for name in manifests]
    )
    voters = [v for d in ensemble.detectors if d.name in manifests for v in d.voters]
    detections = calibrated(detections, ensemble.calibrations, labels=contents.labels)
    fused = fuse_detections(detections, ensemble.voting, detectors=voters, labels=contents.labels)
    write_detections(folder / "detections.parquet", fused)
    manifest = Manifest(
        fingerprint=inputs,
        images=len(contents.images),
        detections=len(fused),
        seconds=round(time.perf_counter() - started, 3),
        detectors=tuple(voters),
        failed=absent,
    )
    write_json(folder / "manifest.json", manifest)
    return manifest


_STATUSES = {
    "Failed": "it was killed, ran out of time or was never scheduled, and could not say why",
    "Error": "its pod was lost or could not be started",
    "Skipped": "it was not run",
    "Omitted": "it was not run",
}
"""Argo's words for what became of a task of which nobody knows more."""


def _own_reason(folder: Path) -> str:
    """Why a detector left no manifest, as what it did leave tells; "" where nothing does."""
    if (path := folder / "failed.json").exists():
        return read_json(path, Failure).reason
    if any((folder / name).exists() for name in ("detections.json", "detections.parquet")):
        return "it left boxes but no manifest.json, so they may not be all"
    return ""


def _worded(status: str) -> str:
    said = _STATUSES.get(status)
    return f"{said} (its task: {status})" if said else "it left no manifest"
