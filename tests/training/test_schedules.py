"""Schedules: their values are those of the formulas, and one that is too long is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.errors import SpecError
from quorate.spec.schedule import Constant, Cosine, OneCycle, Step
from quorate.spec.torch_trainer import TorchvisionTrainer, TransformersTrainer
from quorate.training.schedules import averaged_from, factors

SSD = "ssdlite320_mobilenet_v3_large"


def trainer(schedule, epochs=10, **settings):
    return TorchvisionTrainer(
        name="a", architecture=SSD, schedule=schedule, epochs=epochs, **settings
    )


def test_a_cosine_rises_falls_and_stays():
    found = factors(Cosine(warmup=2, cooldown=3, floor=0.1), 10, 4)
    assert found.shape == (40,)
    np.testing.assert_allclose(found[:8], (np.arange(8) + 0.5) / 8)
    share = (np.arange(8, 28) + 0.5 - 8) / 20
    np.testing.assert_allclose(found[8:28], 0.1 + 0.9 * (1 + np.cos(math.pi * share)) / 2)
    np.testing.assert_allclose(found[28:], 0.1)


def test_the_weights_of_the_cool_down_are_averaged():
    assert averaged_from(Cosine(cooldown=3), 10, 4) == 28
    assert averaged_from(Cosine(cooldown=0.01), 10, 4) == 39  # one step at least
    assert averaged_from(Cosine(cooldown=3, average=False), 10, 4) is None
    assert averaged_from(Cosine(), 10, 4) is None
    assert averaged_from(Step(at=(5,)), 10, 4) is None


def test_steps_fall_after_their_epochs():
    found = factors(Step(at=(2, 3.5), factor=0.5, warmup=0), 5, 2)
    assert found.tolist() == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_one_cycle_goes_up_and_down_once():
    found = factors(OneCycle(rise=0.25, start=0.1, floor=0.01), 10, 10)
    top = int(found.argmax())
    assert 24 <= top <= 25
    assert (np.diff(found[:25]) > 0).all()
    assert (np.diff(found[25:]) < 0).all()
    assert 0.1 < found[0] < 0.11
    assert 0.01 < found[-1] < 0.011


@given(
    epochs=st.integers(1, 30),
    per_epoch=st.integers(1, 20),
    schedule=st.sampled_from(
        [Cosine(), Cosine(cooldown=0.5), Constant(), OneCycle(), Step(at=(0.5,)), Cosine(floor=0)]
    ),
)
def test_every_step_has_a_share_of_the_rate(epochs, per_epoch, schedule):
    found = factors(schedule, epochs, per_epoch)
    assert found.shape == (epochs * per_epoch,)
    assert (found >= 0).all()
    assert (found <= 1).all()
    assert found.max() > 0


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ({"method": "cosine", "warmup": 4, "cooldown": 7}, "a warm-up of 4 and a cool-down of 7"),
        ({"method": "cosine", "cooldown": 11}, "a cool-down of 11 does not fit into 10 epochs"),
        ({"method": "constant", "warmup": 10}, "a warm-up of 10 does not fit"),
        ({"method": "step", "at": [3, 10]}, "a step after epoch 10 never comes"),
        ({"method": "step", "at": [3, 2]}, "2 stands after 3"),
        ("cosinus", "did you mean 'cosine'?"),
    ],
)
def test_a_schedule_longer_than_the_epochs_is_refused(schedule, said):
    with pytest.raises(SpecError, match=said):
        trainer(schedule)


def test_a_schedule_of_just_the_epochs_is_taken():
    assert trainer({"method": "cosine", "warmup": 3, "cooldown": 7}).schedule.cooldown == 7
    assert trainer("one-cycle").schedule == OneCycle()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"image_size": 300}, "sees every picture at one size"),
        ({"accumulate": 5, "batch_size": 4}, "4 pictures cannot be parted in 5"),
        ({"hyperparameters": {"epochs": 3}}, "write `epochs: …` beside `kind`"),
        ({"learning_rate": 0}, "more than 0"),
        ({"checkpoint_every": "10"}, "a duration"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(SpecError, match=said):
        trainer("cosine", **settings)


def test_an_architecture_or_a_checkpoint_is_asked_for():
    with pytest.raises(SpecError, match="say which `architecture` is to be learnt from scratch"):
        TransformersTrainer(name="a")
    assert TransformersTrainer(name="a", checkpoint="here").architecture is None
