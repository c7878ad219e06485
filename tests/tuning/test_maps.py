"""One map: the fit of each method on samples whose answer is known, and what every map keeps."""

import numpy as np
import pytest

from quorate.evaluation.reliability import Reliability, log_loss
from quorate.fusion.calibrate import probability
from quorate.tuning.maps import METHODS, fit, golden_section, pool_adjacent_violators


def drawn(seed, n=4000, power=1.0):
    """Scores p ** power of boxes that are right with probability p."""
    random = np.random.default_rng(seed)
    p = random.beta(2, 2, n)
    return p**power, random.random(n) < p


def test_golden_section_finds_the_valley():
    assert golden_section(lambda x: (x - 0.3) ** 2, -2, 5) == pytest.approx(0.3, abs=1e-3)


def test_pools_rise_and_keep_the_mean():
    value = np.array([0.1, 0.5, 0.3, 0.3, 0.9, 0.8])
    weight = np.array([1.0, 2.0, 2.0, 1.0, 1.0, 3.0])
    found, pool = pool_adjacent_violators(value, weight)
    assert (np.diff(found) > 0).all()
    assert (found[pool] * weight).sum() == pytest.approx((value * weight).sum())
    assert pool.tolist() == [0, 1, 1, 1, 2, 2]
    assert found[1] == pytest.approx((0.5 * 2 + 0.3 * 2 + 0.3) / 5)


def test_pools_are_the_nearest_rising_values():
    """Against brute force over a grid: no rising sequence is nearer."""
    random = np.random.default_rng(1)
    grid = np.linspace(0, 1, 21)
    for _ in range(20):
        value, weight = random.random(4), random.uniform(0.5, 2, 4)
        found, pool = pool_adjacent_violators(value, weight)
        ours = (weight * (found[pool] - value) ** 2).sum()
        rising = np.stack(np.meshgrid(*[grid] * 4, indexing="ij"), -1).reshape(-1, 4)
        rising = rising[(np.diff(rising, axis=1) >= 0).all(1)]
        assert ours <= (weight * (rising - value) ** 2).sum(1).min() + 1e-12


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_temperature_is_found_again(temperature):
    p, right = drawn(0, 20_000)
    logit = np.log(p / (1 - p)) * temperature
    found = fit("temperature", 1 / (1 + np.exp(-logit)), right)
    assert found.temperature == pytest.approx(temperature, rel=0.05)


def test_beta_is_found_again():
    p, right = drawn(1, 20_000, power=3.0)  # ln s = 3 ln p
    found = fit("beta", p, right)
    assert log_loss(probability(p, found), right).mean() < log_loss(p, right).mean() - 0.2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("power", [1.0, 3.0, 0.4])
def test_every_method_repairs_or_leaves_alone(method, power):
    score, right = drawn(2, power=power)
    fresh, fresh_right = drawn(3, power=power)
    before = Reliability.of(fresh, fresh_right).ece
    after = Reliability.of(probability(fresh, fit(method, score, right)), fresh_right).ece
    if power == 1.0:
        assert after < 0.03
    elif method == "temperature":
        assert after < before
    else:
        assert after < min(before / 2, 0.03)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "case", ["plain", "all right", "all wrong", "one score", "contrary", "apart", "edges"]
)
def test_whatever_the_boxes_the_map_rises_strictly(method, case):
    score, right = drawn(4, 600)
    score, right = {
        "plain": (score, right),
        "all right": (score, np.ones(600, dtype=bool)),
        "all wrong": (score, np.zeros(600, dtype=bool)),
        "one score": (np.full(600, 0.5), right),
        "contrary": (score, ~right),
        "apart": (score, score > 0.5),
        "edges": (np.round(score), right),
    }[case]
    found = probability(np.linspace(0, 1, 501), fit(method, score, right))
    assert found.min() >= 0
    assert found.max() <= 1
    inside = found[(found > 1e-9) & (found < 1 - 1e-9)]
    assert (np.diff(inside) > 0).all()
    assert (np.diff(found) >= -1e-15).all()


def test_isotonic_has_few_knots_and_no_certainty():
    score, right = drawn(5)
    knots = np.array(fit("isotonic", score, right).knots)
    assert len(knots) <= 26
    assert knots[0, 0] == 0
    assert knots[-1, 0] == 1
    assert (knots[1:-1, 1] > 0).all()
    assert (knots[1:-1, 1] < 1).all()
