"""Escape from a well, four ways that must agree, and each against a closed form of its own."""

import itertools
import math

import pytest
import torch
from scipy import integrate

from thetadot.density import (
    FokkerPlanck,
    Grid,
    Kinetic,
    Saddle,
    count_escapes,
    escape_rate,
    mean_first_passage_time,
)
from thetadot.errors import InadmissibleValue, IncompatiblePair, NotConverged
from thetadot.integrators import EulerMaruyama
from thetadot.potentials import DoubleWell, Harmonic
from thetadot.systems import DampedNewton, Kramers, Langevin, PerStep, Problem

WELL = DoubleWell()  # minima ±1, ω_a² = 2; saddle 0, ω_b² = 1; ΔU = 1/4


def way():
    return Saddle(WELL, (-1.0,), (0.0,))


def crossing(x):
    """Two wells, a stiff direction across that is softer at the saddle."""
    return (x[..., 0] ** 2 - 1) ** 2 / 4 + (1 + 2 * x[..., 0] ** 2) * x[..., 1] ** 2 / 2


def kramers(friction):
    """Of the double well at T = .05, at moderate and strong friction."""
    return (math.sqrt(friction**2 / 4 + 1) - friction / 2) * math.sqrt(2) / (2 * math.pi) * math.exp(-5)


def depopulation(loss):
    """A(δ), for S = Σ e^(-nx)/n in the integral: ln A = -Σ erfc(√(nδ)/2)/n."""
    return math.exp(-math.fsum(math.erfc(math.sqrt(n * loss) / 2) / n for n in range(1, int(3000 / loss) + 2)))


def test_kramers_in_one_dimension_is_his_formula():
    assert way().rate(0.05) == pytest.approx(kramers(0.0), rel=1e-12)
    for friction in (6.0, 20.0):
        assert way().rate(0.05, friction) == pytest.approx(kramers(friction), rel=1e-12)


@pytest.mark.parametrize("friction", [1e-4, 0.01, 0.05, 0.3, 1.0])
def test_weak_friction_leaves_the_share_of_melnikov_and_meshkov(friction):
    """The double well's action is 8/3 √b a: δ = λ (4/3) / T, in both wells."""
    loss = friction * (4 / 3) / 0.05
    share = depopulation(loss) ** 2 / depopulation(2 * loss)
    assert way().rate(0.05, friction) == pytest.approx(share * kramers(friction), rel=1e-6)


def test_without_friction_nothing_escapes():
    assert way().rate(0.05, 0.0) == 0.0
    assert way().rate(0.05, 1e-9) / 1e-9 == pytest.approx(way().rate(0.05, 1e-8) / 1e-8, rel=1e-3)


@pytest.mark.parametrize(
    ("potential", "minimum", "top", "actions"),
    [
        (DoubleWell(3.0, 2.0), -2.0, 0.0, (16 / math.sqrt(3), 16 / math.sqrt(3))),  # 8/3 √b a
        (lambda x: x[..., 0] ** 2 / 2 - x[..., 0] ** 3 / 3, 0.0, 1.0, (6 / 5,)),  # 36 ΔU/5ω, open beyond
        (lambda x: -torch.cos(x[..., 0]), 0.0, math.pi, (16.0, 16.0)),  # the pendulum's separatrix, again and again
        (lambda x: -torch.cos(x[..., 0]) - 0.01 * x[..., 0], math.asin(0.01), math.pi - math.asin(0.01), None),
    ],
    ids=["double well", "cubic", "pendulum", "washboard"],
)
def test_the_actions_of_a_round_trip(potential, minimum, top, actions):
    found = Saddle(potential, (minimum,), (top,))._actions
    if actions is None:  # tilted: beyond, it never comes back
        assert len(found) == 1
        assert found[0] == pytest.approx(16.0, rel=0.05)
    else:
        assert found == pytest.approx(actions, rel=1e-6)


def test_the_weakest_friction_is_the_diffusion_of_energy_off_by_the_order_of_temperature():
    """1/k = (2/λT) ∫ dE e^(E/T)/S(E) ∫ dE' e^(-E'/T) S'(E'), to first order in T/ΔU as T falls."""
    errors = []
    for temperature in (0.02, 0.01, 0.005):
        weak = 1e-6 * temperature
        errors.append(way().rate(temperature, weak) / diffusion_of_energy(temperature, weak) - 1)
    assert errors[0] == pytest.approx(2.1 * 0.02 / 0.25, rel=0.15)
    assert [math.log2(a / b) for a, b in itertools.pairwise(errors)] == pytest.approx([1, 1], abs=0.15)


def diffusion_of_energy(temperature, friction):
    """Half the rate of reaching the top, from where either well is as likely."""
    energies = torch.linspace(0.0, 1.0, 4001, dtype=torch.float64) ** 2 * 0.25
    root = (4.0 * energies).sqrt()  # x² = 1 ± √(4E) where U = E
    inner, outer = (1.0 - root).clamp_min(0.0).sqrt(), (1.0 + root).sqrt()
    angle = torch.linspace(0.0, math.pi, 801, dtype=torch.float64)
    x = (inner + outer)[:, None] / 2 + (outer - inner)[:, None] / 2 * angle.cos()
    speed = (2.0 * (energies[:, None] - (x * x - 1.0) ** 2 / 4)).clamp_min(0.0).sqrt()
    action = torch.trapezoid(speed * (outer - inner)[:, None] * angle.sin(), angle)  # 2 ∫ √(2(E-U)) dx
    boltzmann = torch.exp(-energies / temperature)
    # ∫ e^(-E/T) dS = e^(-E/T) S + ∫ e^(-E/T) S dE/T
    within = (
        torch.cat((torch.zeros(1).double(), torch.cumulative_trapezoid(boltzmann * action, energies))) / temperature
    )
    below = boltzmann * action + within
    integrand = torch.exp(energies / temperature) * below / action.clamp_min(1e-300)
    integrand[0] = 1.0
    return friction * temperature / (2.0 * float(torch.trapezoid(integrand, energies)))


@pytest.mark.slow
@pytest.mark.parametrize(("friction", "cells"), [(0.2, 128), (0.5, 96), (5.0, 96)])
def test_turnover_to_strong_friction_agree_with_the_kinetic_equation(friction, cells):
    """Half the gap of the density in (θ, η), carried on to fine cells; off by less than half of T/ΔU."""
    temperature = 0.05
    box = Grid(((-1.9, 1.9), (-6 * math.sqrt(temperature), 6 * math.sqrt(temperature))), cells)
    coarse = Kinetic(WELL, friction, temperature, box).spectral_gap() / 2
    finer = Grid(box.box, cells * 3 // 2)
    fine = Kinetic(WELL, friction, temperature, finer).spectral_gap() / 2
    limit = fine + (fine - coarse) / (1.5**2 - 1)  # cells are of second order
    assert limit == pytest.approx(way().rate(temperature, friction), rel=0.5 * temperature / 0.25)


def test_several_dimensions_know_no_weak_friction():
    over = Saddle(crossing, (-1.0, 0.0), (0.0, 0.0))
    with pytest.raises(InadmissibleValue, match=r"friction=0\.1 is too weak.*exchange of energy"):
        over.rate(0.05, 0.1)
    assert over.rate(0.05, 1.0) < over.rate(0.05)


@pytest.mark.parametrize("temperature", [0.25, 0.5, 5.0])
@pytest.mark.parametrize("friction", [None, 1.0])
def test_a_barrier_not_above_the_temperature_is_none_to_escape(temperature, friction):
    with pytest.raises(InadmissibleValue, match=r"is not below the height, 0\.25.*mean_first_passage_time"):
        way().rate(temperature, friction)
    system = Langevin(temperature) if friction is None else Kramers(friction, temperature)
    with pytest.raises(InadmissibleValue, match="is not below the height"):
        escape_rate(Problem(system, WELL), (-1.0,), (0.0,))


def test_a_saddle_behind_another_barrier_is_refused():
    three = Saddle(lambda x: -torch.cos(x[..., 0]), (0.0,), (3 * math.pi,))
    with pytest.raises(InadmissibleValue, match=r"is not the next barrier: at 3\.14"):
        three.rate(0.1, 1.0)


def test_strong_friction_is_overdamped_and_keeps_its_digits():
    assert 1e9 * way().rate(0.05, 1e9) == pytest.approx(way().rate(0.05), rel=1e-12)


def test_eyring_takes_determinants():
    over = Saddle(crossing, (-1.0, 0.0), (0.0, 0.0))
    exact = math.sqrt(2 * 3 / (1 * 1)) / (2 * math.pi) * math.exp(-0.25 / 0.05)
    assert over.rate(0.05) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("temperature", [0.1, 0.05, 0.025])
def test_gap_passage_and_kramers_agree_as_the_barrier_rises(temperature):
    """gap = 2k: both wells empty into each other; to the top takes half of the time over it. Apart by O(T/ΔU)."""
    gap = FokkerPlanck(WELL, temperature, Grid((-2.5, 2.5), 1000)).spectral_gap()
    over = mean_first_passage_time(WELL, temperature, -1.0, 1.0, wall=-3.0)
    top = mean_first_passage_time(WELL, temperature, -1.0, 0.0, wall=-3.0)
    small = temperature / 0.25
    assert gap / 2 == pytest.approx(1 / over, rel=0.3 * small)
    assert gap / 2 == pytest.approx(1 / (2 * top), rel=0.1 * small)
    assert gap / 2 == pytest.approx(way().rate(temperature), rel=0.6 * small)
    assert abs(gap - way().rate(temperature)) > 0.3 * gap  # k itself would not do


def test_kramers_error_is_of_first_order_in_temperature():
    errors = []
    for temperature in (0.02, 0.01, 0.005):
        exact = 1 / mean_first_passage_time(WELL, temperature, -1.0, 1.0, wall=-3.0)
        errors.append(way().rate(temperature) / exact - 1)
    assert [math.log2(a / b) for a, b in itertools.pairwise(errors)] == pytest.approx([1, 1], abs=0.15)


def test_eyring_agrees_with_the_gap_in_two_dimensions():
    ratios = []
    for temperature, cells in ((0.08, 96), (0.04, 128)):
        gap = FokkerPlanck(crossing, temperature, Grid(((-2.0, 2.0), (-1.6, 1.6)), cells)).spectral_gap()
        ratios.append(gap / (2 * Saddle(crossing, (-1.0, 0.0), (0.0, 0.0)).rate(temperature)))
    assert ratios == pytest.approx([1, 1], abs=0.25)
    assert abs(ratios[1] - 1) < 0.7 * abs(ratios[0] - 1)


def test_counted_paths_gap_passage_and_kramers_agree():
    """Monte Carlo: 20,000 paths from core to core. The rate is 1/τ between the cores; T/ΔU parts it from the others."""
    temperature, step, steps, every, paths = 0.06, 0.02, 2000, 5, 20_000
    problem = Problem(Langevin(temperature), WELL)
    rule, generator = EulerMaruyama(), torch.Generator().manual_seed(1)
    scales, state, frames = rule.prepare(problem.system, step), {"position": torch.full((paths, 1), -1.0)}, []
    for index in range(steps):
        if index % every == 0:
            frames.append(state["position"])
        gradient = problem.gradient(state["position"])
        state = rule.advance(scales, state, gradient, lambda: torch.randn(paths, 1, generator=generator))
    times = torch.arange(len(frames)) * (step * every)
    left, right = (lambda x: x[..., 0] < -0.8), (lambda x: x[..., 0] > 0.8)
    found = count_escapes(times, torch.stack(frames), left, right, after=10.0)
    assert found.error == pytest.approx(found.rate / math.sqrt(found.count))
    assert found.error < 0.03 * found.rate
    cores = mean_first_passage_time(WELL, temperature, -0.8, 0.8, wall=-3.0)
    assert abs(found.rate - 1 / cores) < 4 * found.error
    small = temperature / 0.25
    gap = FokkerPlanck(WELL, temperature, Grid((-2.5, 2.5), 1000)).spectral_gap()
    over = mean_first_passage_time(WELL, temperature, -1.0, 1.0, wall=-3.0)
    for rate, share in ((gap / 2, 0.3), (1 / over, 0.3), (way().rate(temperature), 0.6)):
        assert abs(found.rate - rate) < 4 * found.error + share * small * rate


def test_intermediate_friction_agrees_with_the_kinetic_equation():
    """Between the limits: half the gap of the density in (θ, η) is Kramers' rate with friction, within T/ΔU."""
    coarse, fine = (
        Kinetic(WELL, 1.0, 0.06, Grid(((-2.0, 2.0), (-1.4, 1.4)), cells), "central").spectral_gap() / 2
        for cells in (60, 120)
    )
    limit = (4 * fine - coarse) / 3  # cells are of second order
    assert limit == pytest.approx(way().rate(0.06, 1.0), rel=0.3 * 0.06 / 0.25)


@pytest.mark.parametrize("back", [1.0, -1.0])
def test_passage_of_a_harmonic_well_is_the_double_integral(back):
    def outer(y):
        inner, _ = integrate.quad(lambda z: math.exp(-z * z / 0.6), -3, y, epsabs=1e-14)
        return math.exp(y * y / 0.6) * inner / 0.3

    exact, _ = integrate.quad(outer, -0.5, 1.2, epsabs=1e-13)
    found = mean_first_passage_time(Harmonic(), 0.3, -0.5 * back, 1.2 * back, wall=-3.0 * back)
    assert found == pytest.approx(exact, rel=1e-9)


def test_passage_solves_its_differential_equation():
    """T τ'' - U' τ' = -1, differences of second order."""
    h, x = 1e-3, 0.3
    ahead, here, behind = (mean_first_passage_time(WELL, 0.2, x + d, 1.0, wall=-3.0) for d in (h, 0.0, -h))
    slope = float(WELL.gradient(torch.tensor([x])))
    assert 0.2 * (ahead - 2 * here + behind) / h**2 - slope * (ahead - behind) / (2 * h) == pytest.approx(-1, abs=2e-3)


def test_a_passage_over_a_barrier_of_a_thousand_temperatures_is_a_number():
    temperature = 0.25 / 600
    found = mean_first_passage_time(WELL, temperature, -1.0, 1.0, wall=-2.0)
    assert found == pytest.approx(1 / way().rate(temperature), rel=0.005)


@pytest.mark.parametrize("back", [3.0, 30.0, 3e3, 1e4, 1e6])
def test_a_far_wall_is_none(back):
    """exp(-U/T) is nothing beyond x = -3."""
    here, far = (mean_first_passage_time(WELL, 0.05, -1.0, 1.0, wall=-wall) for wall in (3.0, back))
    assert far == pytest.approx(here, rel=1e-9)


def test_a_far_wall_behind_a_harmonic_well_is_the_double_integral():
    """∫ e^(y²) √π/2 (1 + erf y) dy · 2, 0 to 2, at h = 1, T = 1/2."""
    inner = integrate.quad(lambda y: math.exp(y * y) * (1.0 + math.erf(y)), 0.0, 2.0, epsabs=0, epsrel=1e-12)[0]
    found = mean_first_passage_time(Harmonic(), 0.5, 0.0, 2.0, wall=-1e5)
    assert found == pytest.approx(math.sqrt(math.pi) * inner, rel=1e-9)


@pytest.mark.parametrize("width", [3e-4, 1e-3])
def test_a_thin_barrier_is_not_stepped_over(width):
    """To first order in its width: the free time and (1/T)(y - w) ∫(e^(U/T) - 1) there."""
    place, temperature = 0.5137, 0.5
    bump = integrate.quad(lambda s: math.exp(5 * math.exp(-s * s) / temperature) - 1.0, -6, 6)[0] * width
    free = 8.0  # (9 - 1)/2T
    found = mean_first_passage_time(
        lambda x: 5 * torch.exp(-(((x[..., 0] - place) / width) ** 2)), temperature, 0.0, 2.0, wall=-1.0
    )
    assert found == pytest.approx(free + (place + 1.0) / temperature * bump, rel=0.02)


def test_a_crossing_that_turns_back_is_no_escape():
    path = torch.tensor([-1.0, 0.3, -0.2, 0.4, -1.0, 0.1]).reshape(6, 1, 1)
    found = count_escapes(range(6), path, lambda x: x[..., 0] < -0.5, lambda x: x[..., 0] > 0.5)
    assert (found.count, found.time, found.rate, found.error) == (0, 5.0, 0.0, 0.2)


def test_escape_rate_reads_the_problem():
    assert escape_rate(Problem(Langevin(0.05), WELL), (-1.0,), (0.0,)) == way().rate(0.05)
    assert escape_rate(Problem(Kramers(2.0, 0.05), WELL), (-1.0,), (0.0,)) == way().rate(0.05, 2.0)


STATES = torch.zeros(3, 4, 1)


def everywhere(x):
    return x[..., 0] < 9


def nowhere(x):
    return x[..., 0] > 9


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: Saddle(WELL, (0.0,), (0.0,)), InadmissibleValue, "is not a minimum: its least curvature is -1"),
        (lambda: Saddle(WELL, (-1.0,), (1.0,)), InadmissibleValue, "has 0 negative curvatures"),
        (lambda: Saddle(WELL, (-1.0, -1.0), (0.0, 0.0)), InadmissibleValue, "has 2 negative curvatures"),
        (lambda: Saddle(WELL, (-0.9,), (0.0,)), InadmissibleValue, "has a gradient of size 0.171"),
        (lambda: Saddle(lambda x: -WELL(x), (0.0,), (0.0,)), InadmissibleValue, "has 0 negative"),
        (lambda: Saddle(WELL, ((-1.0,),), (0.0,)), InadmissibleValue, "not a point"),
        (lambda: way().rate(0.0), InadmissibleValue, "temperature=0 is not positive"),
        (lambda: way().rate(0.05, -1.0), InadmissibleValue, "friction=-1 is negative"),
        (lambda: escape_rate(Problem(DampedNewton(1.0), WELL), (-1.0,), (0.0,)), IncompatiblePair, "Pass Langevin"),
        (lambda: escape_rate(Problem(Kramers(PerStep(0.1), 1.0), WELL), (-1.0,), (0.0,)), IncompatiblePair, "1/time"),
        (lambda: mean_first_passage_time(WELL, 0.1, -1.0, 1.0, wall=0.0), InadmissibleValue, "not in this order"),
        (lambda: mean_first_passage_time(WELL, 0.1, -1.0, -1.0, wall=-2.0), InadmissibleValue, "not in this order"),
        (lambda: mean_first_passage_time(WELL, -0.1, -1.0, 1.0, wall=-2.0), InadmissibleValue, "temperature=-0.1"),
        (
            lambda: mean_first_passage_time(
                lambda x: x.abs().sqrt().sum(-1) * 9, 1.0, -1.0, 1.0, wall=-2.1, tolerance=1e-15
            ),
            NotConverged,
            "panels",
        ),
        (lambda: mean_first_passage_time(WELL, 1e-4, -1.0, 1.0, wall=-2.0), InadmissibleValue, "of e\\^2500"),
        (lambda: count_escapes((0.0, 1.0), STATES, everywhere, nowhere), InadmissibleValue, r"\(n, paths, dim\)"),
        (lambda: count_escapes((0.0, 2.0, 1.0), STATES, everywhere, nowhere), InadmissibleValue, "do not increase"),
        (lambda: count_escapes(range(3), STATES, everywhere, everywhere), InadmissibleValue, "in both"),
        (lambda: count_escapes(range(3), STATES, nowhere, everywhere), InadmissibleValue, "in the first core"),
    ],
)
def test_what_is_no_escape_is_refused_in_one_sentence(make, error, said):
    with pytest.raises(error, match=said):
        make()
