"""Over tasks: the geometric mean in closed form, and its interval against the spread that was put in."""

import math

import numpy as np
import pytest

from thetadot.comparing import overall
from thetadot.errors import InadmissibleValue

RNG = np.random.default_rng(3)


def test_it_is_the_geometric_mean_of_ratios_of_means():
    a = {"x": [1.0, 2.0, 3.0], "y": [5.0], "z": [0.1, 0.3]}
    b = {"x": [2.0, 2.0, 4.0], "y": [4.0], "z": [0.4, 0.4]}
    found = overall(a, b)
    assert found.each == pytest.approx({"x": 6 / 8, "y": 5 / 4, "z": 0.2 / 0.4})
    assert found.ratio == pytest.approx((6 / 8 * 5 / 4 * 0.5) ** (1 / 3))
    assert (found.worst, found.within(1.0)) == ("y", 2)
    assert found.low <= found.ratio <= found.high
    turned = overall(b, a)
    assert turned.ratio == pytest.approx(1 / found.ratio)
    assert (turned.low, turned.high) == pytest.approx((1 / found.high, 1 / found.low))


def test_what_a_pair_has_in_common_is_no_spread():
    seeds = RNG.lognormal(0.0, 2.0, size=8)
    found = overall({"x": (0.5 * seeds).tolist()}, {"x": seeds.tolist()})
    assert (found.low, found.ratio, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_a_loss_of_zero_on_a_seed_is_one():
    found = overall({"x": [1.0, 1.0, 1.0], "y": [1.0]}, {"x": [0.0, 0.0, 3.0], "y": [1.0]})
    assert found.ratio == pytest.approx(1.0)
    assert found.low <= 1.0 < found.high < math.inf


def test_the_interval_is_of_the_spread_over_seeds():
    """The logarithm of a mean of n lognormals of small spread s has a standard error of s/√n, a ratio's √2 of it."""
    tasks, n, s = 30, 12, 0.1
    sides = [{f"{k}": RNG.lognormal(0.0, s, size=n).tolist() for k in range(tasks)} for _ in range(2)]
    found = overall(*sides)
    width = math.log(found.high / found.low)
    error = s * math.sqrt(2 / n * (n - 1) / n / tasks)  # a resample scatters by the sample's variance
    assert width == pytest.approx(2 * 1.96 * error, rel=0.2)


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ({}, {}, "no task"),
        ({"x": [1.0]}, {"y": [1.0]}, "differ"),
        ({"x": [1.0]}, {"x": [1.0, 2.0]}, "are no pairs"),
        ({"x": []}, {"x": []}, "are no pairs"),
        ({"x": [0.0]}, {"x": [1.0]}, "or all are 0"),
        ({"x": [2.0, -1.0]}, {"x": [1.0, 1.0]}, "below 0"),
        ({"x": [1.0]}, {"x": [math.inf]}, "is not finite"),
        (3, {"x": [1.0]}, "first=3 is not a mapping"),
    ],
)
def test_what_cannot_be_compared_is_refused(a, b, said):
    with pytest.raises(InadmissibleValue) as told:
        overall(a, b)
    assert said in str(told.value)
