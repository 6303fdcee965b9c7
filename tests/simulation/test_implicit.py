"""The implicit scheme in an ensemble: a path's step solves its own equation, however stiff, as the optimizer's does."""

import pytest
import torch

from thetadot import simulate
from thetadot.analysis import linearize
from thetadot.errors import Diverged, NotConverged
from thetadot.integrators import ImplicitMidpoint
from thetadot.integrators.whole import whole_step
from thetadot.optim import ImplicitHeavyBall
from thetadot.potentials import DoubleWell, Harmonic
from thetadot.systems import DampedNewton, Kramers, Problem
from thetadot.translation import damping

DOUBLE = torch.float64


def moved(loss, start, friction, step, steps, dtype=DOUBLE):
    """Positions and velocities (steps + 1, paths, dim)."""
    run = simulate(
        DampedNewton(friction), ImplicitMidpoint(), torch.tensor(start, dtype=dtype), loss=loss, time=steps * step,
        step=step, save=steps,
    )  # fmt: skip
    return run.states, run.variables["velocity"]


@pytest.mark.parametrize("stiffness", [0.1, 3.9, 4.1, 2e3, 1e7])
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_on_a_parabola_it_is_the_closed_form_at_any_stiffness(stiffness, dtype):
    """At λγ = 2, where β = 0 and α = γ²/2: θ' = θ(1-x/2)/(1+x/2), x = αh, but for the first velocity, η_{-1/2}."""
    step, h = 1.0, stiffness
    x = h / 2
    states, velocities = moved(lambda z: h * z.square().sum(-1) / 2, [[1.5, -0.3]], 2.0, step, 5, dtype)
    share = (1 - x / 2) / (1 + x / 2)
    tolerance = 1e-4 if dtype is torch.float32 else 1e-8
    for before, after, velocity in zip(states, states[1:], velocities[1:], strict=False):
        assert torch.allclose(after, share * before, rtol=0, atol=tolerance)
        assert torch.allclose(after - before, step * velocity, rtol=0, atol=tolerance)


LOSSES = {
    "Rosenbrock": lambda z: (1 - z[:, 0]) ** 2 + 100 * (z[:, 1] - z[:, 0] ** 2) ** 2,
    "double well": lambda z: ((z * z - 1) ** 2).sum(-1) / 4,
    "concave but where it is flat": lambda z: -torch.exp(-((z - 1) ** 2)).sum(-1),
    "a logarithm and a wall": lambda z: torch.log1p((z * z).sum(-1)) + torch.nn.functional.softplus(5 * z).sum(-1),
}
STARTS = [[-1.2, 1.0], [0.1, -2.0], [0.0, 3.0], [3.0, -4.0], [1e-3, 0.5]]


@pytest.mark.parametrize("step", [0.1, 5.0])
@pytest.mark.parametrize("name", LOSSES)
def test_every_path_is_at_the_gradient_of_its_own_midpoint(name, step):
    loss, friction = LOSSES[name], 0.3
    states, velocities = moved(loss, STARTS, friction, step, 3)
    beta = (1 - friction * step / 2) / (1 + friction * step / 2)
    for i in range(3):
        middle = ((states[i] + states[i + 1]) / 2).requires_grad_()
        (force,) = torch.autograd.grad(loss(middle).sum(), middle)
        hessian = torch.autograd.functional.hessian
        bent = torch.stack([hessian(lambda z: loss(z[None])[0], z).norm() for z in middle.detach()]).unsqueeze(1)
        size, kick = 1 + states[i : i + 2].abs().amax(), step * (1 + beta) / 2
        short = (
            torch.clamp(16 * torch.finfo(DOUBLE).eps * kick * step * bent / 2, min=2e-12) * size
        )  # of z, by rounding
        room = 4 * kick * bent * short + 1e-9 * size / step
        wanted = beta * velocities[i] - kick * force
        assert bool(((velocities[i + 1] - wanted).abs() <= room).all())


@pytest.mark.parametrize("name", ["Rosenbrock", "double well"])
def test_a_path_moves_as_it_does_alone(name):
    together, _ = moved(LOSSES[name], STARTS, 0.3, 2.0, 1)
    for i, start in enumerate(STARTS[:2]):
        alone, _ = moved(LOSSES[name], [start], 0.3, 2.0, 1)
        assert torch.allclose(together[:, i], alone[:, 0], rtol=0, atol=1e-7)


def test_an_ensemble_of_one_is_the_optimizer():
    """One step from rest, in the article's convention: lr = α = γ²(1+β)/2."""
    momentum, lr, start = 0.6, 30.0, [0.3, -2.0]
    step = (2 * lr / (1 + momentum)) ** 0.5
    rule = ImplicitMidpoint("displacement")
    system = DampedNewton(float(damping(momentum)) / step)
    p = torch.tensor(start, dtype=DOUBLE, requires_grad=True)
    optimizer = ImplicitHeavyBall([p], lr, momentum)

    def closure():
        optimizer.zero_grad()
        value = ((p * p - 1) ** 2).sum() / 4
        value.backward()
        return value

    optimizer.step(closure)
    scales = rule.prepare(system, step)
    state = {"position": torch.tensor([start], dtype=DOUBLE), "velocity": torch.zeros(1, 2, dtype=DOUBLE)}
    after = whole_step(rule, scales, state, lambda x: x**3 - x, None)
    assert torch.allclose(after["position"][0], p.detach(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("step", [0.5, 5.0])
def test_its_noise_is_drawn_once_a_step_and_has_the_law_of_its_linear_map(step):
    """4,000 paths: the variance of the position within five of its standard errors."""
    paths, temperature, friction = 4000, 0.7, 1.0
    problem = Problem(Kramers(friction, temperature), Harmonic(1.0))
    run = simulate(
        problem, ImplicitMidpoint(), torch.zeros(1), paths=paths, time=40 * step, step=step, save=1, key=3
    )  # fmt: skip
    linear = linearize(Kramers(friction, temperature), ImplicitMidpoint(), step=step, curvature=1.0)
    wanted = float(linear.stationary_covariance()[0, 0])
    found = float(run.final.var())
    assert found == pytest.approx(wanted, abs=5 * wanted * (2 / paths) ** 0.5)


def test_a_potential_without_a_bottom_is_said():
    with pytest.raises((NotConverged, Diverged), match=r"smooth and bounded below.*Pass a smaller step"):
        moved(lambda z: -(z**4).sum(-1), [[1.0]], 0.3, 1.0, 1)


def test_a_well_at_a_stiff_step_in_float32():
    run = simulate(
        Problem(DampedNewton(0.5), DoubleWell()), ImplicitMidpoint(), torch.linspace(-3, 3, 64).unsqueeze(1),
        time=300.0, step=30.0,
    )  # fmt: skip
    assert bool(run.final.isfinite().all())
