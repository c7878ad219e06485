"""Calibration of an ensemble: the method chosen, held-out figures, and what fusion gains."""

from dataclasses import replace

import numpy as np
import pytest

from quorate.errors import InputError
from quorate.evaluation.coco import evaluate
from quorate.evaluation.reliability import Judged, Reliability
from quorate.fusion import fuse
from quorate.fusion.calibrate import calibrated
from quorate.spec import WeightedBoxesFusion
from quorate.tuning import calibrate, folds
from quorate.tuning.maps import METHODS
from tests.tuning.samples import ensemble, sample


def fold_of(labelled, count=5):
    return folds(labelled.dataset.images, count)


def test_the_sample_is_what_it_claims():
    made = sample(pictures=300)
    judged = Judged.of(made.found.of("d0"), made.dataset)
    assert Reliability.of(judged.score, judged.right).ece < 0.03


def test_what_is_calibrated_is_left_alone():
    made = sample(pictures=200)
    result = calibrate(made, fold_of(made))
    assert [one.method for one in result.detectors] == ["none", "none"]
    assert result.detectors[0].after.ece == result.detectors[0].before.ece
    assert result.held_out == "5 folds of 200 pictures"


def test_a_cubed_score_is_repaired_and_wbf_improves():
    fitted, fresh = (sample(pictures=200, seed=s, power=[3.0, 1.0]) for s in (0, 1))
    result = calibrate(fitted, fold_of(fitted), report=fresh)
    cubed, plain = result.detectors
    assert cubed.method != "none"
    assert plain.method == "none"
    assert cubed.before.ece > 0.15
    assert cubed.after.ece < 0.05
    assert cubed.loss_after < cubed.loss_before
    assert result.held_out == "200 pictures apart"
    how = {cubed.name: cubed.calibration}

    def ap(boxes):
        return evaluate(fuse(boxes, WeightedBoxesFusion()), fresh.dataset).ap

    assert ap(calibrated(fresh.found, how)) > ap(fresh.found) + 0.005


@pytest.mark.parametrize("method", METHODS)
def test_a_detectors_own_ap_does_not_change(method):
    made = sample(pictures=100, power=[3.0, 0.3])
    result = calibrate(made, fold_of(made), methods=[method])
    assert {one.method for one in result.detectors} == {method}
    for one in result.detectors:
        boxes = made.found.of(one.name)
        after = calibrated(boxes, {one.name: one.calibration})
        assert evaluate(after, made.dataset).ap == pytest.approx(
            evaluate(boxes, made.dataset).ap, abs=1e-9
        )


def test_cross_validated_figures_are_near_those_of_fresh_pictures():
    made, fresh = (sample(pictures=200, seed=s, power=[3.0, 3.0]) for s in (2, 3))
    inside = calibrate(made, fold_of(made)).detectors[0]
    outside = calibrate(made, fold_of(made), report=fresh).detectors[0]
    assert inside.calibration == outside.calibration
    assert inside.loss_after == pytest.approx(outside.loss_after, abs=0.03)


def test_a_label_may_have_a_map_of_its_own():
    made = sample(pictures=300, good=1)
    found = made.found
    score = np.where(found.category_id == 2, found.score**4, found.score)  # only nuts are wrong
    made = replace(made, found=replace(found, score=score.astype(np.float32)))
    shared = calibrate(made, fold_of(made)).detectors[0]
    own = calibrate(made, fold_of(made), per_label=True).detectors[0]
    assert "nut" in own.calibration.categories
    assert own.after.ece < shared.after.ece
    assert own.loss_after < shared.loss_after


def test_too_few_boxes_are_left_as_they_are():
    made = sample(pictures=12, boxes=2, power=[3.0, 3.0])
    result = calibrate(made, fold_of(made))
    assert result.detectors[0].calibration is None
    assert "too few" in result.detectors[0].note
    assert result.applied(ensemble("d0", "d1")).detectors[0].calibration is None


def test_a_detector_that_found_nothing():
    made = sample(pictures=60, names=["d0", "d1", "blind"])
    made.voters["blind"] = ("blind",)
    blind = calibrate(made, fold_of(made)).detectors[-1]
    assert blind.before.ece is None
    assert blind.to_dict()["log_loss_before"] is None


def test_an_unknown_method():
    made = sample(pictures=20)
    with pytest.raises(InputError, match="temperature, beta, isotonic"):
        calibrate(made, fold_of(made), methods=["platt"])


def test_figures_are_plain():
    import json

    made = sample(pictures=60, power=[3.0, 1.0])
    text = json.dumps([one.to_dict() for one in calibrate(made, fold_of(made)).detectors])
    assert "reliability_after" in text
    assert np.isfinite(json.loads(text)[0]["ece_after"])
