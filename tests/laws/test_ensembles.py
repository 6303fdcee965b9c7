"""Ensembles against the laws that they sample: densities, rates, free energy, moments, temperatures.

Monte Carlo with fixed keys: every bound is so many standard errors, which are computed beside it.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from thetadot.density import FokkerPlanck, Grid, Kinetic, Saddle, count_escapes
from thetadot.fusion.compiler import compiler
from thetadot.integrators import SRA1, EulerMaruyama, Heun, Milstein, Splitting
from thetadot.potentials import DoubleWell, Harmonic
from thetadot.simulation import Save, simulate
from thetadot.systems import SDE, GeometricBrownian, Kramers, Langevin, Problem

WELL = DoubleWell()  # minima ±1, saddle 0, ΔU = 1/4
SURE = 4.5  # standard errors
LOOKS = [0.0, *(0.4 * n for n in range(1, 20)), 60.0]
COMPILE = [False, pytest.param(True, marks=pytest.mark.skipif(compiler() is None, reason="no C++ compiler"))]


def gaussian_divergence(samples, mean, covariance):
    """KL of the Gaussian of the samples' moments from N(mean, covariance)."""
    x = samples.double()
    off, spread = x.mean(0) - mean, torch.cov(x.T)
    precision = torch.linalg.inv(covariance)
    logs = torch.logdet(covariance) - torch.logdet(spread)
    return ((precision @ spread).trace() - len(mean) + off @ precision @ off + logs) / 2


@pytest.mark.slow
def test_a_random_gaussian_is_sampled_from_afar():
    """Oracle: its mean and covariance; the samples' own KL is (moments)/2N. BAOAB's positions have no bias of γ."""
    generator = torch.Generator().manual_seed(42)
    factor = torch.randn(2, 2, generator=generator, dtype=torch.float64)
    mean = torch.randn(2, generator=generator, dtype=torch.float64)
    covariance = factor @ factor.T + 0.5 * torch.eye(2, dtype=torch.float64)
    a, b, c = torch.linalg.inv(covariance)[[0, 0, 1], [0, 1, 1]].tolist()

    def loss(x):
        u, v = x[..., 0] - float(mean[0]), x[..., 1] - float(mean[1])
        return (a * u * u + 2 * b * u * v + c * v * v) / 2

    paths = 200_000
    run = simulate(
        Kramers(3.0, 1.0),
        Splitting("BAOAB"),
        10 * torch.randn(paths, 2, generator=generator),
        time=60.0,
        step=0.4,
        loss=loss,
        key=8,
        save={
            "divergence": Save(lambda t, s: gaussian_divergence(s["position"], mean, covariance), times=LOOKS),
            "end": Save(times=[60.0]),
        },
    )
    x = run["end"].values[-1].double()
    deviation = covariance.diagonal().sqrt()
    assert bool(((x.mean(0) - mean).abs() < SURE * deviation / math.sqrt(paths)).all())
    error = torch.sqrt((covariance**2 + torch.outer(deviation**2, deviation**2)) / paths)
    assert bool(((torch.cov(x.T) - covariance).abs() < SURE * error).all())
    falls = run["divergence"].values
    floor = 5 / (2 * paths)  # five moments, half a χ² each
    assert float(falls[-1]) < 5 * floor < 1e-5 * float(falls[0])
    above = falls[falls > 20 * floor]
    assert len(above) > 8
    assert bool((above.diff() < 0).all())


def chance(density, grid, paths):
    """The L1 distance of a histogram from its own law."""
    share = density * grid.volume
    return float((share * (1 - share) * 2 / (math.pi * paths)).sqrt().sum())


@pytest.mark.parametrize("compiled", COMPILE)
def test_the_histogram_of_paths_is_the_fokker_planck_density(compiled):
    """Oracle: the master equation on cells. SRA1 is of weak order 2, its error at γ = .02 far below the noise."""
    paths, temperature, fine, times = 100_000, 0.245, Grid((-3.0, 3.0), 960), (0.3, 1.0, 3.0)
    start = 0.4 + 0.1 * torch.randn(paths, 1, generator=torch.Generator().manual_seed(1))
    problem = Problem(Langevin(temperature), WELL)
    run = simulate(problem, SRA1(), start, time=3.0, step=0.02, key=5, compile=compiled, save=times)
    frames = FokkerPlanck.of(problem, fine).propagate(fine.normal(0.4, 0.1), times)
    grid = Grid((-3.0, 3.0), 60)
    coarse = frames.reshape(3, 60, 16).mean(-1)
    found = torch.stack([grid.histogram(states) for states in run.states])
    distance = (found.unsqueeze(1) - coarse).abs().sum(-1) * grid.volume
    for i in range(3):
        assert float(distance[i, i]) < 1.4 * chance(coarse[i], grid, paths)
    assert float(distance[0, 1]) > 20 * float(distance[0, 0])  # another time's is told apart
    assert float(distance[1, 2]) > 5 * float(distance[1, 1])


@pytest.mark.slow
def test_underdamped_escapes_are_those_of_the_generator_and_of_kramers():
    """Oracles: half the gap of the kinetic equation, and Kramers' rate with friction; apart by O(T/ΔU)."""
    friction, temperature, paths = 1.0, 0.06, 20_000
    run = simulate(
        Problem(Kramers(friction, temperature), WELL),
        Splitting("BAOAB"),
        {"position": torch.full((paths, 1), -1.0), "velocity": torch.zeros(paths, 1)},
        time=100.0,
        step=0.1,
        key=3,
        save=400,
    )
    cores = (lambda x: x[..., 0] < -0.8), (lambda x: x[..., 0] > 0.8)
    found = count_escapes(run.times, run.states, *cores, after=15.0)
    coarse, fine = (
        Kinetic(WELL, friction, temperature, Grid(((-2.0, 2.0), (-1.4, 1.4)), cells), "central").spectral_gap() / 2
        for cells in (50, 100)
    )
    gap = (4 * fine - coarse) / 3  # cells are of second order
    small = temperature / 0.25
    assert found.error < 0.03 * found.rate
    assert abs(found.rate - gap) < SURE * found.error + 0.3 * small * gap
    kramers = Saddle(WELL, (-1.0,), (0.0,)).rate(temperature, friction)
    assert abs(found.rate - kramers) < SURE * found.error + 0.6 * small * kramers
    overdamped = Saddle(WELL, (-1.0,), (0.0,)).rate(temperature) / friction
    assert overdamped > found.rate + 10 * found.error  # which friction at this height matters for


@pytest.mark.slow
def test_free_energy_of_an_ensemble_falls_by_its_fisher_information():
    """Oracle: F = E[U + T log p], dF/dt = -E|∇(U + T log p)|²; expectations over paths, p of Fokker-Planck."""
    paths, temperature, grid = 100_000, 0.245, Grid((-3.5, 3.5), 1400)
    problem = Problem(Langevin(temperature), WELL)
    start = 0.5 + 0.3 * torch.randn(paths, 1, generator=torch.Generator().manual_seed(3))
    count = 40
    run = simulate(problem, SRA1(), start, time=2.0, step=0.01, key=9, save=count)
    frames = FokkerPlanck.of(problem, grid).propagate(grid.normal(0.5, 0.3), run.times.tolist()).clamp(min=1e-280)
    axis = grid.axes[0].numpy()
    potential = WELL(grid.points).numpy()
    energies, errors, losses = [], [], []
    for density, states in zip(frames.numpy(), run.states[..., 0].double().numpy(), strict=True):
        local = potential + temperature * np.log(density)
        own = np.interp(states, axis, local)
        energies.append(own.mean())
        errors.append(own.std() / math.sqrt(paths))
        losses.append((np.interp(states, axis, np.gradient(local, axis)) ** 2).mean())
    lost = np.array(losses)
    simpson = 2.0 / count / 3 * (lost[0] + lost[-1] + 4 * lost[1:-1:2].sum() + 2 * lost[2:-1:2].sum())
    fallen = energies[0] - energies[-1]
    assert fallen > 100 * errors[-1]
    assert abs(fallen - simpson) < SURE * math.hypot(errors[0], errors[-1])


@pytest.mark.parametrize("compiled", COMPILE)
def test_noise_of_two_points_has_weak_order_one(compiled):
    """Oracle: E S² = e^{(2μ+σ²)t} of geometric Brownian motion, stepped ((1+μγ)²+σ²γ)ⁿ exactly."""
    growth, volatility, paths = 1.0, 0.3, 2_000_000
    exact, errors, uncertain = math.exp(2 * growth + volatility**2), [], []
    for steps in (8, 16, 32):
        x = simulate(
            GeometricBrownian(growth, volatility),
            EulerMaruyama(),
            torch.ones(1),
            paths=paths,
            time=1.0,
            step=1 / steps,
            key=2,
            noise="rademacher",
            compile=compiled,
        ).final.double()
        noise = float(x.square().std()) / math.sqrt(paths)
        stepped = ((1 + growth / steps) ** 2 + volatility**2 / steps) ** steps
        assert abs(float(x.square().mean()) - stepped) < SURE * noise
        errors.append(exact - float(x.square().mean()))
        uncertain.append(noise / errors[-1] / math.log(2))
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    doubt = [SURE * math.hypot(a, b) for a, b in pairwise(uncertain)]
    assert max(doubt) < 0.12
    assert abs(orders[0] - 1) < 0.12 + doubt[0]  # γ² adds to γ; less with every halving
    assert abs(orders[1] - 1) < 0.06 + doubt[1]


@pytest.mark.parametrize("compiled", COMPILE)
def test_signs_are_fair_and_independent_of_one_another(compiled):
    """Oracle: all 2¹² sequences of signs through dX = (X/2+√(X²+1))dt + √(X²+1)dW, E h(asinh X) (Rößler's h)."""
    paths, steps, step = 500_000, 12, 0.1

    def h(x):
        z = torch.asinh(x.double())
        return z**3 - 6 * z**2 + 8 * z

    every = torch.zeros(2**steps, dtype=torch.float64)
    for n in range(steps):
        sign = 2.0 * (torch.arange(2**steps) >> n & 1) - 1
        root = torch.sqrt(every * every + 1)
        every = every + step * (every / 2 + root) + math.sqrt(step) * root * sign
    system = SDE(lambda x: x / 2 + torch.sqrt(x * x + 1), lambda x: torch.sqrt(x * x + 1))
    run = simulate(
        system,
        EulerMaruyama(),
        torch.zeros(1),
        paths=paths,
        time=steps * step,
        step=step,
        key=2,
        noise="rademacher",
        compile=compiled,
    )
    found, expected = h(run.final[:, 0]), h(every)
    assert abs(float(found.mean() - expected.mean())) < SURE * float(expected.std()) / math.sqrt(paths)
    fourth = float((expected - expected.mean()).pow(4).mean()) / float(expected.var()) ** 2
    assert abs(float(found.var() / expected.var()) - 1) < SURE * math.sqrt((fourth - 1) / paths)


@pytest.mark.parametrize("compiled", COMPILE)
@pytest.mark.parametrize("rule", [EulerMaruyama(), Milstein()], ids=["Euler-Maruyama", "Milstein"])
def test_the_mean_of_geometric_brownian_motion_grows_by_its_drift(rule, compiled):
    """Oracles: E S = e^{μt}, stepped (1+μγ)ⁿ by both rules; E log S, near (μ-σ²/2)t, by quadrature of one step."""
    growth, volatility, steps, paths = 0.3, 0.5, 50, 200_000
    motion = GeometricBrownian(growth, volatility)
    end = simulate(motion, rule, torch.ones(1), paths=paths, time=1.0, step=1 / steps, key=4, compile=compiled)
    x = end.final.double()
    error = float(x.std()) / math.sqrt(paths)
    stepped = (1 + growth / steps) ** steps
    assert abs(float(x.mean()) - stepped) < SURE * error
    assert abs(float(x.mean()) - math.exp(growth)) < SURE * error + abs(stepped - math.exp(growth))
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    milstein = (nodes**2 - 1) / 2 if isinstance(rule, Milstein) else 0.0
    factor = 1 + growth / steps + volatility / math.sqrt(steps) * nodes + volatility**2 / steps * milstein
    kept = factor > 0  # what is cut off has weight 0 to rounding
    typical = steps * float((weights[kept] * np.log(factor[kept])).sum() / weights.sum())
    assert abs(float(x.log().mean()) - typical) < SURE * volatility / math.sqrt(paths)
    assert abs(typical - (growth - volatility**2 / 2)) < 0.01
    assert float(x.log().mean()) < growth - 0.1


def test_heun_grows_by_the_other_calculus():
    """Oracle: in Stratonovich's sense E S = e^{(μ+σ²/2)t}, stepped (1+μγ+(μ²γ²+σ²γ)/2)ⁿ."""
    paths, growth, volatility = 200_000, 0.3, 0.5
    motion = GeometricBrownian(growth, volatility, "stratonovich")
    x = simulate(motion, Heun(), torch.ones(1), paths=paths, time=1.0, step=0.02, key=4).final.double()
    error = float(x.std()) / math.sqrt(paths)
    stepped = (1 + growth * 0.02 + ((growth * 0.02) ** 2 + volatility**2 * 0.02) / 2) ** 50
    assert abs(float(x.mean()) - stepped) < SURE * error
    assert abs(stepped - math.exp(growth + volatility**2 / 2)) < error
    assert abs(float(x.mean()) - math.exp(growth)) > 20 * error


@pytest.mark.parametrize("compiled", COMPILE)
@pytest.mark.parametrize("step", [0.3, 0.8, 1.4])
def test_the_kinetic_temperature_is_exact_after_o_and_cold_on_the_step(step, compiled):
    """Oracle: BAOAB in k θ²/2. After O <v²> = T, on the step T(1-γ²k/4), <kθ²> = T: at every stable step."""
    curvature, temperature, paths = 1.7, 0.4, 100_000
    run = simulate(
        Problem(Kramers(1.0, temperature), Harmonic(curvature)),
        Splitting("BAOAB"),
        torch.zeros(paths, 1),
        time=60 * step,
        step=step,
        key=6,
        compile=compiled,
    )
    position, after = run.end.state["position"], run.end.state["velocity"]
    on_step = after - step / 2 * curvature * position
    error = SURE * math.sqrt(2 / paths)
    assert abs(float(after.square().mean()) / temperature - 1) < error
    assert abs(float(on_step.square().mean()) / (temperature * (1 - step**2 * curvature / 4)) - 1) < error
    assert abs(float(position.square().mean()) * curvature / temperature - 1) < error
