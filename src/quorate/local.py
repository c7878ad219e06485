"""Run an ensemble's steps here, in one process."""

from __future__ import annotations

from pathlib import Path

from quorate.progress import Progress, silent
from quorate.spec import EnsembleSpec
from quorate.steps import Summary, Work, fuse, publish
from quorate.steps.whole import Loaded, processors


def run(
    ensemble: EnsembleSpec,
    out: Path,
    *,
    fresh: bool = False,
    workers: int | None = None,
    progress: Progress = silent,
) -> Summary:
    """Prepare, detect and fuse shard by shard, publish; the work folder is `out/work`.

    All detectors see a picture while it is decoded once. Memory does not grow with the number
    of pictures. See `DetectionEnsemble.run` for errors.
    """
    ensemble.where()  # before anything is loaded
    work = Work(out / "work")
    loaded = Loaded.load(ensemble)
    with work.owned():
        if fresh:
            work.forget()
        shards = loaded.detect(work, workers=workers or processors(), progress=progress)
        for shard, failed in shards:
            fuse(work, shard, ensemble, failed=failed)
        return publish(
            ensemble, work, out, progress=lambda done, total: progress("publish", done, total)
        )
