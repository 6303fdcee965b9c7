"""Intervals on AR(1), whose variance of the mean is known: (1/n)(1+ρ)/(1-ρ) for n ≫ 1/(1-ρ)."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from shared.serial import autoregressive

from thetadot.errors import InadmissibleValue
from thetadot.probes import mean_interval, ratio_interval
from thetadot.probes.averages import fieller

LENGTHS = [50, 100, 200, 1000]


@pytest.mark.parametrize("n", LENGTHS)
def test_on_a_slow_record_false_alarms_are_at_most_one_in_ten_where_the_usual_interval_has_most(n):
    records = autoregressive(n, 0.95, 400, seed=n)
    alarms = [mean_interval(x).excludes(0.0) for x in records]
    assert np.mean(alarms) <= 0.10
    usual = [abs(x.mean()) > 1.96 * x.std(ddof=1) / math.sqrt(n) for x in records]
    assert np.mean(usual) > 0.6


def test_where_the_record_is_too_short_it_is_said():
    assert np.mean([math.isinf(mean_interval(x).high) for x in autoregressive(50, 0.95, 200)]) > 0.5
    assert math.isinf(mean_interval([1.0, 2.0]).high)
    assert mean_interval([1.0]).mean == 1.0


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, 0.95])
def test_a_long_record_has_the_width_of_the_closed_form(rho):
    n = 4000
    found = [mean_interval(x) for x in autoregressive(n, rho, 40)]
    half = np.median([0.5 * (i.high - i.low) for i in found])
    assert 0.9 < half / (1.96 * math.sqrt((1 + rho) / (1 - rho) / n)) < 1.7
    assert np.median([i.effective for i in found]) == pytest.approx(n * (1 - rho) / (1 + rho), rel=0.6)


def test_a_slow_part_under_white_noise_is_seen():
    """Neighbours are nearly independent (ρ = .19); taken for an AR(1) of that ρ the interval would miss in half."""
    n = 1000
    rng = np.random.default_rng(0)
    records = 0.5 * autoregressive(n, 0.95, 300) + rng.standard_normal((300, n))
    assert np.mean([mean_interval(x).excludes(0.0) for x in records]) <= 0.10
    simple = [abs(x.mean()) > 1.96 * x.std() * math.sqrt(1.47 / n) for x in records]
    assert np.mean(simple) > 0.3


def test_independent_readings_have_nearly_the_textbook_interval():
    records = np.random.default_rng(0).standard_normal((300, 200))
    found = [mean_interval(x) for x in records]
    assert 0.005 < np.mean([i.excludes(0.0) for i in found]) <= 0.07
    textbook = stats.t.ppf(0.975, 199) / math.sqrt(200)
    assert 1.0 <= np.median([0.5 * (i.high - i.low) for i in found]) / textbook < 1.5


def test_it_has_the_power_to_exclude_what_is_not_the_mean():
    assert all(mean_interval(x).excludes(1.0) for x in autoregressive(1000, 0.5, 50))


def test_ratio_of_averages_is_right_where_the_average_of_ratios_is_not():
    rng = np.random.default_rng(0)
    x, y = 17.0 + rng.standard_normal(4000), 1.0 + 0.3 * rng.standard_normal(4000)
    found = ratio_interval(x, y)
    assert found.low < 17.0 < found.high
    assert found.value == pytest.approx(17.0, rel=0.02)
    assert np.mean(x / y) > 18.0
    assert not found.low < np.mean(x / y) < found.high


@pytest.mark.parametrize("n", LENGTHS)
def test_a_ratio_of_slow_records_is_covered(n):
    x = autoregressive(n, 0.95, 200, seed=n) + 3.0
    y = autoregressive(n, 0.95, 200, seed=n + 1) + 3.0
    found = [ratio_interval(a, b) for a, b in zip(x, y, strict=True)]
    assert np.mean([not r.low <= 1.0 <= r.high for r in found]) <= 0.10
    if n == 1000:
        assert np.mean([r.resolved and r.high - r.low < 1.0 for r in found]) > 0.8


def test_a_denominator_around_zero_leaves_a_bound_below_the_truth():
    rng = np.random.default_rng(0)
    truth, bounds = 100.0 / 0.05, []
    for _ in range(200):
        found = ratio_interval(100.0 + rng.standard_normal(40), 0.05 + rng.standard_normal(40))
        if not found.resolved and not math.isnan(found.value):
            assert found.low == found.value >= 0
            assert found.high == math.inf
            bounds.append(found.value)
    assert len(bounds) > 150
    assert np.mean(np.array(bounds) <= truth) > 0.95
    assert np.median(bounds) > 50.0  # and says something


@given(
    scale=st.floats(1e-6, 1e6), other=st.floats(1e-6, 1e6), seed=st.integers(0, 1000), shift=st.sampled_from([0.0, 5.0])
)
def test_a_ratio_scales_with_its_units(scale, other, seed, shift):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal(60) + 5.0, rng.standard_normal(60) + shift
    one, two = ratio_interval(x, y), ratio_interval(scale * x, other * y)
    assert one.resolved == two.resolved
    for a, b in ((one.value, two.value), (one.low, two.low), (one.high, two.high)):
        assert b == pytest.approx(a * scale / other, rel=1e-6)


@given(factor=st.floats(0.001, 1000), offset=st.floats(-100, 100), seed=st.integers(0, 100))
def test_a_mean_moves_with_shift_and_scale(factor, offset, seed):
    x = np.random.default_rng(seed).standard_normal(64).cumsum()
    one, two = mean_interval(x), mean_interval(factor * x + offset)
    assert two.low == pytest.approx(factor * one.low + offset, rel=1e-5, abs=1e-5)
    assert two.effective == pytest.approx(one.effective, rel=1e-5)


def test_fieller_is_no_interval_where_the_denominator_may_be_zero():
    assert fieller(1.0, 1.0, np.eye(2), 2.0) is None
    low, high = fieller(1.0, 10.0, np.eye(2), 2.0)
    for end in (low, high):
        assert (1.0 - 10.0 * end) ** 2 == pytest.approx(4.0 * (1.0 + end**2))


def test_constant_records_and_records_with_gaps_give_no_nonsense():
    still = mean_interval([3.0] * 20)
    assert (still.low, still.mean, still.high) == (3.0, 3.0, 3.0)
    assert ratio_interval([3.0] * 20, [2.0] * 20).value == 1.5
    gone = mean_interval([1.0, math.nan] * 20)
    assert math.isnan(gone.mean)
    assert gone.high == math.inf
    assert not ratio_interval([1.0, math.inf] * 20, [1.0] * 40).resolved


def test_what_is_no_record_is_refused():
    with pytest.raises(InadmissibleValue, match=r"a record of shape \(2, 3\) is not a series"):
        mean_interval(np.ones((2, 3)))
    with pytest.raises(InadmissibleValue, match="shape"):
        mean_interval([])
    with pytest.raises(InadmissibleValue, match="level=95"):
        mean_interval([1.0, 2.0], level=95)
    with pytest.raises(InadmissibleValue, match="3 numerators and 2 denominators do not pair"):
        ratio_interval([1.0] * 3, [1.0] * 2)
