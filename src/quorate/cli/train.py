"""quorate train: from labelled pictures to detectors that are measured against each other."""

from __future__ import annotations

import argparse
import math
import os
import time
from typing import TYPE_CHECKING, Any

from quorate.cli.arguments import pairs
from quorate.cli.output import note, notes, print_json, print_table, progress_bars, signed, warn

if TYPE_CHECKING:
    from quorate.evaluation.compare import Comparison
    from quorate.spec.training import Training
    from quorate.training.contract import Event
    from quorate.training.whole import Done
    from quorate.training.work import Prepared


EVERY = 5.0
"""Seconds between two lines of a trainer, at least."""
BETWEEN = 60.0
"""Likewise while no validation comes."""


def add_commands(commands: Any) -> None:
    """Add this command."""
    train = commands.add_parser(
        "train",
        description="Train detectors on labelled pictures and say which is better. The same "
        "command again goes on where a killed one stopped, and redoes only what a changed spec "
        "touches.",
    )
    add = train.add_argument
    add("spec", help="spec file of `kind: Training` (YAML)")
    add("data", nargs="?", help="labelled pictures, instead of the spec's own `data`")
    add("-o", "--out", default="out/training", help="folder for all that is written (default: "
        "out/training)")  # fmt: skip
    add("--images", help="where the pictures are, instead of the spec's own `images`")
    add("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help="a setting "
        "of every trainer that knows it, or of one, instead of the spec's: epochs=1, "
        "detr.learning_rate=0.001, checkpoint=FOLDER; may be repeated")  # fmt: skip
    add("--resume", action="store_true", help="go on from the checkpoints of trainers whose "
        "settings have changed since, more epochs for example; else they begin anew")  # fmt: skip
    add("--plan", action="store_true", help="say what would be done, draw the schedules of the "
        "learning rate, and train nothing")  # fmt: skip
    add("--json", action="store_true", help="print JSON instead of tables")
    train.set_defaults(command=_train)


def _train(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from quorate.spec.training import Training
    from quorate.training.work import TrainingWork

    training = Training.from_yaml(Path(arguments.spec).absolute())
    given = {"data": arguments.data, "images": arguments.images}
    training = training.model_copy(update={k: v for k, v in given.items() if v is not None})
    training = _changed(training, pairs("-p", arguments.parameter, "NAME=VALUE"))
    work = TrainingWork(Path(arguments.out))
    if arguments.plan:
        from quorate.training.plan import plan

        planned = plan(training, work)
        values = planned.to_dict()
        if arguments.json:
            print_json(values)
            return
        print_table(values["steps"], title=planned.title)
        notes(planned.notes)
        for file in planned.files:
            note(f"wrote {work.root / file}")
        return
    from quorate.notifications import telling
    from quorate.training.telling import results
    from quorate.training.whole import train

    with telling(
        training.notify,
        ensemble=training.name,
        run=str(work.root.absolute()),
        problem=lambda error: warn(f"warning: {error}"),
    ) as ended:
        with progress_bars() as progress:
            done = train(
                training,
                work,
                resume=arguments.resume,
                progress=progress,
                told=_Epochs(),
                began=_began,
                measured=lambda one: ended(one.to_dict(), trainer=one.name),
            )
        values = results(training, done.judged)
        ended(values)
    for outcome in done.judged.outcomes:
        if outcome.failed is not None:
            hint = f"\n  hint: {outcome.failed.hint}" if outcome.failed.hint else ""
            warn(f"warning: {outcome.failed.reason}{hint}")
    if arguments.json:
        print_json(values)
    else:
        _print(done)
    notes(done.judged.notes)
    note(f"wrote {work.root / done.files[-1]}")
    if done.published:
        note(f"published {done.published}")


def _changed(training: Training, said: dict[str, str]) -> Training:
    """The training with what the command line says; a path is from where the command is called."""
    from quorate.storage import is_s3
    from quorate.training.parameters import changed

    begun = said.pop("checkpoint", "")
    return changed(
        training,
        checkpoint=begun if is_s3(begun) or not begun else os.path.abspath(begun),
        hyperparameters="\n".join(f"{name}={value}" for name, value in said.items()),
    )


def _began(prepared: Prepared) -> None:
    """Say what is learnt from while there is time to stop it."""
    note(prepared.title)
    notes(prepared.notes)


class _Epochs:
    """Says on standard error how an epoch went, with rate and time left, not too often."""

    def __init__(self) -> None:
        self._loss: dict[str, float] = {}
        self._rate: dict[str, float] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._said: dict[str, float] = {}
        self._measured: set[str] = set()

    def __call__(self, name: str, event: Event) -> None:
        if event.note:
            note(f"{name}: {event.note}")
        if event.loss is not None:
            self._loss[name] = event.loss
        if event.images_per_second:
            self._rate[name] = event.images_per_second
        if event.seconds is not None:
            self._began.setdefault(name, (event.seconds, event.step))
        now = time.monotonic()
        self._said.setdefault(name, now if event.map is None else -EVERY)
        waited = now - self._said[name]
        measured = event.map is not None or name not in self._measured or waited >= BETWEEN
        last = event.step >= event.steps and event.map is not None
        if event.map is not None:
            self._measured.add(name)
        if not measured or (waited < EVERY and not last):
            return
        self._said[name] = now
        parts = [f"{name}: epoch {event.epoch}, step {event.step:,} of {event.steps:,}"]
        if name in self._loss:
            parts.append(f"loss {self._loss[name]:.4g}")
        if event.map is not None:
            parts.append(f"AP {event.map:.3f}")
        if name in self._rate:
            parts.append(f"{self._rate[name]:.3g} pictures/s")
        if (left := self._left(name, event)) is not None:
            parts.append(f"{left} left")
        note(", ".join(parts))

    def _left(self, name: str, event: Event) -> str | None:
        """How long the rest takes at the rate since this process began to look."""
        from quorate.report.markup import duration

        seconds, step = self._began.get(name, (0.0, 0))
        if event.seconds is None or event.step <= step or event.step >= event.steps:
            return None
        each = (event.seconds - seconds) / (event.step - step)
        left = each * (event.steps - event.step)
        return duration(left) if math.isfinite(left) else None


def _print(done: Done) -> None:
    judged = done.judged
    pictures = f"{len(judged.dataset.images):,} pictures held out ({judged.part})"
    print_table(_rows(judged.alone), title=f"{pictures}; the best is {judged.best}")
    for number, comparison in enumerate(judged.rounds):
        more = "another" if number else "it"
        title = f"Does adding {more} to the {comparison.baseline} raise the AP?"
        print_table(_rows(comparison), title=title)


def _rows(comparison: Comparison) -> list[dict[str, Any]]:
    return [
        {
            "detector": result.name,
            "AP": result.metrics.ap,
            "AP50": result.metrics.ap50,
            f"AP against {comparison.baseline}": signed(gap := result.ap_difference),
            "certain": "" if gap is None else "yes" if gap.certain else "no",
        }
        for result in comparison.results
    ]
