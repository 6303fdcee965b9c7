"""Growth at a random rate: its laws by quadrature and by paths, and the price that follows from them."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import lognorm, norm

from thetadot.errors import InadmissibleValue, IncompatiblePair
from thetadot.integrators import Euler, EulerMaruyama, Heun, Milstein
from thetadot.integrators.whole import whole_step
from thetadot.systems import SDE, GeometricBrownian, Multiplicative


def law(system, time):
    mean, variance = system.log_law(time)
    return lognorm(s=math.sqrt(variance), scale=math.exp(mean))


@given(st.floats(-0.5, 0.5), st.floats(0.05, 0.6), st.floats(0.1, 3.0))
def test_moments_are_those_of_the_lognormal_law(growth, volatility, time):
    system = GeometricBrownian(growth, volatility)
    ours = law(system, time)
    assert system.mean(2.0, time) == pytest.approx(2.0 * ours.mean(), rel=1e-9)
    assert system.variance(2.0, time) == pytest.approx(4.0 * ours.var(), rel=1e-9)


def test_the_variance_of_the_logarithm_is_sigma_square_t():
    """σ = 0.4, T = 2: 0.32, by exact paths within four standard errors; not σT = 0.8, as the article prints."""
    system = GeometricBrownian(growth=0.1, volatility=0.4)
    mean, variance = system.log_law(2.0)
    assert (mean, variance) == pytest.approx((0.04, 0.32))
    brownian = math.sqrt(2.0) * torch.randn(100_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    logs = system.solution(torch.ones((), dtype=torch.float64), 2.0, brownian).log()
    assert float(logs.mean()) == pytest.approx(mean, abs=4 * math.sqrt(variance / 1e5))
    assert float(logs.var()) == pytest.approx(variance, abs=4 * variance * math.sqrt(2 / 1e5))


def walk(system, rule, step, increments):
    """Along given increments of W, for rules that draw once a step."""
    scales = rule.prepare(system, step)
    state = {"position": torch.ones_like(increments[0])}
    for increment in increments:
        noise = increment / math.sqrt(step)
        state = whole_step(rule, scales, state, torch.zeros_like, lambda: noise)
    return state["position"]


@pytest.mark.parametrize(
    ("rule", "calculus", "order"),
    [(EulerMaruyama(), "ito", 0.5), (Milstein(), "ito", 1.0), (Heun(), "stratonovich", 1.0)],
)
def test_stepped_paths_follow_the_solution_of_their_own_noise(rule, calculus, order):
    """At the rule's strong order, and the logarithm grows by μ - σ²/2, not by μ."""
    system = GeometricBrownian(growth=0.3, volatility=0.5)
    read = system if calculus == "ito" else system.in_stratonovich()
    generator = torch.Generator().manual_seed(2)
    fine = math.sqrt(1 / 256) * torch.randn(256, 4000, 1, generator=generator, dtype=torch.float64)
    exact = system.solution(torch.ones(4000, 1, dtype=torch.float64), 1.0, fine.sum(0))
    errors = []
    for coarser in (16, 4, 1):
        increments = fine.reshape(-1, coarser, 4000, 1).sum(1)
        errors.append(float((walk(read, rule, coarser / 256, increments) - exact).abs().mean()))
    measured = [math.log(a / b, 4) for a, b in itertools.pairwise(errors)]
    assert measured == pytest.approx([order, order], abs=0.1)
    grown = float(exact.log().mean())
    assert grown == pytest.approx(0.3 - 0.125, abs=4 * 0.5 / math.sqrt(4000))
    assert abs(grown - 0.3) > 0.05


@given(st.floats(-0.5, 0.5), st.floats(0.0, 0.6), st.floats(0.0, 3.0))
def test_both_calculi_have_the_same_laws(growth, volatility, time):
    system = GeometricBrownian(growth, volatility)
    other = system.in_stratonovich()
    assert (other.calculus, other.growth) == ("stratonovich", growth - volatility**2 / 2)
    assert other.log_law(time) == pytest.approx(system.log_law(time), abs=1e-14)
    assert other.variance(1.5, time) == pytest.approx(system.variance(1.5, time), abs=1e-12)
    assert other.call_price(1.0, strike=1.1, time=time) == pytest.approx(
        system.call_price(1.0, strike=1.1, time=time), abs=1e-12
    )
    assert other.in_ito().growth == pytest.approx(growth, abs=1e-15)


def test_it_is_the_sde_of_the_same_words():
    system, same = GeometricBrownian(0.3, 0.5), SDE(lambda x: 0.3 * x, lambda x: 0.5 * x)
    assert isinstance(system, Multiplicative)
    increments = 0.1 * torch.randn(10, 5, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert torch.equal(walk(system, EulerMaruyama(), 0.01, increments), walk(same, EulerMaruyama(), 0.01, increments))


@settings(max_examples=30)
@given(st.floats(0.0, 0.2), st.floats(0.1, 0.6), st.floats(0.1, 2.0), st.floats(0.5, 2.0))
def test_the_black_scholes_price_is_the_discounted_mean_of_the_payoff(growth, volatility, time, strike):
    system = GeometricBrownian(growth, volatility)
    mean, variance = system.log_law(time)
    spread = math.sqrt(variance)
    least = (math.log(strike) - mean) / spread  # where the call begins to pay

    def payoff(z):
        return (math.exp(mean + spread * z) - strike) * norm.pdf(z)

    value = math.exp(-growth * time) * quad(payoff, least, max(least, 0.0) + 12, epsabs=1e-12)[0]
    assert system.call_price(1.0, strike=strike, time=time) == pytest.approx(value, abs=1e-8)


def test_the_textbook_price():
    """S = K = 100, r = 5%, σ = 20%, one year: 10.4506."""
    assert GeometricBrownian(0.05, 0.2).call_price(100.0, strike=100.0, time=1.0) == pytest.approx(10.450584, abs=5e-7)


def test_without_noise_or_time_the_price_is_what_is_certain():
    certain = GeometricBrownian(0.1, 0.0)
    assert certain.call_price(1.0, strike=0.5, time=2.0) == pytest.approx(1 - 0.5 * math.exp(-0.2))
    assert certain.call_price(1.0, strike=5.0, time=2.0) == 0.0
    assert GeometricBrownian(0.1, 0.3).call_price(3.0, strike=2.0, time=0.0) == pytest.approx(1.0)
    assert certain.amplitude("position", 0.1) is None


def test_what_does_not_belong_is_refused():
    with pytest.raises(InadmissibleValue, match=r"volatility=-0\.1 is negative"):
        GeometricBrownian(0.1, -0.1)
    with pytest.raises(InadmissibleValue, match="calculus='mid' is unknown"):
        GeometricBrownian(0.1, 0.1, "mid")
    with pytest.raises(InadmissibleValue, match="growth=nan is not finite"):
        GeometricBrownian(math.nan, 0.1)
    with pytest.raises(InadmissibleValue, match="strike=0 is not positive"):
        GeometricBrownian(0.1, 0.1).call_price(1.0, strike=0.0, time=1.0)
    with pytest.raises(IncompatiblePair, match="Euler draws no noise"):
        Euler().prepare(GeometricBrownian(0.1, 0.1), 0.1)
    assert np.isfinite(GeometricBrownian(0.0, 0.5).variance(1.0, 1.0))
