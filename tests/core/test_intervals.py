"""Student's intervals against scipy's, and by how often they hold the mean."""

import math
import random

import numpy as np
import pytest
from scipy import stats

from thetadot.core.intervals import interval, quantile, welch


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("freedom", [1.0, 1.7, 2.0, 9.0, 300.0])
def test_the_quantile_is_students(level, freedom):
    assert quantile(level, freedom) == pytest.approx(stats.t.ppf(0.5 + 0.5 * level, freedom), rel=1e-12)


def test_below_one_degree_of_freedom_the_quantile_is_that_of_one():
    assert quantile(0.95, 0.1) == quantile(0.95, 1.0)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_the_intervals_are_scipys(count):
    x, y = (np.random.default_rng(seed).normal(seed, 1 + seed, count + seed) for seed in (0, 1))
    mean, half = interval(x.tolist())
    low, high = stats.t.interval(0.95, len(x) - 1, x.mean(), stats.sem(x))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    apart = stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    assert 2 * welch(x.tolist(), y.tolist()) == pytest.approx(apart.high - apart.low)


def test_of_one_value_there_is_no_width():
    assert interval([3.0]) == (3.0, None)
    assert welch([3.0], [1.0, 2.0]) is None


def test_the_interval_misses_the_mean_as_often_as_it_says():
    draw, trials, misses = random.Random(0), 1500, 0
    for _ in range(trials):
        mean, half = interval([draw.gauss(2.0, 3.0) for _ in range(4)])
        misses += abs(mean - 2.0) > half
    assert misses / trials == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / trials))
