"""Linear drift against stationary AR(1), ρ = .95: false alarms and power (T9)."""

import math

import numpy as np
import pytest
from shared.serial import autoregressive

from thetadot.probes import trend


@pytest.mark.parametrize("n", [50, 100, 200, 1000])
def test_on_a_slow_record_false_alarms_are_at_most_one_in_ten_where_least_squares_has_most(n):
    records = autoregressive(n, 0.95, 400, seed=n)
    assert np.mean([trend(x).excludes(0.0) for x in records]) <= 0.10
    t = np.arange(n) - (n - 1) / 2
    slopes = records @ t / (t @ t)
    rest = records - records.mean(1, keepdims=True) - slopes[:, None] * t
    assert np.mean(abs(slopes) > 1.96 * rest.std(1) / math.sqrt(t @ t)) > 0.5


@pytest.mark.parametrize(("n", "power"), [(50, 0.9), (100, 0.85), (200, 0.8), (1000, 0.95)])
def test_a_drift_of_ten_standard_deviations_is_seen(n, power):
    drift = np.linspace(0.0, -10.0, n)
    found = [trend(x + drift) for x in autoregressive(n, 0.95, 100, seed=n)]
    assert np.mean([i.high < 0 for i in found]) >= power
    assert np.mean([i.mean for i in found]) == pytest.approx(-10.0, abs=0.5)


def test_in_white_noise_a_drift_of_one_and_a_half_standard_deviations_is_seen():
    records = np.random.default_rng(0).standard_normal((100, 400))
    assert np.mean([trend(x + np.linspace(0.0, 1.5, 400)).low > 0 for x in records]) > 0.9
    assert np.mean([trend(x).excludes(0.0) for x in records]) <= 0.05


def test_a_straight_line_is_its_own_trend():
    for n in (5, 17, 64, 101):
        found = trend(3.0 + 2.0 * np.arange(n))
        assert found.mean == pytest.approx(2.0 * (n - 1))
        assert found.low == pytest.approx(2.0 * (n - 1))


def test_a_random_walk_has_no_trend():
    walks = np.random.default_rng(0).standard_normal((300, 200)).cumsum(axis=1)
    assert np.mean([trend(x).excludes(0.0) for x in walks]) <= 0.15


def test_a_short_record_or_one_with_gaps_tells_nothing():
    assert math.isinf(trend([1.0, 2.0, 3.0]).high)
    assert trend([1.0, 2.0, 3.0]).mean == 2.0
    assert math.isnan(trend([1.0, math.nan] * 10).mean)
    assert not trend([4.0] * 30).excludes(0.0)
