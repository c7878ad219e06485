"""Scores as probabilities: maps that rise, keep 0..1, and never change a detector's own order."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.detections import Detections
from quorate.errors import InputError, LabelError, SpecError
from quorate.fusion.calibrate import calibrated, probability
from quorate.labels import Labels
from quorate.spec import (
    Beta,
    EnsembleSpec,
    Isotonic,
    IsotonicCalibration,
    Temperature,
    TemperatureCalibration,
)

SCORES = np.linspace(0, 1, 1001)


@st.composite
def maps(draw):
    kind = draw(st.sampled_from(["temperature", "beta", "isotonic"]))
    if kind == "temperature":
        return Temperature(temperature=draw(st.floats(0.01, 100)))
    if kind == "beta":
        a, b = draw(st.floats(0, 20)), draw(st.floats(0.01, 20))
        return Beta(a=a, b=b, c=draw(st.floats(-50, 50)))
    count = draw(st.integers(2, 8))
    shares = st.lists(st.floats(0, 1), min_size=count, max_size=count)
    # As in a spec file: a handful of decimals, so no two closer than scores can be told apart.
    xs = sorted({round(x, 6) for x in draw(shares)} | {0.0, 1.0})
    ys = sorted(draw(st.lists(st.floats(0, 1), min_size=len(xs), max_size=len(xs))))
    return Isotonic(knots=tuple(zip(xs, ys, strict=True)))


@given(maps())
@settings(max_examples=300, deadline=None)
def test_every_map_rises_and_stays_within_0_and_1(how):
    found = probability(SCORES, how)
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1
    assert (np.diff(found.astype(np.float32)) >= 0).all()  # as scores are kept


def test_identity_is_exact():
    assert (probability(SCORES, Temperature(temperature=1)) == SCORES).all()
    assert (probability(SCORES, Beta(a=1, b=1, c=0)) == SCORES).all()
    assert (probability(SCORES, Isotonic(knots=((0, 0), (1, 1)))) == SCORES).all()


@given(st.floats(0.2, 5))
@settings(deadline=None)
def test_temperature_divides_the_logit(temperature):
    s = SCORES[1:-1]
    logit = np.log(s / (1 - s))
    expected = 1 / (1 + np.exp(-logit / temperature))
    found = probability(s, Temperature(temperature=temperature))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert (np.diff(found) > 0).all()
    assert list(probability(np.array([0.0, 1.0]), Temperature(temperature=temperature))) == [0, 1]


def test_beta_is_its_formula():
    s = SCORES[1:-1]
    logit = 0.7 * np.log(s) - 1.3 * np.log(1 - s) - 0.4
    found = probability(s, Beta(a=0.7, b=1.3, c=-0.4))
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logit)), rtol=1e-12)


def test_isotonic_is_exact_at_its_knots_and_flat_outside():
    how = Isotonic(knots=((0.1, 0.2), (0.3, 0.2), (0.8, 0.9)))
    assert list(probability(np.array([0.0, 0.1, 0.3, 0.8, 1.0]), how)) == [0.2, 0.2, 0.2, 0.9, 0.9]
    assert probability(np.array([0.55]), how)[0] == pytest.approx(0.55)


def boxes():
    return Detections.build(
        image_id=[1, 1, 1, 1],
        category_id=[7, 9, 7, 9],
        xyxy=np.tile([0, 0, 9, 9], (4, 1)),
        score=[0.5, 0.5, 0.8, 0.2],
        detector=[0, 0, 1, 1],
        detectors=("a", "b"),
    )


def test_each_detector_has_its_own_map_and_a_label_may_have_one():
    how = IsotonicCalibration(
        knots=((0, 0), (1, 0.5)), categories={"nut": Temperature(temperature=1)}
    )
    labels = Labels(("bolt", "nut"), (7, 9))
    found = calibrated(boxes(), {"a": how, "absent": how}, labels=labels)
    assert found.score.tolist() == pytest.approx([0.25, 0.5, 0.8, 0.2])
    assert found.score.dtype == np.float32
    assert (boxes().score == calibrated(boxes(), {}).score).all()


def test_labels_are_checked():
    how = TemperatureCalibration(temperature=2, categories={"nutt": Temperature(temperature=1)})
    with pytest.raises(InputError, match="no labels are given"):
        calibrated(boxes(), {"a": how})
    with pytest.raises(LabelError, match="nutt"):
        calibrated(boxes(), {"a": how}, labels=Labels(("bolt", "nut"), (7, 9)))


@pytest.mark.parametrize(
    "knots",
    [
        ((0, 0),),
        ((0, 0.5), (1, 0.4)),
        ((0.5, 0.1), (0.5, 0.4)),
        ((0.5, 0.1), (0.5 + 1e-9, 0.4)),
        ((0, 0), (1.1, 1)),
        ((0, 0), (1, float("nan"))),
    ],
)
def test_knots_that_do_not_rise_are_refused(knots):
    with pytest.raises(SpecError):
        Isotonic(knots=knots)


@pytest.mark.parametrize("numbers", [{"a": 0, "b": 0, "c": 1}, {"a": -1, "b": 1, "c": 0}])
def test_beta_must_rise(numbers):
    with pytest.raises(SpecError):
        Beta(**numbers)


def test_the_reference_of_the_spec_is_accepted_as_it_stands(tmp_path):
    """The three examples of docs/reference/spec.md, and a label that is none."""
    page = (Path(__file__).parents[2] / "docs/reference/spec.md").read_text("utf-8")
    shown = page.split("### Calibration")[1].split("| method |")[0]
    lines = [line[4:] for line in shown.splitlines() if line.startswith("    ")]
    starts = [i for i, line in enumerate(lines) if line.startswith("calibration:")]
    assert len(starts) == 3
    for begin, end in zip(starts, [*starts[1:], None], strict=True):
        detector = {"name": "a", "kind": "onnx", "weights": "a.onnx"}
        detector |= yaml.safe_load("\n".join(lines[begin:end]))
        spec = {"name": "x", "labels": ["person"], "detectors": [detector]}
        assert EnsembleSpec.model_validate(spec).calibrations
        if "categories" in detector["calibration"]:
            with pytest.raises(SpecError, match=r"detectors\[0\]\.calibration\.categories"):
                EnsembleSpec.model_validate(spec | {"labels": ["persona"]})
