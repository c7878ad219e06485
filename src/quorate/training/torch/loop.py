"""The loop: batches in, weights out; it can be killed at any step and goes on the same.

What is left to chance in a step follows from the seed and the step's number alone, so that a
training that went on from a checkpoint computes the very numbers of one that was never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from quorate.errors import BusyError, DetectorError, MissingExtraError
from quorate.progress import Progress, silent
from quorate.spec.text import seconds
from quorate.training.contract import Event
from quorate.training.schedules import averaged_from, factors
from quorate.training.torch.checkpoints import Checkpoints, Place, Tensors, Window, packed, unpack
from quorate.training.torch.events import Told
from quorate.training.torch.learner import Learner, Loss, State
from quorate.training.torch.samples import Batches, Sample

try:
    import accelerate
    import torch
    from accelerate.utils import broadcast_object_list, send_to_device, set_seed
except ImportError as error:
    raise MissingExtraError("Training", "torch") from error

LINES = 10
"""Lines of progress in an epoch, at most, beside those of validations."""
MOMENTUM = 0.9
PRECISIONS = {"float32": "no", "float16": "fp16", "bfloat16": "bf16"}
LOWER = (
    "a lower `learning_rate` or a longer `warmup`; with float16, `precision: bfloat16` or float32"
)
NO_ROOM = ("can't allocate memory", "not enough memory", "out of memory")


@dataclass
class Run:
    """One training of one model.

    validate   the mAP, 0..1, of weights on the validation pictures
    stopped    asked after every step; True ends the training with a checkpoint
    """

    learner: Learner
    batches: Batches
    checkpoints: Checkpoints
    accelerator: accelerate.Accelerator
    validate: Callable[[State], float]
    stopped: Callable[[], bool] = lambda: False
    progress: Progress = silent
    threads: int = 2
    place: Place = field(init=False)
    _stop: bool = field(init=False, default=False)
    _average: dict[str, torch.Tensor] = field(init=False, default_factory=dict)
    _best: Tensors = field(init=False, default_factory=dict)
    _model: Any = field(init=False)
    _optimiser: Any = field(init=False)

    def learn(self, told: Callable[[int], Told]) -> State:
        """Train to the end, or till `patience` is out; the weights to keep, on the CPU.

        `told` gives what events are told to, from a step on.

        Raises:
            DetectorError: the loss is no number any more, or one picture does not fit the memory.
            BusyError: it was asked to stop, and will go on from its checkpoint.
            StorageError: the disk is full.
            InputError: the checkpoint is damaged, or of other data.
        """
        self._begin()
        trainer, place = self.learner.trainer, self.place
        steps = trainer.epochs * place.per_epoch
        rates = factors(trainer.schedule, trainer.epochs, place.per_epoch)
        averaged = averaged_from(trainer.schedule, trainer.epochs, place.per_epoch)
        tell = told(place.step)
        started, spent = time.monotonic(), place.seconds
        kept = shown = started
        every = max(place.per_epoch // LINES, 1)
        share = (self.accelerator.process_index, self.accelerator.num_processes)
        since = place.step
        try:
            for step, samples in self.batches.read(
                place.step, steps, share=share, threads=self.threads
            ):
                if self._is_over:
                    break
                self._rate(float(rates[step]))
                try:
                    loss = self._step(step, samples, tell)
                except DetectorError as error:
                    raise self._told_where(error) from None
                place.step = step + 1
                place.window.loss += loss["loss"]
                place.window.steps += 1
                for name, value in loss.items():
                    if name != "loss":
                        place.window.losses[name] = place.window.losses.get(name, 0.0) + value
                if averaged is not None and step >= averaged:
                    self._add_to_average()
                now = time.monotonic()
                place.seconds = spent + now - started
                if place.step % every == 0 or place.step % place.per_epoch == 0:
                    pictures = (place.step - since) * trainer.batch_size
                    rate = float(rates[step]) * trainer.learning_rate
                    tell(self._event(steps, rate, pictures / max(now - shown, 1e-9)))
                    place.window, shown, since = Window(), now, place.step
                self.progress("steps", place.step, steps)
                if place.step % place.per_epoch == 0:
                    epoch = place.step // place.per_epoch
                    if epoch % trainer.evaluate_every == 0 or place.step == steps:
                        self._validated(tell, steps)
                        shown = time.monotonic()
                stop = self._stop
                if (
                    stop
                    or place.step == steps
                    or self._is_over
                    or time.monotonic() - kept >= seconds(trainer.checkpoint_every)
                ):
                    self._keep()
                    kept = time.monotonic()
                if stop and place.step < steps:
                    raise BusyError(
                        f"The training was asked to stop after {place.step} of {steps} steps.",
                        hint="the same command goes on from there",
                    )
        finally:
            tell.close()
        return self.weights()

    def weights(self) -> State:
        """The weights to keep, as far as it has come: the best, the average, or the last."""
        if self.learner.trainer.keep == "best" and self._best:
            return self._best
        return self._candidate()

    @property
    def _first(self) -> bool:
        return bool(self.accelerator.is_main_process)

    @property
    def _is_over(self) -> bool:
        """Whether validations have not become better for as long as was asked for."""
        patience = self.learner.trainer.patience
        return patience is not None and self.place.stale >= patience

    def _begin(self) -> None:
        """Make the optimiser, and take the place and the numbers of the checkpoint, if any."""
        learner = self.learner
        groups = learner.groups()
        decay = learner.trainer.weight_decay
        if learner.trainer.optimiser == "sgd":
            made: Any = torch.optim.SGD(groups, momentum=MOMENTUM, weight_decay=decay)
        else:
            made = torch.optim.AdamW(groups, weight_decay=decay)
        for group in made.param_groups:
            group["peak"] = group["lr"]
        with self.accelerator.main_process_first():  # it may fetch what the others read
            there = self.checkpoints.load()
        if there is None:
            self.place = Place(self.batches.per_epoch, learner.trainer.accumulate)
        else:
            self.place = there[0]
            if self.place.per_epoch != self.batches.per_epoch:
                raise DetectorError(
                    f"{self.checkpoints.folder}: the checkpoint is of a training with "
                    f"{self.place.per_epoch} steps an epoch, which now has "
                    f"{self.batches.per_epoch}: other pictures or another `batch_size`.",
                    hint="remove the folder to begin anew",
                )
            self._take(there[1], made)
        self._model, self._optimiser = self.accelerator.prepare(learner.model, made)
        if self.place.scaler and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(dict(self.place.scaler))

    def _take(self, tensors: dict[str, Tensors], optimiser: torch.optim.Optimizer) -> None:
        """The numbers of a checkpoint."""
        try:
            self.learner.model.load_state_dict(dict(tensors["model"]))
            unpack(optimiser, tensors["optimiser"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise DetectorError(
                f"{self.checkpoints.folder}: the checkpoint is of another model "
                f"({str(error).splitlines()[0]}).",
                hint="remove the folder to begin anew",
            ) from None
        device = self.accelerator.device
        self._average = {k: v.to(device) for k, v in tensors.get("average", {}).items()}
        self._best = tensors.get("best", {})

    def _rate(self, factor: float) -> None:
        for group in self._optimiser.param_groups:
            group["lr"] = group["peak"] * factor

    def _step(self, step: int, samples: list[Sample], tell: Told) -> dict[str, float]:
        """One step of the optimiser; in more parts where the memory does not hold it in one."""
        while True:
            try:
                return self._tried(step, samples)
            except RuntimeError as error:  # torch.OutOfMemoryError is one, and a CPU has none
                if not any(words in str(error) for words in NO_ROOM):
                    raise
            self._optimiser.zero_grad(set_to_none=True)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            parts, alone = self.place.parts, self.accelerator.num_processes == 1
            if parts >= len(samples) or not alone:
                raise DetectorError(
                    "The memory does not hold "
                    + ("one picture." if alone else "a step's pictures."),
                    hint="a smaller `image_size`, or `precision: bfloat16`"
                    if alone
                    else f"say `accumulate: {parts * 2}`",
                )
            self.place.parts = min(parts * 2, len(samples))
            each = -(-len(samples) // self.place.parts)
            note = (
                f"Out of memory: a step's {len(samples)} pictures are computed {each} at a time "
                "from now on, and their gradients added up."
            )
            tell(Event(self._epoch(step), step, 0, batch_size=each, note=note))

    def _tried(self, step: int, samples: list[Sample]) -> dict[str, float]:
        self._chance(step)
        parts = [
            one for one in np.array_split(np.arange(len(samples)), self.place.parts) if len(one)
        ]
        sums: dict[str, torch.Tensor] = {}
        for i, rows in enumerate(parts):
            given = self.learner.inputs([samples[row] for row in rows])
            inputs = send_to_device(given, self.accelerator.device, non_blocking=True)
            weight = len(rows) / len(samples)
            more = i < len(parts) - 1
            with self.accelerator.no_sync(self._model) if more else nullcontext():
                loss = self._backward(inputs, weight)
            for name, part in {"loss": loss.total, **loss.parts}.items():
                sums[name] = sums.get(name, 0.0) + part.detach().float() * weight
        names = list(sums)
        # All processes stop after the same step, whichever of them was asked to.
        asked = torch.tensor(float(self.stopped()), device=self.accelerator.device)
        values = torch.stack([*(sums[name].reshape(()) for name in names), asked])
        *means, stop = self.accelerator.reduce(values, "mean").tolist()
        self._stop |= stop > 0
        told = dict(zip(names, means, strict=True))
        if not math.isfinite(told["loss"]):
            bad = next((n for n, v in told.items() if n != "loss" and not math.isfinite(v)), "")
            raise _not_a_number(f"the loss{f' ({bad})' if bad else ''}", told["loss"])
        clip = self.learner.trainer.clip or self.learner.clip
        parameters = [one for one in self._model.parameters() if one.grad is not None]
        norm = self.accelerator.clip_grad_norm_(parameters, clip or math.inf)
        if self.accelerator.scaler is None and norm is not None and not torch.isfinite(norm):
            raise _not_a_number("the gradient", float(norm))
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return told

    def _backward(self, inputs: Any, weight: float) -> Loss:
        self._model.train()
        try:
            with self.accelerator.autocast():
                loss = self.learner.loss(self._model, inputs)
        except ValueError as error:
            if "more than 1 value per channel" in str(error):  # torch's words
                raise DetectorError(
                    "A step, or a part of one, has a single picture, of which a batch norm of this "
                    "architecture sees one value alone.",
                    hint="another `batch_size`, so that no single picture is left at an epoch's "
                    "end; or a smaller `accumulate`",
                ) from None
            # Boxes that are no numbers, in transformers' words.
            raise _not_a_number("the loss", math.nan) from error
        self.accelerator.backward(loss.total * weight)
        return loss

    def _chance(self, step: int) -> None:
        """Seed every generator for a step of this process."""
        entropy = (self.learner.trainer.seed, step, self.accelerator.process_index)
        set_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))

    def _add_to_average(self) -> None:
        """Take the weights as they are into the mean of the cool-down's."""
        state = self._state()
        self.place.averaged += 1
        for key, item in state.items():
            if key in self._average and item.is_floating_point():
                mean = self._average[key]
                mean += (item.detach() - mean) / self.place.averaged
            else:
                self._average[key] = item.detach().clone()

    def _state(self) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = self.accelerator.unwrap_model(self._model).state_dict()
        return found

    def _candidate(self) -> State:
        """The weights to judge: the average of the cool-down once it has begun, else the last."""
        state = self._average or self._state()
        return {key: item.detach().to("cpu", copy=True) for key, item in state.items()}

    def _validated(self, tell: Told, steps: int) -> None:
        """Measure the weights, and keep them where they are the best so far."""
        place = self.place
        judged = [0.0]
        if self._first:
            candidate = self._candidate()
            try:
                judged = [self.validate(candidate)]
            except DetectorError as error:
                lost = "NaN" in error.message
                raise self._told_where(
                    DetectorError(
                        f"Training has failed: in the validation {error.message}",
                        hint=LOWER if lost else error.hint,
                    ),
                    after=True,
                ) from None
        broadcast_object_list(judged)
        place.stale += 1
        if place.best is None or judged[0] > place.best:
            place.best, place.stale = judged[0], 0
            if self._first and self.learner.trainer.keep == "best":
                self._best = candidate
        event = Event(
            self._epoch(place.step - 1), place.step, steps, map=judged[0], seconds=place.seconds
        )
        tell(event)
        if self._is_over and place.step < steps:
            note = f"No better mAP in {place.stale} validations: it stops here."
            tell(msgspec.structs.replace(event, note=note, map=None))

    def _keep(self) -> None:
        """Write a checkpoint, of weights that are numbers."""
        if not self._first:
            return
        state = self._state()
        if not all(torch.isfinite(v).all() for v in state.values() if v.is_floating_point()):
            raise self._told_where(_not_a_number("a weight", math.nan))
        if self.accelerator.scaler is not None:
            known = self.accelerator.scaler.state_dict()
            self.place.scaler = {key: float(value) for key, value in known.items()}
        tensors: dict[str, Tensors] = {"model": state, "optimiser": packed(self._optimiser)}
        if self._average:
            tensors["average"] = self._average
        if self._best:
            tensors["best"] = self._best
        self.checkpoints.save(self.place, tensors)

    def _told_where(self, error: DetectorError, *, after: bool = False) -> DetectorError:
        """The same error, with the step that fails, or `after` that it came, and what is kept."""
        step = self.place.step - after
        kept = self.checkpoints.step
        said = f"the checkpoint of step {kept} is kept" if kept else "no checkpoint was kept yet"
        return DetectorError(
            f"{error.message.rstrip('.')} at step {step + 1}, epoch {self._epoch(step)}; {said}.",
            hint=error.hint,
        )

    def _epoch(self, step: int) -> int:
        return step // self.place.per_epoch + 1

    def _event(self, steps: int, rate: float, speed: float) -> Event:
        place = self.place
        count = max(place.window.steps, 1)
        return Event(
            self._epoch(place.step - 1),
            place.step,
            steps,
            loss=place.window.loss / count,
            losses={name: value / count for name, value in place.window.losses.items()},
            learning_rate=rate,
            images_per_second=round(speed, 3),
            seconds=round(place.seconds, 3),
        )


def _not_a_number(what: str, value: float) -> DetectorError:
    return DetectorError(f"Training has failed: {what} is {value}", hint=LOWER)
