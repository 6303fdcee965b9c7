"""Eq. 19 has a solution wherever the loss is bounded below, at any lr, and is found: a minimum, and to the digit."""

import pytest
import torch

from thetadot.errors import NotConverged
from thetadot.integrators.minimum import minimum
from thetadot.optim import ImplicitHeavyBall

DOUBLE = torch.float64


def rosenbrock(p):
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2


def double_well(p):
    return ((p * p - 1) ** 2 / 4).sum()


def saturating(p):
    return -torch.exp(-((p - 1) ** 2)).sum()


def kinked_far_out(p):
    return torch.log1p((p * p).sum()) + torch.nn.functional.softplus(5 * p).sum()


LOSSES = {
    "Rosenbrock": (rosenbrock, [-1.2, 1.0]),
    "double well": (double_well, [0.1, -2.0, 0.5]),
    "concave but where it is flat": (saturating, [0.0, 3.0]),
    "a logarithm and a wall": (kinked_far_out, [3.0, -4.0]),
}


def steps(p, loss, lr, momentum, count=12):
    """Places before and after each step, and the gradients that it took."""
    optimizer, taken = ImplicitHeavyBall([p], lr, momentum), [0]

    def closure():
        taken[0] += 1
        optimizer.zero_grad()
        value = loss(p)
        value.backward()
        return value

    for _ in range(count):
        before, taken[0] = p.detach().clone(), 0
        optimizer.step(closure)
        yield before, p.detach().clone(), taken[0]


@pytest.mark.slow
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("lr", [0.01, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("name", LOSSES)
def test_every_step_solves_its_own_equation_at_a_minimum(name, lr, momentum):
    loss, start = LOSSES[name]
    p = torch.tensor(start, dtype=DOUBLE, requires_grad=True)
    velocity = torch.zeros_like(p)
    for before, after, taken in steps(p, loss, lr, momentum):
        middle = ((before + after) / 2).requires_grad_()
        (force,) = torch.autograd.grad(loss(middle), middle)
        velocity = momentum * velocity - lr * force
        hessian = torch.autograd.functional.hessian(loss, middle.detach())
        bent = 2 * torch.eye(len(p), dtype=DOUBLE) / lr + hessian  # of L + |m - a|²/α
        size = float(1 + before.abs().max() + after.abs().max())
        assert torch.allclose(after - before, velocity, rtol=0, atol=1e-9 * size * lr * float(bent.norm()))
        assert float(torch.linalg.eigvalsh(bent).min()) > 0
        assert taken <= 150
        velocity = after - before


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_a_net_of_tanh_at_a_large_lr(dtype):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)).to(dtype)
    inputs = torch.randn(64, 4).to(dtype)
    targets = torch.sin(inputs.sum(-1, keepdim=True))
    optimizer = ImplicitHeavyBall(net.parameters(), lr=30.0, momentum=0.0)

    def closure():
        optimizer.zero_grad()
        value = ((net(inputs) - targets) ** 2).mean()
        value.backward()
        return value

    losses = [float(optimizer.step(closure).detach()) for _ in range(8)]
    assert losses[-1] < 0.5 * losses[0]


def test_groups_of_other_rates_are_solved_together():
    """Coupled through x·y, of α = 3, .1 and 0: the last stays, and each group's own equation holds."""
    parts = [torch.tensor([x], dtype=DOUBLE, requires_grad=True) for x in (1.0, -0.5, 0.3)]
    rates = (3.0, 0.1, 0.0)
    optimizer = ImplicitHeavyBall([{"params": [p], "lr": lr} for p, lr in zip(parts, rates, strict=True)], 1.0, 0.0)

    def loss(x, y, z):
        return ((x * y - 1) ** 2 + (x + z) ** 4 + y * y).sum()

    def closure():
        optimizer.zero_grad()
        value = loss(*parts)
        value.backward()
        return value

    before = [p.detach().clone() for p in parts]
    optimizer.step(closure)
    middle = [((p.detach() + b) / 2).requires_grad_() for p, b in zip(parts, before, strict=True)]
    forces = torch.autograd.grad(loss(*middle), middle)
    for p, b, force, lr in zip(parts, before, forces, rates, strict=True):
        assert torch.allclose(p - b, -lr * force, rtol=0, atol=1e-9)


@pytest.mark.parametrize("settings", [{"weight_decay": 0.3}, {"weight_decay": 0.3, "weight_decay_mode": "l2"}, {}])
@pytest.mark.parametrize("maximize", [False, True])
def test_decay_and_climbing_are_part_of_the_equation(settings, maximize):
    """On ±h/2 θ², in closed form."""
    lr, h, sign = 0.5, 2.0, -1.0 if maximize else 1.0
    p = torch.tensor([1.5], dtype=DOUBLE, requires_grad=True)
    optimizer = ImplicitHeavyBall([p], lr, 0.0, maximize=maximize, **settings)

    def closure():
        optimizer.zero_grad()
        value = (sign * h * p * p / 2).sum()
        value.backward()
        return value

    optimizer.step(closure)
    decay = settings.get("weight_decay", 0.0)
    l2 = decay if settings.get("weight_decay_mode") == "l2" else 0.0
    origin = 1.5 if l2 or not decay else 1.5 * (1 - lr * decay)
    x = lr * (h + l2)
    assert p.item() == pytest.approx(origin * (1 - x / 2) / (1 + x / 2), abs=1e-9)


def test_a_loss_without_a_bottom_is_said():
    p = torch.tensor([1.0], dtype=DOUBLE, requires_grad=True)
    with pytest.raises(NotConverged, match="smooth and bounded below"):
        list(steps(p, lambda x: -(x**4).sum(), 1.0, 0.0, 1))
    assert p.item() == 1.0


@pytest.mark.parametrize("most", [1.0, 1e4, 1e8])
def test_a_minimum_is_found_along_any_curvature(most):
    curvature = torch.logspace(0, float(torch.tensor(most).log10()), 12, dtype=DOUBLE)
    start = torch.linspace(-1, 2, 12, dtype=DOUBLE)
    found = minimum(
        lambda x: (None, curvature * (x - 1)),
        start.unsqueeze(0),
        lambda r, known: r.abs().amax(-1, keepdim=True) < (1e-15 * known).clamp(min=1e-9),
    )
    assert not found.met
    assert torch.allclose(found.point, torch.ones(12, dtype=DOUBLE), rtol=0, atol=1e-7)
