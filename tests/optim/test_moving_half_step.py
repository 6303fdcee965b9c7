"""Through any schedule of lr and momentum the velocity's half step moves along: second order; without it, first."""

import math
from itertools import pairwise

import pytest
import torch
from scipy.integrate import solve_ivp

from thetadot.analysis import linearize
from thetadot.errors import InadmissibleValue
from thetadot.integrators import CentredLeapfrog, CentredSplitting, Leapfrog, Splitting
from thetadot.optim import HeavyBall, Kramers
from thetadot.simulation import simulate
from thetadot.systems import DampedNewton
from thetadot.systems import Kramers as KramersDynamics
from thetadot.systems.problem import Problem

DOUBLE = torch.float64
TIME, FRICTION, START = 3.0, 0.6, (-1.3, 0.4)
SCHEDULES = {
    "constant": lambda _: 1.0,
    "waves": lambda s: 1.0 + 0.7 * math.sin(9.0 * s),
    "cosine annealing": lambda s: 1.1 + math.cos(math.pi * s),
    "abrupt": lambda s: 1.0 if s < 0.5 else 0.3,
    "warm-up": lambda s: min(1.0, 0.05 + 5.0 * s),
}


def loss(x):
    return (x[..., 0] ** 2 - 1) ** 2 / 4 + 0.3 * x[..., 0] * x[..., 1] + x[..., 1] ** 2


def steps_of(schedule, count):
    """Steps of the schedule's proportions that fill the time."""
    shares = [SCHEDULES[schedule]((i + 0.5) / count) for i in range(count)]
    return [TIME * share / sum(shares) for share in shares]


def force(x):
    position = torch.tensor(x, dtype=DOUBLE, requires_grad=True)
    return torch.autograd.grad(loss(position), position)[0].numpy()


@pytest.fixture(scope="module")
def reference():
    """At rest from the start, by another method."""
    found = solve_ivp(
        lambda _, y: [*y[2:], *(-FRICTION * y[2:] - force(y[:2]))], (0, TIME), [*START, 0.0, 0.0], "DOP853",
        rtol=1e-11, atol=1e-12,
    )  # fmt: skip
    return torch.tensor(found.y[:2, -1])


def end(build, schedule, count):
    """Where an optimizer comes to whose lr and momentum follow the steps at one friction."""
    p = torch.tensor(START, dtype=DOUBLE, requires_grad=True)
    optimizer = build([p])
    rule = optimizer.integrator
    for step in steps_of(schedule, count):
        momentum = rule.momentum(FRICTION * step)
        optimizer.param_groups[0].update(momentum=momentum, lr=rule.gain(momentum) * step * step)
        optimizer.zero_grad()
        loss(p).backward()
        optimizer.step()
    return p.detach()


MOVING = {
    "heavy ball": lambda p: HeavyBall(p, 0.1, move_half_step=True),
    "Kramers": lambda p: Kramers(p, 0.1, temperature=0.0, move_half_step=True),
}
KEPT = {
    "heavy ball": lambda p: HeavyBall(p, 0.1, start="rest"),
    "Kramers": lambda p: Kramers(p, 0.1, temperature=0.0, start="rest"),
}


def orders(build, schedule, reference):
    errors = [float((end(build, schedule, count) - reference).norm()) for count in (60, 120, 240, 480)]
    return [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]


@pytest.mark.slow
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("rule", MOVING)
def test_with_it_the_order_is_two_along_every_schedule(rule, schedule, reference):
    assert orders(MOVING[rule], schedule, reference)[-1] == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("schedule", ["cosine annealing", "abrupt", "warm-up"])
@pytest.mark.parametrize("rule", KEPT)
def test_without_it_the_order_is_one_where_settings_change(rule, schedule, reference):
    assert orders(KEPT[rule], schedule, reference)[-1] == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("rule", MOVING)
def test_at_constant_settings_it_is_the_same_motion_from_rest(rule):
    assert torch.allclose(end(MOVING[rule], "constant", 80), end(KEPT[rule], "constant", 80), rtol=0, atol=1e-12)


@pytest.mark.parametrize("pair", [(CentredLeapfrog(), Leapfrog()), (CentredSplitting(), Splitting("BAOA"))], ids=repr)
def test_its_linear_step_and_its_heat_are_those_of_the_plain_rule(pair):
    moving, plain = (linearize(KramersDynamics(0.7, 0.5), rule, step=0.4, curvature=1.3) for rule in pair)
    assert torch.allclose(moving.matrix, plain.matrix, rtol=0, atol=1e-14)
    assert torch.allclose(moving.stationary_covariance(), plain.stationary_covariance(), rtol=0, atol=1e-12)


def test_a_velocity_begins_at_the_time_of_the_position():
    problem = Problem(DampedNewton(0.0), lambda x: (x * x).sum(-1) / 2)
    start = {"position": torch.ones(1, 1, dtype=DOUBLE), "velocity": torch.full((1, 1), 0.5, dtype=DOUBLE)}
    exact = math.cos(1.0) + 0.5 * math.sin(1.0)
    for rule in (CentredLeapfrog(), CentredSplitting("BA")):
        errors = [
            abs(float(simulate(problem, rule, start, time=1.0, step=1.0 / count).final) - exact) for count in (20, 40)
        ]
        assert math.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.1)


def test_a_run_of_torch_goes_on_with_its_half_step():
    p = torch.tensor([1.0, -2.0], dtype=DOUBLE, requires_grad=True)
    sgd = torch.optim.SGD([p], lr=0.1, momentum=0.8)
    for _ in range(3):
        sgd.zero_grad()
        (p * p).sum().backward()
        sgd.step()
    moving = HeavyBall.from_torch(sgd, move_half_step=True)
    q = p.detach().clone()
    velocity = sgd.state[p]["momentum_buffer"] * -0.1
    for _ in range(4):
        moving.zero_grad()
        (p * p).sum().backward()
        moving.step()
        velocity = 0.8 * velocity - 0.1 * 2 * q
        q = q + velocity
        assert torch.allclose(p.detach(), q, rtol=0, atol=1e-14)


def test_what_keeps_no_physical_velocity_has_no_half_step_to_move():
    with pytest.raises(InadmissibleValue, match="convention='torch' keeps no physical velocity"):
        HeavyBall([torch.ones(1, requires_grad=True)], 0.1, convention="torch", move_half_step=True)
    with pytest.raises(InadmissibleValue, match="move_half_step='yes' is neither"):
        HeavyBall([torch.ones(1, requires_grad=True)], 0.1, move_half_step="yes")
    for word in ("BAOAB", "OBA", "ABA"):
        with pytest.raises(InadmissibleValue, match="does not begin with its only kick"):
            CentredSplitting(word)
