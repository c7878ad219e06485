"""fuse: let the quorum decide on one shard."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from quorate._version import __version__
from quorate.classifications import Classifications
from quorate.detections import Detections
from quorate.errors import QuorumError
from quorate.labels import Labels
from quorate.spec import ClassificationSpec, Ensemble, EnsembleSpec
from quorate.steps.container import adopt_all
from quorate.steps.work import (
    Failure,
    Manifest,
    Work,
    done,
    fingerprint,
    read_json,
    write_json,
    write_table,
)


def fuse(
    work: Work,
    shard: int,
    ensemble: Ensemble,
    *,
    failed: Mapping[str, str] | None = None,
    statuses: Mapping[str, str] | None = None,
    ask: Callable[[], Mapping[str, str]] = dict,
) -> Manifest:
    """Fuse the boxes of the detectors that are done with a shard; write them and the manifest.

    A detector takes part if it has a manifest and `failed` does not name it. What containers left
    is adopted first; one that breaks the step contract takes no part. Why a detector takes no part
    is told by `failed`, else by its `failed.json`, else by `ask` (what the runner knows of it),
    else by the status of its task in `statuses`, with what `ask` gives for "": why it knows
    nothing. The detectors' own files keep the scores that they
    gave: calibrations are applied here. Of a shard without a readable picture nobody is missed.

    Raises QuorumError, with each reason, where fewer than the quorum take part.
    """
    failed = {**adopt_all(work, shard, ensemble.members), **(failed or {})}
    contents = work.images(shard)
    folders = {d.name: work.detections(shard, d.name) for d in ensemble.members}
    manifests = {
        name: read_json(folder / "manifest.json", Manifest)
        for name, folder in folders.items()
        if (folder / "manifest.json").exists() and name not in failed
    }
    absent = {
        name: failed.get(name) or _own_reason(folder)
        for name, folder in folders.items()
        if name not in manifests and contents.images
    }
    if not all(absent.values()):
        known = ask()
        unasked = f"; {known['']}" if known.get("") else ""
        absent = {
            name: reason or known.get(name) or _worded((statuses or {}).get(name, "")) + unasked
            for name, reason in absent.items()
        }
    refuse_too_few(ensemble, absent, where=f"Shard {shard}: ")
    inputs = fingerprint(
        __version__,
        ensemble.rule.model_dump_json(),
        *(f"{name} {how.model_dump_json()}" for name, how in ensemble.calibrations.items()),
        repr(absent),
        *(f"{name} {manifest.fingerprint}" for name, manifest in manifests.items()),
    )
    folder = work.fused(shard)
    if manifest := done(folder, inputs):
        return manifest
    started = time.perf_counter()
    table: Any = Classifications if isinstance(ensemble, ClassificationSpec) else Detections
    found = [table.from_parquet(folders[name] / table.FILE) for name in manifests]
    fused = decide(found, ensemble, contents.labels)
    write_table(folder / table.FILE, fused, contents)
    manifest = Manifest(
        fingerprint=inputs,
        images=len(contents.images),
        detections=len(fused),
        seconds=round(time.perf_counter() - started, 3),
        detectors=tuple(v for d in ensemble.members if d.name in manifests for v in d.voters),
        failed=absent,
    )
    write_json(folder / "manifest.json", manifest)
    return manifest


def decide(
    found: Sequence[Any], ensemble: Ensemble, labels: Labels, *, threads: int | None = None
) -> Any:
    """What the quorum makes of the members' own tables, which all took part: a table like them.

    Scores of detectors are calibrated here. Raises as `quorate.fusion.fuse`.
    """
    if isinstance(ensemble, ClassificationSpec):
        from quorate.fusion.classes import fuse as fuse_classes

        return fuse_classes(Classifications.join(found), ensemble.fusion)
    assert isinstance(ensemble, EnsembleSpec)
    return decide_boxes(Detections.concat(found), ensemble, labels, threads=threads)


def decide_boxes(
    found: Detections, ensemble: EnsembleSpec, labels: Labels, *, threads: int | None = None
) -> Detections:
    """What the quorum makes of the detectors' own boxes; all of `found.detectors` took part."""
    from quorate.fusion import fuse as fuse_detections
    from quorate.fusion.calibrate import calibrated

    found = calibrated(found, ensemble.calibrations, labels=labels)
    return fuse_detections(found, ensemble.voting, labels=labels, threads=threads)


def refuse_too_few(ensemble: Ensemble, failed: Mapping[str, str], *, where: str = "") -> None:
    """QuorumError, naming those that failed and why, where fewer than the quorum are left."""
    count = len(ensemble.members)
    if count - len(failed) < ensemble.needed:
        raise QuorumError(
            f"{where}{count - len(failed)} of {count} {ensemble.noun}s succeeded, need "
            f"{ensemble.needed}: " + "; ".join(f"{name}: {why}" for name, why in failed.items()),
            hint=f"mend the {ensemble.noun}s that failed, or lower `quorum`; what is done is kept",
            failed=failed,
        )


_STATUSES = {
    "Failed": "it was killed, ran out of time or was never scheduled, and could not say why",
    "Error": "its pod was lost or could not be started",
    "Skipped": "it was not run",
    "Omitted": "it was not run",
}
"""What Argo's status of a task means, where nothing more is known of it."""


def _own_reason(folder: Path) -> str:
    """Why a detector left no manifest, as what it did leave tells; "" where nothing does."""
    if (path := folder / "failed.json").exists() and not path.is_symlink():
        return read_json(path, Failure).reason
    if any((folder / name).exists() for name in ("detections.json", "detections.parquet")):
        return "it left boxes but no manifest.json, so they may not be all"
    return ""


def _worded(status: str) -> str:
    said = _STATUSES.get(status)
    return f"{said} (its task: {status})" if said else "it left no manifest"
