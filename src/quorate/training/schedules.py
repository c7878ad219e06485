"""The learning rate of every step, before a step is done: pure functions of the spec."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quorate.spec.schedule import Cosine, OneCycle, Schedule, Step

Floats = NDArray[np.float64]


def factors(schedule: Schedule, epochs: int, steps_per_epoch: int) -> Floats:
    """What the rate of each step is multiplied with, 0..1: float64 (epochs * steps_per_epoch,).

    A step's value is that of its middle: the first of a warm-up is above 0, and no two steps of a
    curve that falls are equal.
    """
    steps = epochs * steps_per_epoch
    place = (np.arange(steps) + 0.5) / steps_per_epoch
    if isinstance(schedule, OneCycle):
        share = place / epochs
        up = schedule.start + (1 - schedule.start) * _half_cosine(share / schedule.rise)
        fall = _half_cosine((share - schedule.rise) / (1 - schedule.rise))
        return np.where(share < schedule.rise, up, 1 - (1 - schedule.floor) * fall)
    cooldown = schedule.cooldown if isinstance(schedule, Cosine) else 0.0
    rise = min(schedule.rise(epochs), epochs - cooldown)
    height = np.ones(steps)
    if isinstance(schedule, Cosine):
        way = max(epochs - cooldown - rise, 1.0 / steps_per_epoch)
        height = 1 - (1 - schedule.floor) * _half_cosine((place - rise) / way)
    elif isinstance(schedule, Step):
        height = schedule.factor ** np.searchsorted(schedule.at, place).astype(np.float64)
    return height * np.minimum(place / rise, 1.0) if rise > 0 else height


def averaged_from(schedule: Schedule, epochs: int, steps_per_epoch: int) -> int | None:
    """The first step of the cool-down, if the weights of its steps are averaged; None if not."""
    if not isinstance(schedule, Cosine) or not schedule.average or schedule.cooldown == 0:
        return None
    return min(round((epochs - schedule.cooldown) * steps_per_epoch), epochs * steps_per_epoch - 1)


def _half_cosine(share: Floats) -> Floats:
    """From 0 to 1 as `share` goes from 0 to 1; flat outside."""
    rising: Floats = (1 - np.cos(np.pi * share.clip(0, 1))) / 2
    return rising
