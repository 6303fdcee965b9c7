"""Descent by metric, proximal and transport steps: closed forms, orders, and what never rises."""

import itertools
import math

import pytest
import torch

from thetadot.density import (
    FokkerPlanck,
    Gibbs,
    Grid,
    ParticleFlow,
    gaussian_divergence,
    jko_gaussian,
    natural_gradient,
    proximal_step,
    steepest_direction,
)
from thetadot.errors import InadmissibleValue
from thetadot.integrators import Euler
from thetadot.potentials import DoubleWell, Harmonic
from thetadot.systems import Langevin, Problem

VECTOR = torch.tensor([[0.3, -1.2], [0.0, 2.0]], dtype=torch.float64)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, 40.0, math.inf])
def test_the_steepest_direction_has_unit_length_and_attains_the_dual_norm(p):
    direction = steepest_direction(VECTOR, p).flatten()
    dual = math.inf if p == 1 else 1.0 if math.isinf(p) else p / (p - 1)
    assert float(torch.linalg.vector_norm(direction, p)) == pytest.approx(1, rel=1e-12)
    assert float(direction @ VECTOR.flatten()) == pytest.approx(
        -float(torch.linalg.vector_norm(VECTOR, dual)), rel=1e-12
    )


@pytest.mark.parametrize("p", [1.5, 3.0])
def test_no_direction_of_unit_length_is_steeper(p):
    others = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    others /= torch.linalg.vector_norm(others, p, dim=1, keepdim=True)
    best = float(steepest_direction(VECTOR, p).flatten() @ VECTOR.flatten())
    assert float((others @ VECTOR.flatten()).min()) > best


def test_directions_of_nothing_and_of_huge_gradients():
    assert not steepest_direction(torch.zeros(3)).any()
    huge = steepest_direction(torch.tensor([3e38, -3e38]), 2.0)
    assert huge.tolist() == pytest.approx([-math.sqrt(0.5), math.sqrt(0.5)])


def test_the_natural_gradient_does_not_depend_on_the_parameters():
    """y = A x: the step taken in y is A times the step taken in x; the plain gradient's is not."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    root = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    fisher, g = root @ root.T, torch.randn(3, generator=generator, dtype=torch.float64)
    inverse = torch.linalg.inv(a)
    there = natural_gradient(inverse.T @ g, inverse.T @ fisher @ inverse)
    assert there.tolist() == pytest.approx((a @ natural_gradient(g, fisher)).tolist(), rel=1e-8)


@pytest.mark.parametrize("step", [0.1, 3.0])
def test_a_proximal_step_is_implicit_euler(step):
    curvature = torch.tensor([1.0, 4.0], dtype=torch.float64)
    x = torch.tensor([2.0, -1.0], dtype=torch.float64)
    found = proximal_step(lambda y: (curvature * y * y).sum() / 2, x, step)
    assert found.tolist() == pytest.approx((x / (1 + step * curvature)).tolist(), abs=1e-7)


def test_proximal_steps_never_raise_the_loss():
    x = torch.tensor([0.1, 2.5], dtype=torch.float64)
    losses = [float(DoubleWell()(x))]
    for step in (0.1, 1.0, 10.0, 100.0):
        x = proximal_step(DoubleWell(), x, step)
        losses.append(float(DoubleWell()(x)))
    assert all(after <= before for before, after in itertools.pairwise(losses))
    assert losses[-1] < 1e-6


def test_a_proximal_step_in_kl_is_the_natural_gradient_at_first_order():
    """Gaussians N(m, s²) in (m, log s): the Fisher matrix is diag(1/s², 2)."""
    target = torch.tensor([0.0, 0.0], dtype=torch.float64)

    def kl(y, x):
        return (torch.exp(2 * (y[1] - x[1])) + ((y[0] - x[0]) / x[1].exp()) ** 2 - 1) / 2 - (y[1] - x[1])

    x = torch.tensor([0.7, 0.4], dtype=torch.float64)
    point = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(kl(point, target), point)
    natural = natural_gradient(gradient, torch.diag(torch.stack((torch.exp(-2 * x[1]), torch.tensor(2.0).double()))))
    errors = []
    for step in (0.02, 0.01):
        moved = (proximal_step(lambda y: kl(y, target), x, step, kl) - x) / step
        errors.append(float((moved + natural).norm()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.1)


def test_jko_on_gaussians_is_of_first_order():
    found = []
    for step in (0.1, 0.05, 0.025):
        mean, deviation = 2.0, 3.0
        for _ in range(round(1 / step)):
            mean, deviation = jko_gaussian(mean, deviation, step)
        found.append((mean, deviation**2))
    assert found[0] == pytest.approx((0.7710866, 2.2163894), abs=5e-8)
    assert found[1] == pytest.approx((0.7537790, 2.1504221), abs=5e-8)
    exact = 2 / math.e, 1 + 8 * math.exp(-2)
    assert exact == pytest.approx((0.7357589, 2.0826823), abs=5e-8)
    for part in (0, 1):
        errors = [value[part] - exact[part] for value in found]
        assert math.log2(errors[1] / errors[2]) == pytest.approx(1, abs=0.06)


def test_a_jko_step_is_the_minimum_that_defines_it():
    """KL + W₂²/2α, W₂² = (m' - m)² + (s' - s)² between Gaussians: stationary, and above it all around."""
    mean, deviation = jko_gaussian(2.0, 3.0, 0.4)

    def value(m, s):
        return gaussian_divergence(m, s) + ((m - 2) ** 2 + (s - 3) ** 2) / 0.8

    least = value(mean, deviation)
    for dm, ds in ((1e-3, 0), (-1e-3, 0), (0, 1e-3), (0, -1e-3), (1e-3, -1e-3)):
        assert 0 < value(mean + dm, deviation + ds) - least < 1e-5


@pytest.mark.parametrize("step", [0.01, 1.0, 50.0])
def test_kl_falls_at_every_jko_step(step):
    mean, deviation = 2.0, 0.1
    before = gaussian_divergence(mean, deviation)
    for _ in range(5):
        mean, deviation = jko_gaussian(mean, deviation, step)
        after = gaussian_divergence(mean, deviation)
        assert after < before
        before = after


def test_particles_follow_the_gaussian_flow_and_kl_falls():
    x = torch.randn(500, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = 2 + 3 * (x - x.mean()) / x.std(correction=0)
    flow, errors = ParticleFlow(Harmonic()), []
    exact = 2 / math.e, math.sqrt(1 + 8 * math.exp(-2))
    for step in (0.1, 0.05):
        end = flow.run(x, time=1.0, step=step)
        errors.append((float(end.mean()) - exact[0], float(end.std(correction=0)) - exact[1]))
    assert [math.log2(a / b) for a, b in zip(*errors, strict=True)] == pytest.approx([1, 1], abs=0.15)
    divergences = []
    for _ in range(20):
        divergences.append(gaussian_divergence(float(x.mean()), float(x.std(correction=0))))
        x = flow.run(x, time=0.1, step=0.05)
    assert all(after < before for before, after in itertools.pairwise(divergences))


def test_particles_with_kernels_follow_the_fokker_planck_equation():
    """A double well, in which no Gaussian would do; the moments are those of the density, within the bandwidth."""
    grid = Grid((-3.0, 3.0), 400)
    p = FokkerPlanck(DoubleWell(), 0.3, grid).propagate(grid.normal(0.3, 0.4), 1.0)
    share = torch.special.ndtri((torch.arange(400, dtype=torch.float64) + 0.5) / 400)
    start = (0.3 + 0.4 * share)[:, None]
    end = ParticleFlow(DoubleWell(), 0.3, estimate=0.12).run(start, time=1.0, step=0.01)
    for power in (1, 2, 4):
        exact = float(grid.integrate(p * grid.axes[0] ** power))
        assert float((end**power).mean()) == pytest.approx(exact, rel=0.08)
    assert float((start**4).mean()) < 0.5 * float((end**4).mean())


def test_a_particle_flow_is_a_system_that_integrators_step():
    x = torch.tensor([[-1.0], [0.0], [2.0]], dtype=torch.float64)
    flow = ParticleFlow(Harmonic(), 0.5)
    scales = Euler().prepare(flow, 0.1)
    after = Euler().advance(scales, {"position": x}, torch.zeros_like(x), lambda: x)["position"]
    excess = x - x.mean()
    exact = x + 0.1 * (-x + 0.5 * excess / excess.square().mean())
    assert after.flatten().tolist() == pytest.approx(exact.flatten().tolist(), rel=1e-12)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: steepest_direction(VECTOR, 0.5), "p=0.5 is below 1"),
        (lambda: natural_gradient(torch.ones(2), -torch.eye(2)), "not symmetric and positive"),
        (lambda: natural_gradient(torch.ones(2), torch.tensor([[1.0, 0.9], [0.0, 1.0]])), "not symmetric"),
        (lambda: natural_gradient(torch.ones(2), torch.eye(3)), r"\(d,\) and \(d, d\)"),
        (lambda: proximal_step(DoubleWell(), torch.ones(1), 0.0), "step=0 is not positive"),
        (lambda: jko_gaussian(0.0, -1.0, 1.0), "deviation=-1"),
        (lambda: jko_gaussian(0.0, 1.0, 0.0), "step=0"),
        (lambda: gaussian_divergence(0.0, 0.0), "deviation=0"),
        (lambda: ParticleFlow(Harmonic(), 0.0), "temperature=0"),
        (lambda: ParticleFlow(Harmonic(), 1.0, -0.1), "no bandwidth"),
        (lambda: ParticleFlow(Harmonic(), 1.0, "kernel"), "'gaussian' or a bandwidth"),
        (lambda: ParticleFlow(Harmonic()).run(torch.ones(3, 1), time=1.0, step=2.0), "out of order"),
    ],
)
def test_what_is_no_flow_is_refused_in_one_sentence(make, said):
    with pytest.raises(InadmissibleValue, match=said):
        make()


def test_in_a_double_well_a_gaussian_estimate_settles_wide_and_narrow_kernels_right():
    """Gibbs' variance by the grid; what is stated of both estimates."""
    problem = Problem(Langevin(0.3), DoubleWell())
    exact = float(Gibbs.of(problem, Grid((-2.5, 2.5), 400)).mean(lambda x: x[..., 0] ** 2))
    begun = torch.linspace(-1.2, 1.0, 200, dtype=torch.float64)[:, None]
    gaussian, kernels = (
        float(ParticleFlow(DoubleWell(), 0.3, estimate).run(begun, time=20.0, step=0.02).var())
        for estimate in ("gaussian", 0.1)
    )
    assert kernels == pytest.approx(exact, rel=0.03)
    assert gaussian == pytest.approx(1.24, rel=0.02)
