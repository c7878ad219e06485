"""What every DETR knows of drawn squares after some steps from nothing; docs/concepts/detr.md.

    python -m tests.training.from_scratch            # with the weights that Quorate begins with
    python -m tests.training.from_scratch --library  # with those that transformers begins with

Told is the AP on the very pictures that are learnt from: whether it learns at all.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import torch

from quorate.spec.training import Training
from quorate.training.schedules import factors
from quorate.training.torch import detr as module
from quorate.training.torch.agreement import detections_of, found_by, mean_ap
from quorate.training.torch.samples import Batches, Samples
from quorate.training.truth import labelled
from tests.training.pictures import NAMES, squares
from tests.training.torch_models import CONFIGS, detr

SHOWN = 120


def learn(trainer, samples: Samples) -> None:
    learner = module.DetrLearner(trainer, NAMES, None)
    batches = Batches(samples, trainer.batch_size, trainer.augment, trainer.seed)
    steps = trainer.epochs * batches.per_epoch
    rates = factors(trainer.schedule, trainer.epochs, batches.per_epoch)
    optimiser = torch.optim.AdamW(learner.groups(), weight_decay=trainer.weight_decay)
    peaks = [group["lr"] for group in optimiser.param_groups]
    for step, batch in batches.read(0, steps):
        torch.manual_seed(step)
        for group, peak in zip(optimiser.param_groups, peaks, strict=True):
            group["lr"] = peak * float(rates[step])
        learner.loss(learner.model.train(), learner.inputs(batch)).total.backward()
        torch.nn.utils.clip_grad_norm_(learner.model.parameters(), learner.clip or math.inf)
        optimiser.step()
        optimiser.zero_grad()
        if (step + 1) % SHOWN == 0:
            finished = learner.finished(learner.model.state_dict())
            found = found_by(learner.predictor(finished, device="cpu"), samples)
            ap = mean_ap(detections_of(found, samples.dataset, name="x"), samples.dataset)
            print(f"{trainer.architecture}  step {step + 1}  AP {ap:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast every DETR learns from nothing.")
    parser.add_argument("--library", action="store_true", help="begin as transformers does")
    arguments = parser.parse_args()
    if arguments.library:
        module.begin = lambda *_: None
    torch.set_num_threads(1)
    for architecture in CONFIGS:
        trainer = detr(architecture=architecture, epochs=60, batch_size=8, augment=("hflip",))
        with tempfile.TemporaryDirectory() as folder:
            data = squares(Path(folder) / "in", 48)
            dataset = labelled(Training(name="toys", data=str(data), trainers=(trainer,)))
            learn(trainer, Samples.of(dataset))


if __name__ == "__main__":
    main()
