"""Paired t-intervals against scipy's, their coverage, and the number of seeds against its own promise."""

import math

import numpy as np
import pytest
from scipy import stats

from thetadot.comparing.paired import MOST_SEEDS, POWER, difference, needed
from thetadot.comparing.words import resolution_of

RNG = np.random.default_rng(0)


def test_intervals_are_those_of_scipys_paired_t_test():
    a, b = RNG.lognormal(size=(2, 7))
    found = difference("a", "b", a.tolist(), b.tolist())
    low, high = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))
    low, high = stats.ttest_rel(np.log(a), np.log(b)).confidence_interval(0.95)
    assert (found.ratio_low, found.ratio_high) == pytest.approx((math.exp(low), math.exp(high)))
    assert found.ratio == pytest.approx(stats.gmean(a) / stats.gmean(b))


def test_a_pairs_common_part_is_no_spread():
    """Seeds of 100 times the difference's own spread are resolved, because the difference is."""
    seeds = 100.0 * RNG.normal(size=8)
    found = difference("a", "b", (seeds + 1.0 + 0.1 * RNG.normal(size=8)).tolist(), seeds.tolist())
    assert found.resolved
    assert found.mean == pytest.approx(1.0, abs=0.2)


def test_without_a_difference_one_in_twenty_is_resolved():
    trials = 500
    wrong = sum(
        difference("a", "b", a.tolist(), b.tolist()).resolved
        for a, b in (RNG.normal(size=(2, 5)) for _ in range(trials))
    )
    assert abs(wrong / trials - 0.05) < 4 * math.sqrt(0.05 * 0.95 / trials)


@pytest.mark.parametrize(("mean", "spread"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.4)])
def test_as_many_seeds_resolve_it_in_four_of_five_comparisons(mean, spread):
    n, trials = needed(mean, spread), 400
    pairs = RNG.normal(mean, spread, size=(trials, n))
    found = sum(difference("a", "b", row.tolist(), [0.0] * n).resolved for row in pairs)
    error = math.sqrt(POWER * (1 - POWER) / trials)
    before = stats.nct.sf(stats.t.ppf(0.975, n - 2), n - 2, mean * math.sqrt(n - 1) / spread)
    assert before < POWER  # one fewer would not do
    assert found / trials > POWER - 4 * error


def test_needed_is_monotone_and_bounded():
    counts = [needed(1.0, spread) for spread in (0.1, 0.5, 1.0, 2.0, 10.0)]
    assert counts == sorted(counts)
    assert needed(1.0, 1e4) is None
    assert needed(1.0, 0.0) == 2
    assert needed(1e-300, 1.0) is None
    assert counts[-1] <= MOST_SEEDS


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ([1.0], [2.0], "not known from one seed"),
        ([1.0, 2.0], [1.0, 2.0], "the same on every seed"),
        ([1.0, 2.0], [2.0, 3.0], "resolved: a is lower"),
        ([2.0, 3.0, 4.0], [1.1, 2.0, 3.1], "resolved: b is lower"),
        ([1.0, None], [2.0, 3.0], "diverged: a on 1 of the seeds"),
        ([None, None], [None, 3.0], "diverged: a on 2, b on 1 of the seeds"),
        ([1.0, 2.0, 3.0], [2.0, 1.0, 3.001], "not resolved: more than 10,000 seeds would"),
        ([1.0, 3.0, 2.0], [1.1, 2.8, 2.3], "not resolved: about "),
    ],
)
def test_every_case_has_its_words(a, b, said):
    assert resolution_of(difference("a", "b", a, b)).startswith(said)


def test_losses_that_are_not_positive_have_no_ratio():
    found = difference("a", "b", [-1.0, 2.0], [1.0, 2.0])
    assert found.ratio is found.ratio_low is None
    assert found.mean == -1.0
