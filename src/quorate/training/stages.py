"""A training in stages that run apart, each in a pod of its own, over one work folder.

What `whole.train` does in one process: `evaluate` takes what one trainer left, `compare` all of
them, `release` carries the best to the model store. `predict` looks at pictures with a detector
that was released.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import msgspec

from quorate.errors import InputError, TrainingError
from quorate.progress import Progress, silent
from quorate.spec import EnsembleSpec
from quorate.spec.base import load_yaml
from quorate.spec.trainer import Trainer
from quorate.spec.training import Training
from quorate.steps import ClassSummary, Summary
from quorate.steps.whole import run
from quorate.steps.work import write_json
from quorate.storage import local_copy, write_bytes
from quorate.training.contract import detector_of, files_of
from quorate.training.judging import Judged, Measured, judge, measure
from quorate.training.publishing import DETECTOR, publish
from quorate.training.running import adopt
from quorate.training.telling import ENSEMBLE_FILE, RESULTS, tell
from quorate.training.work import Failed, TrainingWork


def evaluate(
    training: Training, work: TrainingWork, trainer: Trainer, *, progress: Progress = silent
) -> Measured:
    """Check what a trainer left, note in the work folder that it is done, and measure it.

    TrainingError where the contract is not kept; that is noted as well.
    """
    outcome = adopt(trainer.name, work)
    if outcome.failed is not None:
        raise TrainingError(outcome.failed.reason, hint=outcome.failed.hint or None)
    measured = measure(training, work, trainer.name, progress=progress)
    return replace(measured, notes=(*outcome.notes, *measured.notes))


def compare(
    training: Training,
    work: TrainingWork,
    out: Path,
    *,
    statuses: Mapping[str, str],
    ask: Callable[[], Mapping[str, str]] = dict,
    progress: Progress = silent,
) -> Judged:
    """Judge the trainers and write all that is told of them into a folder.

    The folder has the files of `telling.tell`, and `trainers/NAME/` with what each left: detector,
    card, predictions, progress, checkpoint. A trainer of which nothing is there has failed; `ask`
    is called for why, and `statuses` are the words of who ran it. Raises as `judge` does.
    """
    works = {one.name: work.trainer(one.name) for one in training.trainers}
    mute = {
        name: own
        for name, own in works.items()
        if not own.trained.exists() and not own.failed.exists()
    }
    why = ask() if mute else {}
    for name, own in mute.items():
        task = statuses.get(name, "never begun")
        reason = why.get(name) or f"it did not say why it failed (its task: {task})"
        write_json(own.failed, Failed(reason))
    place = training.compare.ensemble
    with local_copy(place) if place else nullcontext() as here:
        if here is not None:
            fields = training.compare.model_copy(update={"ensemble": str(here)})
            training = training.model_copy(update={"compare": fields})
        judged = judge(training, work, progress=progress)
        files = tell(training, work, judged)
    copied = {out / name: work.root / name for name in files if not name.startswith("trainers/")}
    for name, own in works.items():
        to = out / "trainers" / name
        copied |= {to / path.relative_to(own.out): path for path in files_of(own.out)}
    for target, source in copied.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    if ENSEMBLE_FILE in files:
        _relative(out / ENSEMBLE_FILE, work, judged)
    return judged


def _relative(path: Path, work: TrainingWork, judged: Judged) -> None:
    """Name a newcomer's weights by their place beside the ensemble's file."""
    text = path.read_text(encoding="utf-8")
    for name in judged.detectors:
        text = text.replace(f"{os.path.abspath(work.trainer(name).out)}/", f"trainers/{name}/")
    load_yaml(text, origin=str(path))
    write_bytes(path, text.encode())


def release(results: Path, store: str, run_name: str) -> str:
    """Copy the best detector of a training's results into the model store; where it is.

    STORE/RUN/ has its detector.json, weights, card, predictions and versions; STORE/latest.json
    names it, last. Raises InputError where the results name none, StorageError or AccessError
    where the store cannot be reached.
    """
    try:
        said = msgspec.json.decode((results / RESULTS).read_bytes())
        best = str(said["best"])
        row = next(one for one in said["trainers"] if one["name"] == best)
    except (OSError, msgspec.DecodeError, LookupError, TypeError, StopIteration):
        raise InputError(f"{results / RESULTS}: names no best detector.") from None
    latest = {"run": run_name, "trainer": best, "ap": row.get("ap"), "part": said.get("part")}
    return publish(results / "trainers" / best, store, run_name, latest)


def predict(
    training: Training,
    detector: str,
    data: str,
    out: Path,
    *,
    workers: int,
    progress: Progress = silent,
) -> Summary | ClassSummary:
    """Run a trained detector, of a folder with `detector.json`, over pictures; CVAT's files in out.

    Raises InputError where there is no detector, and as `steps.whole.run` does.
    """
    folder = detector if detector.endswith("/") or os.path.isdir(detector) else f"{detector}/"
    with local_copy(folder, wanted=lambda name: not name.startswith("checkpoint/")) as here:
        if not (here / DETECTOR).is_file():
            raise InputError(
                f"{detector}: has no {DETECTOR}, so no detector is there.",
                hint="name the folder of a trained detector: results/trainers/NAME/ of a training, "
                "or its folder in the model store",
            )
        one = detector_of(here, name=training.name)
        spec = EnsembleSpec(
            name=training.name, data=data, detectors=(one,), max_pixels=training.max_pixels
        )
        return run(spec, out, workers=workers, progress=progress)
