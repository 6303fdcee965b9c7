"""The implicit step is really solved, and what it cannot solve it does not take."""

import pytest
import torch

from thetadot.errors import MissingClosure, NotConverged
from thetadot.integrators import Splitting
from thetadot.optim import Flow, ImplicitHeavyBall
from thetadot.systems import DampedNewton


def quadratic(optimizer, p, curvature):
    def closure():
        optimizer.zero_grad()
        loss = (curvature * p * p).sum() / 2
        loss.backward()
        return loss

    return closure


@pytest.mark.parametrize("x", [0.1, 1.0, 100.0, 1000.0])
def test_it_equals_its_linear_recursion_and_is_stable_at_any_curvature(x):
    lr, beta = 0.1, 0.9
    p = torch.tensor([1.0, -0.5], dtype=torch.float64, requires_grad=True)
    optimizer = ImplicitHeavyBall([p], lr, beta)
    closure = quadratic(optimizer, p, x / lr)
    theta, v = p.detach().clone(), torch.zeros(2, dtype=torch.float64)
    for _ in range(100):
        optimizer.step(closure)
        v = (beta * v - x * theta) / (1 + x / 2)  # v' = βv - x(θ + v'/2), solved for v'
        theta = theta + v
        assert torch.allclose(p, theta, rtol=0, atol=1e-8)
    assert p.abs().max() < 1.0


def test_a_step_of_many_curvatures_solves_its_own_equation():
    torch.manual_seed(0)
    factor = torch.randn(8, 8, dtype=torch.float64)
    h, lr, beta = factor @ factor.T + torch.eye(8), 5.0, 0.9
    p = torch.randn(8, dtype=torch.float64, requires_grad=True)
    optimizer = ImplicitHeavyBall([p], lr, beta)

    def loss(x):
        return x @ h @ x / 2 + (x**4).sum() / 4

    def closure():
        optimizer.zero_grad()
        value = loss(p)
        value.backward()
        return value

    v = torch.zeros(8, dtype=torch.float64)
    for _ in range(5):
        before = p.detach().clone()
        optimizer.step(closure)
        middle = ((before + p.detach()) / 2).requires_grad_()
        (force,) = torch.autograd.grad(loss(middle), middle)
        v = beta * v - lr * force
        assert torch.allclose(p - before, v, rtol=0, atol=1e-7)
        v = p.detach() - before


def test_a_force_that_overflows_is_said_and_not_followed():
    p = torch.tensor([1e20], dtype=torch.float64, requires_grad=True)
    optimizer = ImplicitHeavyBall([p], 1e60, 0.0)

    def closure():
        p.grad = (p**3).detach()
        return 0.0

    with pytest.raises(NotConverged):  # said, not stepped to infinity
        optimizer.step(closure)
    assert p.item() == 1e20


def test_the_closures_loss_is_the_one_at_the_start():
    p = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    optimizer = ImplicitHeavyBall([p], 0.1)
    assert optimizer.step(quadratic(optimizer, p, 3.0)).item() == 6.0


def test_every_call_of_the_closure_sees_the_same_dropout_mask():
    p = torch.ones(64, dtype=torch.float64, requires_grad=True)
    optimizer, masks = ImplicitHeavyBall([p], 0.1), []

    def closure():
        optimizer.zero_grad()
        mask = torch.nn.functional.dropout(torch.ones(64, dtype=torch.float64))
        masks.append(mask)
        loss = (mask * p * p).sum()
        loss.backward()
        return loss

    torch.manual_seed(1)
    optimizer.step(closure)
    after = torch.get_rng_state()
    assert len(masks) > 2
    assert all(torch.equal(mask, masks[0]) for mask in masks)
    torch.manual_seed(1)
    torch.nn.functional.dropout(torch.ones(64, dtype=torch.float64))
    assert torch.equal(after, torch.get_rng_state())  # as if called once
    optimizer.step(closure)
    assert not torch.equal(masks[-1], masks[0])


@pytest.mark.parametrize(
    "build",
    [lambda p: ImplicitHeavyBall(p, 0.1), lambda p: Flow(p, DampedNewton(0.5), Splitting("OBABABO"), 0.1)],
)
def test_more_than_one_gradient_needs_a_closure(build):
    p = torch.ones(1, requires_grad=True)
    p.grad = torch.ones(1)
    optimizer = build([p])
    with pytest.raises(MissingClosure, match=r"needs more than one gradient a step.*Pass a closure, or use"):
        optimizer.step()
    assert p.item() == 1.0
    assert not optimizer.state


@pytest.mark.parametrize("primed", [False, True])
@pytest.mark.parametrize("failure", ["jumps", "nan", "raises", "raises inside the solver"])
def test_a_step_that_fails_leaves_parameters_and_state(primed, failure):
    p = torch.tensor([1.0, -0.3], dtype=torch.float64, requires_grad=True)
    optimizer = ImplicitHeavyBall([p], 0.5, 0.9)
    if primed:
        optimizer.step(quadratic(optimizer, p, 1.0))
    parameters, steps = p.detach().clone(), optimizer.steps
    state = {name: value.clone() for name, value in optimizer.state.get(p, {}).items()}
    calls = 0

    def closure():
        nonlocal calls
        calls += 1
        if calls == {"raises": 3, "raises inside the solver": 4}.get(failure):
            raise ValueError("the closure's own")
        # a step that jumps over 1/2 from either side has no middle there
        bad = {"jumps": torch.where(p > 0.5, 3.0, -3.0).double(), "nan": p * float("nan")}
        p.grad = bad.get(failure, p).detach().clone()
        return 0.0

    said = "the closure's own" if failure.startswith("raises") else "Pass a smaller lr, or parameters in float64"
    with pytest.raises(ValueError if failure.startswith("raises") else NotConverged, match=said):
        optimizer.step(closure)
    assert torch.equal(p, parameters)
    assert optimizer.steps == steps
    assert optimizer.state.get(p, {}).keys() == state.keys()
    assert all(torch.equal(optimizer.state[p][name], value) for name, value in state.items())
