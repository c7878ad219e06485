"""What a training says and keeps while it learns: progress.jsonl and checkpoint/."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from pathlib import Path

import torch
from data import Given
from pytorch_lightning import Callback, LightningModule, Trainer

EVERY = 2.0
"""Seconds between two lines of progress within an epoch."""
PARTS = {"labels": "train/loss_ce", "boxes": "train/loss_bbox", "giou": "train/loss_giou"}


def note(sentence: str) -> None:
    print(f"note: {sentence}", file=sys.stderr, flush=True)


class Progress(Callback):
    """Checkpoints that are whole or not there, and progress.jsonl."""

    def __init__(self, given: Given, out: Path, every: float) -> None:
        self.given, self.every = given, every
        self.lines, self.file = out / "progress.jsonl", out / "checkpoint" / "state.ckpt"
        self.before, self.began, self.stopped = 0.0, time.monotonic(), False
        self.saved = self.told = self.began
        self.start = (0, 0)
        self.losses, self.pictures, self.rate, self.map = [], 0, 0.0, None

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.began

    def state_dict(self) -> dict:
        return {"seconds": self.seconds, "digest": self.given.digest}

    def load_state_dict(self, state: dict) -> None:
        self.before = state["seconds"]

    def begun(self) -> Path | None:
        """The checkpoint to go on from, where it is of this data and these settings."""
        if self.file.exists():
            held = torch.load(self.file, map_location="cpu", weights_only=True, mmap=True)
            if held["callbacks"][self.state_key]["digest"] == self.given.digest:
                note(f"going on after step {held['global_step']}")
                self._forget(held["global_step"])
                loop = held["loops"]["fit_loop"]
                done = (loop["epoch_progress"], loop["epoch_loop.batch_progress"])
                self.start = tuple(one["current"]["processed"] for one in done)
                return self.file
            note("checkpoint/ is of other data or settings: training begins anew")
        self.lines.write_text("")
        return None

    def _forget(self, step: int) -> None:
        """Drop the lines of steps that are made again."""
        lines = self.lines.read_text().splitlines() if self.lines.exists() else []
        kept = [one for one in lines if one.endswith("}") and json.loads(one)["step"] <= step]
        self.lines.write_text("".join(f"{one}\n" for one in kept))

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        # Only now: Lightning has a handler of its own until here.
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stopped", True))
        self.saved = self.told = time.monotonic()

    def on_train_batch_start(self, trainer, module, batch, batch_idx) -> None:
        torch.manual_seed(self.given.seed + trainer.global_step)
        self.rate = max(one["lr"] for one in trainer.optimizers[0].param_groups)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        loss = float(outputs["loss"])
        if not math.isfinite(loss):
            raise ArithmeticError
        self.losses.append(loss)
        self.pictures += len(batch[1])
        last = batch_idx + 1 == trainer.num_training_batches
        whole = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if not last and whole:  # the end of an epoch is told and kept with its validation
            if time.monotonic() - self.told >= EVERY:
                self._tell(trainer)
            self._keep(trainer, module)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.map = float(trainer.callback_metrics["val/mAP_50_95"])

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        metrics = trainer.callback_metrics
        parts = {name: float(metrics[key]) for name, key in PARTS.items() if key in metrics}
        self._tell(trainer, losses=parts, map=None if self.map is None else max(0.0, self.map))
        self.map = None
        self._keep(trainer, module, now=trainer.current_epoch + 1 == trainer.max_epochs)

    def _tell(self, trainer: Trainer, **more: object) -> None:
        now = time.monotonic()
        event = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "steps": trainer.estimated_stepping_batches,
            "loss": sum(self.losses) / len(self.losses) if self.losses else None,
            "learning_rate": self.rate,
            "images_per_second": round(self.pictures / max(now - self.told, 1e-6), 2),
            "seconds": round(self.seconds, 2),
        } | more
        with open(self.lines, "a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")
        print("  ".join(f"{key} {value}" for key, value in event.items()), flush=True)
        self.told, self.losses, self.pictures = now, [], 0

    def _keep(self, trainer: Trainer, module: LightningModule, *, now: bool = False) -> None:
        if now or self.stopped or time.monotonic() - self.saved >= self.every:
            if not sound(module):
                raise ArithmeticError
            self.file.parent.mkdir(parents=True, exist_ok=True)
            fresh = self.file.with_suffix(".new")
            trainer.save_checkpoint(fresh)
            os.replace(fresh, self.file)
            self.saved = time.monotonic()
        if self.stopped:
            note(f"told to end after step {trainer.global_step}; the same call goes on from there")
            raise SystemExit(143)


def sound(module: torch.nn.Module) -> bool:
    return all(bool(one.isfinite().all()) for one in module.parameters())
