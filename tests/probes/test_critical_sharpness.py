"""λ_c on quadratics, where it is gᵀHg/g·g, and where a closed form of the step is known."""

import math

import pytest
import torch
from torch import nn

from thetadot.errors import InadmissibleValue
from thetadot.probes import Objective, critical_sharpness


class Point(nn.Module):
    def __init__(self, x):
        super().__init__()
        self.x = nn.Parameter(torch.as_tensor(x, dtype=torch.float64))


def quadratic(h, x):
    model = Point(x)
    h = torch.as_tensor(h, dtype=torch.float64)
    return Objective(model, lambda: 0.5 * (h * model.x**2).sum() + 7.0), h


@pytest.mark.parametrize("guess", [1e-3, 0.05, 0.4, 30.0])
def test_on_a_quadratic_it_is_the_curvature_along_the_gradient(guess):
    objective, h = quadratic([0.5, 2.0, 9.0], [1.0, -1.0, 0.2])
    g = objective.gradient()
    found = critical_sharpness(objective, -g, guess)
    assert found.resolved
    assert found.value == pytest.approx(float(g @ (h * g) / (g @ g)), rel=1e-6)
    assert found.forwards <= 10
    assert found.low <= found.value * (1 + 1e-9)
    assert found.high >= found.value * (1 - 1e-9)


def test_along_another_direction_it_is_compared_with_that_steps_rate():
    objective, h = quadratic([0.5, 2.0, 9.0], [1.0, -1.0, 0.2])
    g, u = objective.gradient(), torch.tensor([-1.0, 0.5, -1.0], dtype=torch.float64)
    root = -2.0 * float(g @ u) / float(u @ (h * u))
    assert critical_sharpness(objective, u, 0.1).value == pytest.approx(2.0 / root, rel=1e-6)


@pytest.mark.parametrize("guess", [0.01, 1.0, 5.0])
def test_on_a_quartic_it_is_the_step_where_the_loss_is_back(guess):
    """x⁴/4 from 1 along -1: (1-η)⁴ = 1 at η = 2."""
    model = Point([1.0])
    objective = Objective(model, lambda: (model.x**4).sum() / 4)
    found = critical_sharpness(objective, torch.tensor([-1.0], dtype=torch.float64), guess, tolerance=1e-4)
    assert found.value == pytest.approx(1.0, rel=1e-2)
    assert found.low <= 1.0 <= found.high


def test_a_loss_that_overflows_beyond_the_root_is_bracketed_all_the_same():
    """exp(x)+exp(-x) to the fourth power of the exponent, infinite far out; even, so from 2 along -1 it is η = 4."""
    model = Point([2.0])
    objective = Objective(model, lambda: torch.exp(model.x**4).sum())
    found = critical_sharpness(objective, torch.tensor([-1.0], dtype=torch.float64), 50.0, forwards=25)
    assert found.value == pytest.approx(0.5, rel=1e-2)


def test_a_loss_that_only_falls_gives_a_bound_from_above():
    model = Point([0.0])
    objective = Objective(model, lambda: -model.x.sum())
    found = critical_sharpness(objective, torch.tensor([1.0], dtype=torch.float64), 1.0, forwards=5)
    assert not found.resolved
    assert (found.low, found.forwards) == (0.0, 5)
    assert found.value == found.high == pytest.approx(2.0 / 4.0**3)


def test_a_loss_that_only_rises_gives_a_bound_from_below():
    model = Point([0.0])
    objective = Objective(model, model.x.sum)
    found = critical_sharpness(objective, torch.tensor([1.0], dtype=torch.float64), 1.0)
    assert not found.resolved
    assert found.high == math.inf
    assert found.value == found.low > 2.0


def test_no_second_derivative_is_asked_for_and_the_model_is_as_before():
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    x, y = torch.randn(30, 3, generator=torch.Generator().manual_seed(0)), torch.ones(30, 1)

    def loss():
        assert not torch.is_grad_enabled()
        return nn.functional.mse_loss(model(x), y)

    gradient = Objective(model, lambda: nn.functional.mse_loss(model(x), y)).gradient()
    before = [p.detach().clone() for p in model.parameters()]
    found = critical_sharpness(Objective(model, loss), -gradient, 0.1)
    assert found.resolved
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    start = loss_at(model, x, y, before, gradient, 0.0)
    assert loss_at(model, x, y, before, gradient, 1.9 / found.value) < start
    assert loss_at(model, x, y, before, gradient, 2.1 / found.value) > start


def loss_at(model, x, y, start, gradient, step):
    parts = gradient.split([p.numel() for p in start])
    with torch.no_grad():
        for p, s, g in zip(model.parameters(), start, parts, strict=True):
            p.copy_(s - step * g.view_as(s))
        return float(nn.functional.mse_loss(model(x), y))


def test_also_when_the_loss_raises_the_model_is_as_before():
    model, calls = Point([1.0, 2.0]), []

    def failing():
        calls.append(1)
        if len(calls) == 3:
            raise ZeroDivisionError
        return (model.x**2).sum()

    with pytest.raises(ZeroDivisionError):
        critical_sharpness(Objective(model, failing), torch.tensor([-1.0, -2.0], dtype=torch.float64), 0.1)
    assert model.x.tolist() == [1.0, 2.0]


def test_what_does_not_fit_is_refused():
    objective, _ = quadratic([1.0, 2.0], [1.0, 1.0])
    with pytest.raises(InadmissibleValue, match=r"a vector of shape \(3,\) does not fit 2 parameters"):
        critical_sharpness(objective, torch.ones(3), 0.1)
    with pytest.raises(InadmissibleValue, match="do not fit parameters"):
        critical_sharpness(objective, [torch.ones(3)], 0.1)
    with pytest.raises(InadmissibleValue, match="guess=0"):
        critical_sharpness(objective, torch.ones(2), 0.0)
    with pytest.raises(InadmissibleValue, match="forwards=2"):
        critical_sharpness(objective, torch.ones(2), 0.1, forwards=2)
