"""A whole training on this machine: prepare, every trainer, who is better, and what is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from quorate.errors import MissingExtraError, TrainingError
from quorate.progress import Progress, silent
from quorate.spec.torch_trainer import TorchTrainer
from quorate.spec.training import Training
from quorate.training.checks import check_spec
from quorate.training.data import prepare
from quorate.training.judging import Judged, Measured, judge, measure, ready
from quorate.training.publishing import check_store, digest, publish
from quorate.training.running import Told, run
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
    began: Callable[[Prepared], None] = lambda prepared: None,
    measured: Callable[[Measured], None] = lambda one: None,
) -> Done:
    """Do all of it; what is done already with the same input is left alone.

    Args:
        training: What is learnt from what, and by whom.
        work: Where everything is written.
        resume: Go on from checkpoints of trainers whose settings have changed since.
        progress: Told how far each part is.
        told: Told each event of each trainer.
        began: Told what was prepared, before anything learns.
        measured: Told how good each trainer's detector is, when the trainer is done.

    Raises InputError for data that nothing can be learnt from and a checkpoint that is not there,
    SpecError or DetectorError where the ensemble does not fit, TrainingError where no trainer came
    to its end, StorageError or AccessError where `publish` cannot be written to, BusyError where
    another process is at work in the folder, MissingExtraError where a trainer of ours lacks torch.
    """
    _refuse_without_torch(training)
    with work.owned():
        check_spec(training)
        if training.publish is not None:
            check_store(training.publish)
        done = prepare(training, work, progress=progress)
        ready(training, done.labels)
        began(done)
        for trainer in training.trainers:
            outcome = run(trainer, work, resume=resume, progress=progress, told=told)
            if outcome.failed is not None:
                continue
            new = not work.trainer(trainer.name).found.exists()
            try:
                one = measure(training, work, trainer.name, progress=progress)
            except TrainingError:  # which is noted in the trainer's folder
                continue
            if new:
                measured(one)
        judged = judge(training, work, progress=progress)
        files = tell(training, work, judged)
        return Done(done, judged, tuple(files), _published(training, work, judged))


def _refuse_without_torch(training: Training) -> None:
    """MissingExtraError, before anything is read, where trainers of ours could not run."""
    ours = [one.name for one in training.trainers if isinstance(one, TorchTrainer)]
    if ours and not all(find_spec(name) for name in ("torch", "accelerate")):
        raise MissingExtraError(f"Training {', '.join(ours)}", "torch")


def _published(training: Training, work: TrainingWork, judged: Judged) -> str | None:
    """Where the best detector was published; the same one goes to the same place again."""
    if training.publish is None:
        return None
    folder = work.trainer(judged.best).out
    run = f"{training.name}-{digest(folder)}"
    ap = judged.alone[judged.best].metrics.ap
    latest = {"run": run, "trainer": judged.best, "ap": ap, "part": judged.part}
    return publish(folder, training.publish, run, latest)
