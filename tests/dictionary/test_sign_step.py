"""Oracles: Monte Carlo over batches, closed forms without noise and in one dimension, Li's published optimum."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thetadot.dictionary.batch_rules import LI, MEAN_FIELD, ROOT
from thetadot.errors import InadmissibleValue
from thetadot.translation import optimal_sign_step


def triple(seed, d=40, *, full=True):
    draw = np.random.default_rng(seed)
    g = draw.standard_normal(d) * np.exp(draw.standard_normal(d))
    a = draw.standard_normal((d, d)) / math.sqrt(d)
    h = a @ a.T + np.diag(np.exp(draw.standard_normal(d)))
    c = draw.standard_normal((d, d)) * np.exp(draw.standard_normal(d))[:, None] * 3.0
    s = c @ c.T / math.sqrt(d) if full else np.exp(2 * draw.standard_normal(d)) * 20.0
    return g, h, s


def simulated(g, h, s, batch, samples=60_000, seed=0):
    draw = np.random.default_rng(seed)
    root = np.linalg.cholesky(s).T if s.ndim == 2 else np.diag(np.sqrt(s))
    u = np.sign(g + draw.standard_normal((samples, len(g))) @ root / math.sqrt(batch))
    return float((u @ g).mean() / np.einsum("bi,ij,bj->b", u, h, u, optimize=True).mean())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("batch", [1, 64, 8192])
def test_the_best_step_is_that_of_a_simulation(seed, full, batch):
    found = optimal_sign_step(*triple(seed, full=full), batch)
    assert found.lr == pytest.approx(simulated(*triple(seed, full=full), batch), rel=0.02)


@pytest.mark.parametrize("rho", [-0.999, -0.6, 0.0, 0.3, 0.9, 1.0])
def test_signs_without_a_mean_agree_by_the_arcsine(rho):
    # E u₁u₂ = 2/π arcsin ρ: all of the bend of H = [[0, 1], [1, 0]]
    found = optimal_sign_step([0.0, 0.0], [[0.0, 1.0], [1.0, 0.0]], [[1.0, rho], [rho, 1.0]], 3)
    assert found.bend == pytest.approx(4 / math.pi * math.asin(rho), abs=1e-12)


@given(st.lists(st.floats(-10, 10).filter(lambda x: abs(x) > 1e-3), min_size=1, max_size=6), st.floats(1, 1e4))
@settings(deadline=None, max_examples=50)
def test_without_noise_it_is_the_sum_of_slopes_over_that_of_curvatures(g, batch):
    d = len(g)
    assert optimal_sign_step(g, [2.0] * d, [0.0] * d, batch).lr == pytest.approx(sum(map(abs, g)) / (2.0 * d))
    wide = optimal_sign_step(g, np.diag([2.0] * d), np.zeros((d, d)), batch)
    assert wide.lr == pytest.approx(sum(map(abs, g)) / (2.0 * d))


def test_of_components_that_are_alike_it_is_the_surge_of_the_literature():
    # β_n² = ΣH_ii/Σ_{i≠j}H_ij = 1/4 and κ² = 10: the peak is at 10π/2·(1/4)/(3/4) = 5.236 by the algebraic erf
    d = 9
    h = np.full((d, d), 0.5) + np.diag([0.5] * d)
    batches = np.geomspace(1, 40, 200)
    curve = [optimal_sign_step(np.ones(d), h, np.full(d, 10.0), b).lr for b in batches]
    assert batches[int(np.argmax(curve))] == pytest.approx(5.236, rel=0.2)  # erf itself, not its algebraic stand-in
    assert curve[-1] < max(curve)


def test_far_beyond_the_noise_scale_the_mean_field_is_the_nearest_of_the_rules_that_know_it_alone():
    worst = dict.fromkeys((LI, MEAN_FIELD, ROOT), 0.0)
    for seed in range(4):
        for full in (True, False):
            g, h, s = triple(seed, full=full)
            noise = float(np.trace(s) if full else s.sum()) / float(g @ g)
            small, large = (optimal_sign_step(g, h, s, batch).lr for batch in (32, 8192))
            for rule in worst:
                off = abs(math.log(rule.lr(small, 32, 8192, noise) / large))
                worst[rule] = max(worst[rule], off)
    assert math.exp(worst[MEAN_FIELD]) < 3.2
    assert 7 < math.exp(worst[LI]) < 13
    assert 10 < math.exp(worst[ROOT]) < 16


def test_tensors_arrays_and_lists_are_the_same():
    g, h, s = triple(1, d=5)
    one = optimal_sign_step(g, h, s, 16)
    assert optimal_sign_step(torch.tensor(g), torch.tensor(h), torch.tensor(s), 16) == pytest.approx(one)
    assert optimal_sign_step(g.tolist(), h.tolist(), s.tolist(), 16) == pytest.approx(one)


def test_where_curvature_along_the_steps_is_not_positive_a_longer_step_is_better():
    assert optimal_sign_step([1.0], [-1.0], [1.0], 4).lr == math.inf
    assert optimal_sign_step([0.0], [1.0], [1.0], 4).lr == 0.0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (([1.0], [1.0], [-1.0], 4), "negative variance"),
        (([1.0], [1.0], [1.0], 0), "batch_size=0"),
        (([1.0], [1.0], [1.0], "a"), "batch_size='a'"),
        (([math.nan], [1.0], [1.0], 4), "gradient=nan is not finite"),
        (([1.0, 2.0], [1.0], [1.0, 1.0], 4), "curvature of shape"),
        (([1.0, 2.0], [1.0, 1.0], [[1.0, 0.0]], 4), "covariance of shape"),
        (("abc", [1.0], [1.0], 4), "gradient='abc'"),
        (([], [], [], 4), "gradient"),
        (([[1.0], [1.0, 2.0]], [1.0], [1.0], 4), "gradient"),
        ((None, [1.0], [1.0], 4), "gradient=None"),
    ],
)
def test_what_is_no_triple_is_refused(given, said):
    with pytest.raises(InadmissibleValue, match=said):
        optimal_sign_step(*given)
