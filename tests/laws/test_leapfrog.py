"""Heavy-ball momentum is the leapfrog of damped Newton dynamics."""

import math
from itertools import pairwise

import pytest
import torch
from shared.ball import FRICTION, START, double_well, place

from thetadot.analysis import measured_order, trajectory
from thetadot.errors import InadmissibleValue, IncompatiblePair, NotConverged
from thetadot.integrators import Euler, ImplicitMidpoint, Leapfrog, SemiImplicitEuler
from thetadot.systems import DampedNewton, GradientFlow, Kramers
from thetadot.translation import to_lr_momentum

TIME = 2.0
COUNTS = (50, 100, 200, 400, 800)


@pytest.fixture(scope="module")
def reference():
    return place(TIME)


def errors(reference, *, at_rest):
    system = DampedNewton(FRICTION)
    paths = (
        trajectory(system, Leapfrog(), double_well, START, step=TIME / n, steps=n, at_rest=at_rest) for n in COUNTS
    )
    return [float(path[-1] - reference) for path in paths]


@pytest.mark.parametrize("convention", ["physical", "displacement", "torch"])
def test_heavy_ball_is_leapfrog_of_damped_newton(convention):
    step, friction = 0.1, 0.7
    lr, momentum = to_lr_momentum(step, friction)
    path = trajectory(
        DampedNewton(friction), Leapfrog(convention), double_well, START, step=step, steps=200, at_rest=False
    )
    x, v = START, torch.zeros_like(START)
    for theta in path:
        assert torch.allclose(theta, x, rtol=0, atol=1e-12)
        v = momentum * v - lr * double_well(x)
        x = x + v


def test_the_half_kick_makes_it_second_order(reference):
    found = errors(reference, at_rest=True)
    assert [abs(e) for e in found] == pytest.approx([5.815e-4, 1.450e-4, 3.622e-5, 9.055e-6, 2.264e-6], rel=5e-4)
    for coarse, fine in pairwise(found):
        assert abs(math.log2(coarse / fine) - 2.0) < 0.1


def test_from_zero_velocity_it_is_first_order(reference):
    found = errors(reference, at_rest=False)
    assert found[:3] == pytest.approx([-2.09e-2, -9.74e-3, -4.70e-3], rel=5e-3)
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(found)]
    assert all(abs(order - 1.0) < 0.15 for order in orders)
    assert abs(orders[-1] - 1.0) < 0.03


@pytest.mark.slow
@pytest.mark.parametrize("rule", [Leapfrog(), SemiImplicitEuler(), Euler(), ImplicitMidpoint()])
def test_the_declared_order_is_the_measured_one(rule, reference):
    orders = measured_order(
        DampedNewton(FRICTION), rule, double_well, START, time=TIME, steps=(200, 400, 800), reference=reference
    )
    assert abs(orders[-1] - rule.order) < 0.1


def test_the_measured_order_of_gradient_flow_is_eulers():
    one = torch.ones(1, dtype=torch.float64)
    orders = measured_order(
        GradientFlow(), Euler(), lambda x: x, one, time=1.0, steps=(100, 200, 400), reference=one / math.e
    )
    assert abs(orders[-1] - 1.0) < 0.01


def test_the_shift_of_the_usual_start_is_half_a_kick():
    """From zero the velocity is half a step late: exactly a start at rest with γ∇L/2 taken away."""
    rule, step = Leapfrog(), 0.05
    scales = rule.prepare(DampedNewton(FRICTION), step)
    assert torch.equal(rule.at_rest(scales, double_well(START)), step / 2 * double_well(START))


def test_a_temperature_has_no_order_and_no_displacement_convention():
    with pytest.raises(IncompatiblePair, match="temperature"):
        trajectory(Kramers(0.5, 1.0), Leapfrog(), double_well, START, step=0.1, steps=1)
    with pytest.raises(InadmissibleValue, match="convention='displacement' has no thermal law"):
        Leapfrog("displacement").prepare(Kramers(0.5, 1.0), 0.1)
    with pytest.raises(InadmissibleValue, match="convention='keras' is unknown"):
        Leapfrog("keras").prepare(DampedNewton(0.5), 0.1)


def test_kramers_at_temperature_zero_is_damped_newton():
    cold, newton = (
        trajectory(system, Leapfrog(), double_well, START, step=0.1, steps=50)
        for system in (Kramers(FRICTION, 0.0), DampedNewton(FRICTION))
    )
    assert torch.equal(cold, newton)


def test_an_implicit_step_that_does_not_settle_says_so():
    with pytest.raises(NotConverged, match="Pass a smaller step"):
        trajectory(DampedNewton(0.1), ImplicitMidpoint(), lambda x: -4.0 * x**3, START, step=1.0, steps=1)
