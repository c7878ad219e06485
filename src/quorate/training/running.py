"""Trainers run here, one after another, each a process that keeps the trainer contract."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO

import msgspec

from quorate._version import __version__
from quorate.errors import QuorateError, StorageError, TrainingError
from quorate.progress import Progress, silent
from quorate.spec.text import seconds
from quorate.spec.trainer import ContainerTrainer, Trainer
from quorate.steps.container import contained, last_line, programs, quietly, runtime_of
from quorate.steps.work import fingerprint, read_json, write_json
from quorate.storage.owner import name as name_owner
from quorate.storage.owner import owned
from quorate.training.contract import Event, Events, check
from quorate.training.data import give
from quorate.training.work import Failed, Trained, TrainerWork, TrainingWork

OURS = ("step", "train")
LOOKS = 0.2
"""Seconds between two looks at progress.jsonl."""
PATIENCE = 30.0
"""Seconds that a process has to end when it is asked to, for it writes a checkpoint."""
Told = Callable[[str, Event], None]
"""Told each event of a trainer, by its name."""


@dataclass(frozen=True)
class Outcome:
    """How one trainer ended: `failed` is None where it is done."""

    name: str
    seconds: float = 0.0
    failed: Failed | None = None
    notes: tuple[str, ...] = ()


def run(
    trainer: Trainer,
    work: TrainingWork,
    *,
    resume: bool = False,
    progress: Progress = silent,
    told: Told = lambda name, event: None,
) -> Outcome:
    """Run one trainer on what was prepared.

    One that is done with just this input is left alone, one that was killed goes on from its
    checkpoint. One whose settings changed begins anew; with `resume` it goes on as well. What goes
    wrong with it is in the outcome, and in its `failed.json`: it costs only itself.

    Only a full disk, which the others would meet too, is raised: StorageError; and BusyError where
    the trainer of a killed run is still at work.
    """
    own = work.trainer(trainer.name)
    with owned(own.lock) as held:
        try:
            inputs = fingerprint(__version__, give(trainer, work, own), _ran(trainer))
            if own.trained.exists():
                there = read_json(own.trained, Trained)
                if there.fingerprint == inputs:
                    return Outcome(trainer.name, there.seconds, notes=there.notes)
            _begin(own, inputs, resume=resume)
            _call(trainer, own, held, progress, told)
        except StorageError:
            raise
        except QuorateError as error:
            return failed(trainer.name, own, error)
        return adopt(trainer.name, work, inputs=inputs)


def adopt(name: str, work: TrainingWork, *, inputs: str = "") -> Outcome:
    """Check what a trainer that ended well has left, and say that it is done, or why it is not."""
    own = work.trainer(name)
    try:
        notes = check(own.out, work.data, name=name)
    except StorageError:
        raise
    except QuorateError as error:
        return failed(name, own, error)
    spent = spent_by(own)
    write_json(own.trained, Trained(inputs, spent, tuple(notes)))
    return Outcome(name, spent, notes=tuple(notes))


def outcome_of(name: str, own: TrainerWork) -> Outcome:
    """How a trainer ended, as its folder tells."""
    if own.failed.exists():
        return Outcome(name, spent_by(own), read_json(own.failed, Failed))
    if own.trained.exists():
        done = read_json(own.trained, Trained)
        return Outcome(name, done.seconds, notes=done.notes)
    return Outcome(name, 0.0, Failed(f"{name} was not run to its end."))


def failed(name: str, own: TrainerWork, error: QuorateError) -> Outcome:
    """Note in a trainer's folder what is wrong with it, or with what it left."""
    why = Failed(error.message, error.hint or "")
    write_json(own.failed, why)
    return Outcome(name, spent_by(own), why)


def _begin(own: TrainerWork, inputs: str, *, resume: bool) -> None:
    """Keep what a killed run left of the same input, or with `resume` of any; else begin anew."""
    for file in (own.trained, own.failed, own.found):
        file.unlink(missing_ok=True)
    before = read_json(own.begun, Trained).fingerprint if own.begun.exists() else None
    if before != inputs and not resume:
        shutil.rmtree(own.out, ignore_errors=True)
    own.out.mkdir(parents=True, exist_ok=True)
    write_json(own.begun, Trained(inputs, 0.0))


def _ran(trainer: Trainer) -> bytes:
    """What the process is, as far as it can be told: its words, the files they name, its image."""
    if not isinstance(trainer, ContainerTrainer):
        return b""
    words = (*trainer.command, *trainer.args)
    return msgspec.json.encode((trainer.image, words, trainer.env)) + b"".join(programs(words))


def _call(
    trainer: Trainer, own: TrainerWork, held: FileIO | None, progress: Progress, told: Told
) -> None:
    """Run its process to the end; TrainingError, with its last line, where it ends badly."""
    name = f"quorate-{uuid.uuid4().hex[:12]}"
    data, out = str(own.data.absolute()), str(own.out.absolute())
    environment = dict(os.environ)
    runtime = None
    if isinstance(trainer, ContainerTrainer) and trainer.image:
        runtime = runtime_of(trainer)
        data, out = "/quorate/data", "/quorate/out"
        command = contained(
            runtime,
            name,
            trainer,
            env=trainer.env | {"QUORATE_DATA": data, "QUORATE_OUT": out},
            volumes={own.data.absolute(): data, own.out.absolute(): out},
            writable=out,
        )
    else:
        environment |= {"QUORATE_DATA": data, "QUORATE_OUT": out}
        if isinstance(trainer, ContainerTrainer):
            environment |= trainer.env
            command = [*trainer.command, *trainer.args]
        else:
            command = [sys.executable, "-m", "quorate", *OURS]
    command += ["--data", data, "--out", out]
    limit = seconds(trainer.timeout) if trainer.timeout else None
    hint = f"what it printed is in {own.log}"
    try:
        with open(own.log, "ab") as printed:
            process = subprocess.Popen(  # noqa: S603  running it is what the spec asks for
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[held.fileno()] if held else (),
            )
    except OSError as error:
        raise TrainingError(
            f"{trainer.name}: {command[0]} cannot be run ({error.strerror})."
        ) from None
    if held:
        name_owner(held, f"process {process.pid}, a trainer that a killed run has left")
    try:
        status = _followed(process, trainer.name, own, limit, progress, told)
    finally:
        _ended(process)
        if runtime:
            # Where only its client was ended, the container itself would go on.
            quietly(runtime, "rm", "--force", name)
    if status is None:
        raise TrainingError(f"{trainer.name}: it took longer than {trainer.timeout}.", hint=hint)
    if status:
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        raise TrainingError(f"{trainer.name} {how}: {last_line(own.log)}", hint=hint)


def _followed(
    process: subprocess.Popen[bytes],
    name: str,
    own: TrainerWork,
    limit: int | None,
    progress: Progress,
    told: Told,
) -> int | None:
    """Tell of a process' events until it ends; its status, None where it took too long."""
    events, begun = Events(own.out / "progress.jsonl"), time.monotonic()
    events.more()  # of an earlier run
    while True:
        status = process.poll()
        for event in events.more():
            progress(name, event.step, event.steps)
            told(name, event)
        if status is not None:
            return status
        if limit is not None and time.monotonic() - begun > limit:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LOOKS)


def _ended(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it started, in order where it does not take too long.

    What it started and did not end would write on into its folder, or hold the GPU.
    """
    try:
        if process.poll() is None:
            _tell(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
    finally:  # of a second Ctrl-C too
        _tell(process, signal.SIGKILL)
        process.wait()


def _tell(process: subprocess.Popen[bytes], sent: signal.Signals) -> None:
    """Send a signal to a process and all of its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, sent)


def spent_by(own: TrainerWork) -> float:
    """Seconds that it says it has learnt, all its runs together."""
    said = [one.seconds or 0.0 for one in Events(own.out / "progress.jsonl").more()]
    return round(max(filter(math.isfinite, said), default=0.0), 3)
