"""WGAN-div: the best linear critic, and damping that is a power of time."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from shared.motion import end

from thetadot.analysis import describe, field_of
from thetadot.errors import InadmissibleValue
from thetadot.systems import DiracGAN, WGANDiv


def test_the_linear_critic_of_two_settings():
    assert WGANDiv(0.5, 2.0).value(1.0) == pytest.approx(0.5)
    assert WGANDiv(2.0, 6.0).slope(1.0) == pytest.approx(0.6083643, abs=5e-8)
    assert WGANDiv(2.0, 6.0).value(1.0) == pytest.approx(0.5069703, abs=5e-8)


@given(st.floats(0.1, 5.0), st.floats(1.5, 8.0), st.floats(0.1, 3.0), st.floats(0.0, 3.0))
def test_the_slope_is_the_one_that_makes_the_value_largest(weight, power, gap, other):
    game = WGANDiv(weight, power)
    best, slope = game.value(gap), game.slope(gap)
    assert gap * slope - weight * slope**power == pytest.approx(best)
    assert gap * slope * other - weight * (slope * other) ** power <= best * (1 + 1e-12)
    assert gap == pytest.approx(weight * power * slope ** (power - 1))


@pytest.mark.slow
def test_power_6_is_damped_by_a_power_of_time():
    """r² = 8.167e-3 at t = 1000 and 2.582e-3 at 10000: ∝ t^(-1/2), and no linear damping."""
    game = WGANDiv(2.0, 6.0)
    reached = (end(game, (1.0, 1.0), 1000.0, rtol=1e-8) ** 2).sum()
    assert reached == pytest.approx(8.167e-3, abs=5e-7)
    assert game.radius_square(1000.0, 2.0) == pytest.approx(reached, rel=5e-4)
    assert game.radius_square(10000.0, 2.0) == pytest.approx(2.582e-3, abs=5e-7)
    assert describe(game, torch.zeros(2, dtype=torch.float64)).kind == "centre"


@pytest.mark.parametrize("power", [2.0, 3.0, 4.0])
def test_the_averaged_orbit_is_followed_where_damping_is_weak(power):
    game = WGANDiv(0.01, power)
    reached = (end(game, (1.0, 0.0), 40 * math.pi, rtol=1e-9) ** 2).sum()
    assert game.radius_square(40 * math.pi, 1.0) == pytest.approx(reached, rel=5e-3)
    assert reached < 0.97


@pytest.mark.parametrize("power", [1.2, 1.5, 1.9, 2.0, 2.1, 3.0, 6.0])
@pytest.mark.parametrize("weight", [0.01, 0.3, 1.0, 2.0, 30.0])
@pytest.mark.parametrize(("time", "start"), [(1.0, 0.2), (10.0, 1.0), (100.0, 2.0)])
def test_the_radius_is_that_of_the_game_whatever_the_damping(weight, power, time, start):
    """Integrated in θ and φ from θ = φ, by a stiff method; where r² is above what numbers hold of it."""
    game = WGANDiv(weight, power)

    def motion(_, state):
        brake = weight * power * abs(state[1]) ** (power - 1.0)
        return state[1], -state[0] - math.copysign(brake, state[1])

    side = math.sqrt(start / 2)
    found = solve_ivp(motion, (0.0, time), (side, side), method="LSODA", rtol=1e-9, atol=1e-18).y[:, -1]
    reached = (found**2).sum()
    assert game.radius_square(time, start) == pytest.approx(reached, rel=2e-3, abs=1e-20)


def test_values_by_hand():
    assert WGANDiv(1.0, 1.5).radius_square(100.0, 1.0) == pytest.approx(4.76e-4, rel=1e-3)
    assert WGANDiv(2.0, 2.0).radius_square(10.0, 1.0) == pytest.approx(math.exp(-20 * (2 - math.sqrt(3))), rel=1e-9)
    assert WGANDiv(1.0, 2.0).radius_square(3.0, 1.0) == pytest.approx(((1 + 6) ** 2 + (1 - 6) ** 2) / 2 * math.exp(-6))
    slow = WGANDiv(100.0, 1.5)  # θ^(-1) grows like t/(kp)²
    assert slow.radius_square(1e9, 1.0) == pytest.approx((1 + 1e9 / 150.0**2) ** -2, rel=1e-4)
    assert 0 < WGANDiv(2.0, 6.0).radius_square(1e30, 2.0) < 1e-14


@given(st.lists(st.floats(-2, 2), min_size=4, max_size=4), st.floats(0.1, 2.0))
def test_power_2_is_the_zero_centred_penalty(points, weight):
    x = torch.tensor([points], dtype=torch.float64)
    ours = field_of(WGANDiv(weight, 2.0))(x)
    assert torch.allclose(ours, field_of(DiracGAN("linear", penalty="gp", weight=weight))(x), atol=1e-12)


@pytest.mark.parametrize(("weight", "power"), [(2.0, 6.0), (0.5, 2.0), (1.0, 3.0)])
def test_the_penalty_of_a_linear_critic_is_its_slope_to_the_power(weight, power):
    """And its gradient is what brakes the critic in the flow."""
    slope = torch.tensor([0.6, -0.8], dtype=torch.float64) * 1.5
    slope.requires_grad_()
    game = WGANDiv(weight, power)
    value = game.penalty(lambda x: x @ slope, torch.randn(7, 2, dtype=torch.float64))
    assert value.item() == pytest.approx(weight * 1.5**power)
    (brake,) = torch.autograd.grad(value, slope)
    zero = torch.zeros(1, 2, dtype=torch.float64)
    flow = game.drift("critic", {"position": zero, "critic": slope.detach().unsqueeze(0)})
    assert np.allclose(flow[0].numpy(), -brake.numpy())


def test_settings_out_of_range_are_refused():
    with pytest.raises(InadmissibleValue, match="power=1 is not above 1"):
        WGANDiv(power=1.0)
    with pytest.raises(InadmissibleValue, match="weight=-1 is not positive"):
        WGANDiv(weight=-1.0)
    with pytest.raises(InadmissibleValue, match="gap=-1 is negative"):
        WGANDiv().slope(-1.0)
