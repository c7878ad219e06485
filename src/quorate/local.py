"""Run an ensemble's steps here, in one process."""

from __future__ import annotations

import os
from pathlib import Path

from quorate.errors import InputError
from quorate.progress import Progress, silent
from quorate.spec import Ensemble
from quorate.steps import ClassSummary, Summary, Work, fuse, publish
from quorate.steps.moving import mark
from quorate.steps.whole import Loaded
from quorate.storage import remove_unfinished
from quorate.workers import processors


def run(
    ensemble: Ensemble,
    out: Path,
    *,
    fresh: bool = False,
    workers: int | None = None,
    progress: Progress = silent,
) -> Summary | ClassSummary:
    """Prepare, detect and fuse shard by shard, publish; the work folder is `out/work`.

    All detectors see a picture while it is decoded once. Memory does not grow with the number
    of pictures. See `DetectionEnsemble.run` for errors.
    """
    data = ensemble.where()  # before anything is loaded
    if os.path.realpath(data) == os.path.realpath(out):
        raise InputError(
            f"{out}: is the folder of the data; results would be taken for data.",
            hint="choose another folder with -o; one inside the data is left out of it",
        )
    work = Work(out / "work")
    loaded = Loaded.load(ensemble)
    with work.owned():
        mark(out)
        remove_unfinished(out)
        if fresh:
            work.forget()
        shards = loaded.detect(work, workers=workers or processors(), progress=progress)
        for shard, failed in shards:
            fuse(work, shard, ensemble, failed=failed)
        return publish(
            ensemble, work, out, progress=lambda done, total: progress("publish", done, total)
        )
