"""The kinetic equation: Gibbs exactly, the Gaussian of a harmonic well at the stated order, Kramers' own limits."""

import math

import pytest
import torch
from scipy.linalg import expm
from scipy.sparse.linalg import expm_multiply

from thetadot.density import FokkerPlanck, Grid, Kinetic, OrnsteinUhlenbeck
from thetadot.errors import InadmissibleValue, IncompatiblePair
from thetadot.potentials import DoubleWell, Harmonic
from thetadot.systems import Kramers, Langevin, PerStep, Problem

TRANSPORTS = ["upwind", "central"]
BOX = ((-2.2, 2.2), (-2.4, 2.4))


def pendulum(x):
    return 1.0 - x.cos().sum(-1)


def motion(transport="upwind", cells=(24, 22), friction=0.7):
    return Kinetic(DoubleWell(), friction, 0.3, Grid(BOX, cells), transport)


def distance(grid, p, q):
    return float(grid.integrate((p - q).abs()))


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("friction", [0.0, 0.7])
def test_gibbs_is_stationary_exactly(transport, friction):
    here = motion(transport, friction=friction)
    gibbs = torch.exp(-(DoubleWell()(here.grid.points[..., :1]) + here.grid.points[..., 1] ** 2 / 2) / 0.3)
    gibbs /= here.grid.integrate(gibbs)
    assert distance(here.grid, here.steady_state(), gibbs) < 1e-13
    assert float(here.rates.change(gibbs).abs().max()) < 1e-13
    assert distance(here.grid, here.propagate(gibbs, 3.0), gibbs) < 1e-13


def test_gibbs_is_stationary_on_a_ring():
    grid = Grid(((-math.pi, math.pi), (-3.0, 3.0)), (24, 24), periodic=(True, False))
    here = Kinetic(pendulum, 0.5, 0.4, grid)
    assert float(here.rates.change(here.law).abs().max()) < 1e-13
    off = here.propagate(grid.delta((1.0, 1.0)), 60.0)
    assert distance(grid, off, here.law) < 1e-6


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_time_is_that_of_the_dense_exponential_and_mass_is_kept(transport):
    here = motion(transport)
    p = here.grid.delta((-1.0, 0.5))
    exact = torch.from_numpy(expm(here.rates.matrix().toarray() * 0.8) @ p.numpy().ravel()).reshape(p.shape)
    found = here.propagate(p, 0.8)
    assert distance(here.grid, found, exact) < 1e-12
    assert float(here.grid.integrate(found)) == pytest.approx(1, abs=1e-14)


def test_upwind_transport_keeps_densities_positive():
    here = motion()
    assert here.rates.positive
    assert not motion("central").rates.positive
    assert float(here.propagate(here.grid.delta((-1.0, 0.5)), 0.3).min()) >= 0
    assert float(motion("central").propagate(here.grid.delta((-1.0, 0.5)), 0.3).min()) < 0


@pytest.mark.parametrize(("transport", "order"), [("upwind", 1), ("central", 2)])
def test_cells_are_of_the_order_that_is_stated(transport, order):
    """Closed form: the Gaussian of a harmonic well, its mean turning and its covariance relaxing."""
    process = OrnsteinUhlenbeck.of(Problem(Kramers(0.5, 0.3), Harmonic()))
    time, begun = 0.6, torch.tensor([0.09, 0.16])
    mean = process.mean(time, torch.tensor([0.8, -0.4])).reshape(2)
    precision = torch.linalg.inv(process.covariance(time, torch.diag(begun)))
    errors = []
    for cells in (64, 128):
        grid = Grid(((-3.0, 3.0), (-3.0, 3.0)), cells)
        excess = grid.points - mean
        exact = torch.exp(-0.5 * torch.einsum("...i,ij,...j", excess, precision, excess))
        found = Kinetic(Harmonic(), 0.5, 0.3, grid, transport).propagate(grid.normal((0.8, -0.4), (0.3, 0.4)), time)
        errors.append(distance(grid, found, exact / grid.integrate(exact)))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize(("cells", "central", "upwind"), [(48, 0.025, 0.18), (96, 0.006, 0.1)])
def test_the_mean_of_the_default_is_right_to_what_is_stated(cells, central, upwind):
    """Against the closed form of a linear motion; upwind is off by more than five times as much."""
    well = Problem(Kramers(0.5, 0.3), Harmonic())
    exact = OrnsteinUhlenbeck.of(well).mean(2.0, torch.tensor([1.0, 0.0])).double()
    grid = Grid(((-3.0, 3.0), (-3.0, 3.0)), cells)

    def off(*transport):
        p = Kinetic.of(well, grid, *transport).propagate(grid.normal((1.0, 0.0), 0.3), 2.0)
        mean = torch.stack([grid.integrate(p * grid.points[..., axis]) for axis in (0, 1)])
        return float((mean - exact).norm() / exact.norm())

    assert off() < central
    assert 5 * central < off("upwind") < upwind


def test_strong_friction_is_overdamped_motion_in_time_over_friction():
    friction = 12.0
    side = Grid((-2.2, 2.2), 400)
    gap = FokkerPlanck(DoubleWell(), 0.3, side).spectral_gap() / friction
    coarse, fine = (
        Kinetic(DoubleWell(), friction, 0.3, Grid(BOX, cells), "central").spectral_gap() for cells in (40, 80)
    )
    limit = (4 * fine - coarse) / 3  # cells are of second order
    assert limit == pytest.approx(gap, rel=3 / friction**2)


def test_frictionless_motion_keeps_its_energy_to_the_order_of_the_cells():
    """No bath: the mean energy stands, and would rise by λT with one."""

    def mean_energy(friction, transport):
        grid = Grid(((-3.0, 3.0), (-3.0, 3.0)), 96)
        here = Kinetic(Harmonic(), friction, 0.3, grid, transport)
        p = here.propagate(grid.normal((0.5, 0.0), 0.2), 1.0)
        return float(grid.integrate(p * (grid.points**2).sum(-1) / 2))

    begun = 0.125 + 0.04
    assert mean_energy(0.0, "central") == pytest.approx(begun, rel=5e-3)
    exact = OrnsteinUhlenbeck.of(Problem(Kramers(0.4, 0.3), Harmonic()))
    second = exact.covariance(1.0, 0.04 * torch.eye(2)) + torch.outer(m := exact.mean(1.0, torch.tensor([0.5, 0])), m)
    assert mean_energy(0.4, "central") == pytest.approx(float(second.trace()) / 2, rel=5e-3)


def test_of_takes_the_problem_apart():
    grid = Grid(BOX, 24)
    here = Kinetic.of(Problem(Kramers(0.7, 0.3), DoubleWell()), grid)
    assert (here.friction, here.temperature, here.transport) == (0.7, 0.3, "central")


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: Kinetic(DoubleWell(), -1.0, 0.3, Grid(BOX, 24)), InadmissibleValue, "friction=-1 is negative"),
        (lambda: Kinetic(DoubleWell(), 1.0, -0.3, Grid(BOX, 24)), InadmissibleValue, "temperature=-0.3"),
        (lambda: Kinetic(DoubleWell(), 1.0, 0.3, Grid((-2.0, 2.0))), InadmissibleValue, "position and velocity"),
        (lambda: Kinetic(DoubleWell(), 1.0, 0.3, Grid(BOX, 24, periodic=True)), InadmissibleValue, "with walls"),
        (lambda: Kinetic(DoubleWell(), 1.0, 3.0, Grid(BOX, 24)), InadmissibleValue, "do not hold a Gaussian"),
        (lambda: Kinetic(DoubleWell(), 1.0, 0.3, Grid(BOX, 24), "lax"), InadmissibleValue, "'upwind' or 'central'"),
        (lambda: Kinetic(DoubleWell(), 1.0, 0.01, Grid(BOX, 24)), InadmissibleValue, "too coarse"),
        (lambda: Kinetic.of(Problem(Langevin(0.3), DoubleWell()), Grid(BOX, 24)), IncompatiblePair, "FokkerPlanck"),
        (lambda: Kinetic.of(Problem(Kramers(PerStep(0.1), 0.3), DoubleWell()), Grid(BOX, 24)), IncompatiblePair, "1/t"),
    ],
)
def test_what_is_not_kinetic_is_refused_in_one_sentence(make, error, said):
    with pytest.raises(error, match=said):
        make()


@pytest.mark.slow
@pytest.mark.parametrize(("temperature", "friction"), [(0.3, 0.5), (0.1, 0.05)])
def test_long_sums_are_the_matrix_exponential_where_terms_would_grow_too(temperature, friction):
    """Central rates are negative in places; where cells hardly resolve the law, terms of long sums would cancel."""
    equation = Kinetic(DoubleWell(), friction, temperature, Grid(((-2.5, 2.5), (-2.5, 2.5)), 48))
    start = equation.grid.normal((-1.0, 0.0), (0.15, 0.2))
    exact = expm_multiply(equation._rates.matrix() * 2.0, start.numpy().ravel())
    found = equation.propagate(start, 2.0).flatten()
    assert float((found - torch.from_numpy(exact)).abs().sum()) * equation.grid.volume < 1e-11
