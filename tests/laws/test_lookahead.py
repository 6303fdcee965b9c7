"""Look-ahead adds damping by curvature: it solves the high-resolution equation, not Newton's, to second order."""

import math
from itertools import pairwise

import pytest
import torch
from scipy.integrate import solve_ivp

from thetadot.analysis import trajectory
from thetadot.errors import InadmissibleValue
from thetadot.integrators import Leapfrog, LookAhead
from thetadot.optim import HeavyBall, Nesterov
from thetadot.systems import DampedNewton
from thetadot.translation import to_physical

FRICTION, TIME = 0.5, 2.0
COUNTS = (100, 200, 400, 800)
START = torch.tensor([2.0], dtype=torch.float64)


def double_well(x):
    return x * (x * x - 1)


def solve(*, inertia, friction, curvature_damping):
    """θ(TIME) of inertia·θ̈ + (friction + curvature_damping·∇²L)θ̇ + ∇L = 0 from rest."""

    def motion(_, state):
        x, v = state
        return v, (-(friction + curvature_damping * (3 * x * x - 1)) * v - double_well(x)) / inertia

    return solve_ivp(motion, (0, TIME), (2.0, 0.0), method="DOP853", rtol=1e-12, atol=1e-13).y[0, -1]


def end(lookahead, *, step, friction, steps):
    rule = LookAhead(lookahead=lookahead)
    return float(trajectory(DampedNewton(friction), rule, double_well, START, step=step, steps=steps)[-1])


def orders(errors):
    return [math.log2(abs(coarse / fine)) for coarse, fine in pairwise(errors)]


@pytest.mark.parametrize("lookahead", [0.5, 1.0])
def test_it_solves_newtons_equation_to_first_order_only(lookahead):
    exact = solve(inertia=1.0, friction=FRICTION, curvature_damping=0.0)
    errors = [end(lookahead, step=TIME / n, friction=FRICTION, steps=n) - exact for n in COUNTS]
    assert abs(orders(errors)[-1] - LookAhead(lookahead=lookahead).order) < 0.1


@pytest.mark.parametrize("lookahead", [0.0, 0.5, 1.0])
def test_it_follows_the_high_resolution_equation_to_second_order(lookahead):
    errors = []
    for n in COUNTS:
        step = TIME / n
        exact = solve(inertia=1.0, friction=FRICTION, curvature_damping=lookahead * step)
        errors.append(end(lookahead, step=step, friction=FRICTION, steps=n) - exact)
    assert all(abs(order - 2.0) < 0.1 for order in orders(errors))


@pytest.mark.parametrize("lookahead", [0.0, 0.5, 1.0])
def test_the_articles_map_changes_the_inertia(lookahead):
    """β = 1-λγ, α = γ²: the same equation with 1-λγ/2 in place of 1."""
    errors = []
    for n in COUNTS:
        step = TIME / n
        exact = solve(inertia=1 - FRICTION * step / 2, friction=FRICTION, curvature_damping=lookahead * step)
        own = to_physical(lr=step * step, momentum=1 - FRICTION * step)
        errors.append(end(lookahead, step=own.step, friction=own.friction, steps=n) - exact)
    assert all(abs(order - 2.0) < 0.1 for order in orders(errors))


def test_without_look_ahead_it_is_leapfrog_exactly():
    paths = [
        trajectory(DampedNewton(FRICTION), rule, double_well, START, step=0.1, steps=100)
        for rule in (LookAhead(lookahead=0.0), Leapfrog())
    ]
    assert torch.equal(*paths)


def test_without_look_ahead_nesterov_is_heavy_ball_exactly():
    p, q = (torch.tensor([2.0, -0.3], dtype=torch.float64, requires_grad=True) for _ in range(2))
    nesterov, heavy = Nesterov([p], 0.05, 0.9, lookahead=0.0), HeavyBall([q], 0.05, 0.9)
    for _ in range(50):
        p.grad, q.grad = double_well(p.detach()), double_well(q.detach())
        nesterov.step()
        heavy.step()
    assert torch.equal(p, q)
    assert torch.equal(nesterov.position()[p], p)


@pytest.mark.parametrize("lookahead", [0.5, 1.0])
@pytest.mark.parametrize("convention", ["physical", "displacement"])
def test_theta_is_recovered_while_momentum_and_lr_change(lookahead, convention):
    """The unshifted recursion: θ and its velocity are stepped, the gradient is taken ahead of θ."""
    p = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    optimizer = Nesterov([p], 0.02, 0.9, lookahead=lookahead, convention=convention)
    theta, stored, ahead = 2.0, 0.0, 0.0
    for n in range(60):
        lr, beta = 0.02 * (1 + 0.9 * math.sin(n)), 0.9 - 0.3 * math.cos(0.7 * n) ** 2
        optimizer.param_groups[0].update(lr=lr, momentum=beta)
        p.grad = double_well(p.detach())
        optimizer.step()

        step = math.sqrt(2 * lr / (1 + beta))
        unit = step if convention == "physical" else 1.0  # displacement of a step per stored velocity
        stored_before, stored = stored, beta * stored - lr / unit * double_well(theta + ahead * stored)
        theta, ahead = theta + unit * stored, lookahead * beta * unit
        assert optimizer.position()[p].item() == pytest.approx(theta, abs=1e-12), (n, stored_before)
        assert p.item() == pytest.approx(theta + ahead * stored, abs=1e-12)


def test_a_parameter_without_gradient_keeps_its_older_scalars():
    p = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    optimizer = Nesterov([p], 0.1, 0.9)
    for _ in range(3):
        p.grad = p.detach().clone()
        optimizer.step()
    theta = optimizer.position()[p].clone()
    p.grad = None
    optimizer.param_groups[0].update(lr=0.001, momentum=0.5)
    optimizer.step()
    assert torch.equal(optimizer.position()[p], theta)


@pytest.mark.parametrize("lookahead", [-0.1, 1.5, float("nan")])
def test_a_look_ahead_outside_0_to_1_is_refused(lookahead):
    with pytest.raises(InadmissibleValue, match=r"lookahead=.* is (outside \[0, 1\]. Pass 0|not finite)"):
        Nesterov([torch.ones(1, requires_grad=True)], 0.1, lookahead=lookahead)
