"""Labelled samples in which the right answer is known: detectors made to be good or bad."""

from __future__ import annotations

import numpy as np

from quorate.annotations import Annotations
from quorate.dataset import Dataset, Image
from quorate.detections import Detections
from quorate.labels import Labels
from quorate.spec import Detector, EnsembleSpec
from quorate.tuning import Labelled

LABELS = Labels.from_names(["bolt", "nut"])


def ensemble(*names, **more):
    """A spec whose detectors are only names: nothing here loads them."""
    detectors = tuple(Detector.model_construct(name=name, kind="made") for name in names)
    return EnsembleSpec.model_construct(name="made", detectors=detectors, **more)


def sample(
    *,
    pictures=60,
    seed=0,
    good=2,
    useless=0,
    power=None,
    jitter=0.05,
    labels=LABELS,
    names=None,
    boxes=8,
):
    """Good detectors see each object with a score that is the probability of its being right.

    Every detector proposes boxes whose true probability p is drawn first, then the score is
    `p ** power[detector]`: 1 is calibrated. A useless detector puts boxes anywhere, with high
    scores.
    """
    random = np.random.default_rng(seed)
    count = good + useless
    power = power or [1.0] * count
    names = names or [f"d{i}" for i in range(count)]
    truth, found = [], []
    for picture in range(1, pictures + 1):
        for place in range(boxes):
            # Places far apart: boxes of different places never overlap.
            corner = np.array([place % 4, place // 4]) * 100 + random.uniform(0, 20, 2)
            box = np.concatenate([corner, corner + random.uniform(30, 60, 2)])
            label = int(random.integers(1, len(labels) + 1))
            there = random.random() < 0.6
            if there:
                truth.append((picture, label, box))
            for detector in range(good):
                # Beta-distributed scores, by Bayes: an object draws from one, none from another,
                # so that P(right | p) = p exactly.
                p = _posterior(random, there)
                width = np.tile(box[2:] - box[:2], 2)
                moved = (
                    box + np.clip(random.normal(0, jitter * (1 + detector), 4), -0.4, 0.4) * width
                )
                found.append((picture, label, moved, p ** power[detector], detector))
        for detector in range(good, count):
            for _ in range(boxes):
                corner = random.uniform(0, 350, 2)
                box = np.concatenate([corner, corner + random.uniform(30, 60, 2)])
                label = int(random.integers(1, len(labels) + 1))
                found.append((picture, label, box, random.uniform(0.6, 1.0), detector))
    dataset = Dataset(
        root="nowhere",
        images=tuple(Image(id=i, file_name=f"{i:05d}.jpg") for i in range(1, pictures + 1)),
        labels=labels,
        annotations=Annotations.build(
            image_id=[t[0] for t in truth],
            category_id=[t[1] for t in truth],
            xyxy=np.array([t[2] for t in truth]).reshape(-1, 4),
        ),
    )
    boxes_found = Detections.build(
        image_id=[f[0] for f in found],
        category_id=[f[1] for f in found],
        xyxy=np.array([f[2] for f in found]).reshape(-1, 4),
        score=[f[3] for f in found],
        detector=[f[4] for f in found],
        detectors=names,
    )
    return Labelled(dataset=dataset, found=boxes_found, voters={name: (name,) for name in names})


def _posterior(random, there):
    """p with P(object | p) = p when 0.6 of the places have one: densities 2p and 2(1 - p) · odds.

    With f(p | object) = c p g(p) and f(p | none) = c' (1 - p) g(p), Bayes gives p when the prior
    is the mean of p under g; g = Beta(3, 2) has the mean 0.6.
    """
    return float(random.beta(4, 2) if there else random.beta(3, 3))
