"""A whole training on this machine: prepare, every trainer, who is better, and what is told."""

from __future__ import annotations

from dataclasses import dataclass

from quorate.progress import Progress, silent
from quorate.spec.training import Training
from quorate.training.data import check_checkpoints, prepare
from quorate.training.judging import Judged, ensemble_of, judge
from quorate.training.publishing import digest, publish
from quorate.training.running import Told, run_all
from quorate.training.telling import tell
from quorate.training.work import Prepared, TrainingWork


@dataclass(frozen=True, eq=False)
class Done:
    """What a training came to, the files that tell of it below its folder, where the best is."""

    prepared: Prepared
    judged: Judged
    files: tuple[str, ...]
    published: str | None = None


def train(
    training: Training,
    work: TrainingWork,
    *,
    resume: bool = False,
    progress: Progress = silent,
    told: Told = lambda name, event: None,
) -> Done:
    """Do all of it; what is done already with the same input is left alone.

    Args:
        training: What is learnt from what, and by whom.
        work: Where everything is written.
        resume: Go on from checkpoints of trainers whose settings have changed since.
        progress: Told how far each part is.
        told: Told each event of each trainer.

    Raises InputError for data that nothing can be learnt from and a checkpoint that is not there,
    SpecError where the ensemble does not fit, TrainingError where no trainer came to its end,
    StorageError or AccessError where the best cannot be published, BusyError where another process
    is at work in the folder.
    """
    with work.owned():
        ensemble_of(training)  # before anything learns
        check_checkpoints(training)
        done = prepare(training, work, progress=progress)
        run_all(training, work, resume=resume, progress=progress, told=told)
        judged = judge(training, work, progress=progress)
        files = tell(training, work, judged)
        return Done(done, judged, tuple(files), _published(training, work, judged))


def _published(training: Training, work: TrainingWork, judged: Judged) -> str | None:
    """Where the best detector was published; the same one goes to the same place again."""
    if training.publish is None:
        return None
    folder = work.trainer(judged.best).out
    run = f"{training.name}-{digest(folder)}"
    ap = judged.alone[judged.best].metrics.ap
    latest = {"run": run, "trainer": judged.best, "ap": ap, "part": judged.part}
    return publish(folder, training.publish, run, latest)
