"""Gibbs' law: closed forms, another quadrature, and samples against their own law."""

import math

import pytest
import torch
from scipy import integrate

from thetadot.density import Gibbs, Grid
from thetadot.errors import InadmissibleValue
from thetadot.potentials import DoubleWell, Harmonic
from thetadot.systems import Kramers, Langevin, Problem


def tilted(x):
    """A double well with a slope and a coupled second coordinate."""
    return (x[..., 0] ** 2 - 1) ** 2 / 4 + 0.2 * x[..., 0] + (x[..., 1] - x[..., 0] / 2) ** 2


def test_the_sum_over_cells_is_adaptive_quadrature():
    law = Gibbs(DoubleWell(), 0.1, Grid((-3.0, 3.0), 128))
    weight, _ = integrate.quad(lambda x: math.exp(-((x * x - 1) ** 2) / 0.4), -3, 3, epsabs=1e-14, epsrel=1e-13)
    second, _ = integrate.quad(lambda x: x * x * math.exp(-((x * x - 1) ** 2) / 0.4), -3, 3, epsabs=1e-14)
    assert law.partition == pytest.approx(weight, rel=1e-12)
    assert float(law.mean(lambda x: x[..., 0] ** 2)) == pytest.approx(second / weight, rel=1e-12)
    x = torch.tensor([[0.3], [-1.2]], dtype=torch.float64)
    exact = [math.exp(-((y * y - 1) ** 2) / 0.4) / weight for y in (0.3, -1.2)]
    assert law.log_density(x).exp().tolist() == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_a_harmonic_law_is_its_gaussian(dim):
    curvature = (1.0, 2.0, 4.0)[:dim]
    grid = Grid(((-5.0, 5.0),) * dim, 40)
    law = Gibbs(Harmonic(curvature), 0.5, grid)
    summed = Gibbs(Harmonic(curvature), 0.5, grid)  # not known to be harmonic
    exact = math.prod(math.sqrt(2 * math.pi * 0.5 / h) for h in curvature)
    assert law.partition == pytest.approx(exact, rel=1e-14)
    assert summed.partition == pytest.approx(exact, rel=1e-6)
    assert law.covariance().diagonal().tolist() == pytest.approx([0.5 / h for h in curvature], rel=1e-5)


def test_a_partition_function_may_be_too_large_for_a_number_and_its_logarithm_is_not():
    law = Gibbs(lambda x: (x * x).sum(-1) - 1e4, 1.0, Grid((-6.0, 6.0)))
    assert law.partition == math.inf
    assert law.log_partition == pytest.approx(1e4 + math.log(math.pi) / 2, rel=1e-13)


@pytest.mark.parametrize("potential", [DoubleWell(), Harmonic(1.0), tilted], ids=["well", "harmonic", "two dimensions"])
def test_samples_have_their_law(potential):
    """Monte Carlo: moments within four standard errors, the histogram within chance."""
    dim = 2 if potential is tilted else 1
    law = Gibbs(potential, 0.3, Grid(((-4.0, 4.0),) * dim, 256 if dim == 1 else 64))
    samples = law.sample(200_000, key=3)
    for power in (1, 2, 4):
        values = samples[:, 0] ** power
        exact = law.mean(lambda x, power=power: x[..., 0] ** power)
        assert abs(values.mean() - exact) < 4 * values.std() / math.sqrt(len(values))
    distance, chance = law.discrepancy(samples)
    assert distance < 1.1 * chance
    assert law.discrepancy(1.05 * samples)[0] > 1.5 * chance
    assert torch.equal(law.sample(5, key=3), law.sample(5, key=3))
    assert not torch.equal(law.sample(5, key=3), law.sample(5, key=4))


def test_metropolis_steps_take_the_cells_out_of_the_samples():
    """Evenly filled cells of width h would have the variance 1 + h²/12 = 1.053: sixteen standard errors too much."""
    law = Gibbs(lambda x: (x * x).sum(-1) / 2, 1.0, Grid((-8.0, 8.0), 20))
    samples = law.sample(200_000, key=1)
    assert float(samples.var()) == pytest.approx(1.0, abs=4 * math.sqrt(2 / 200_000))


def test_position_and_velocity_of_kramers_have_the_temperature():
    law = Gibbs.of(Problem(Kramers(0.5, 0.3), Harmonic(2.0)), Grid((-4.0, 4.0)))
    velocities = law.velocities(100_000)
    assert float(velocities.var()) == pytest.approx(0.3, rel=4 * math.sqrt(2 / 100_000))
    assert float(law.covariance()) == pytest.approx(0.15, rel=1e-10)
    same = Gibbs.of(Problem(Langevin(0.3), Harmonic(2.0)), Grid((-4.0, 4.0)))
    assert torch.equal(law.density, same.density)


def test_the_law_has_the_least_free_energy():
    law = Gibbs(DoubleWell(), 0.2, Grid((-3.0, 3.0)))
    assert law.divergence(law.density) == pytest.approx(0, abs=1e-13)
    assert law.free_energy(law.density) == pytest.approx(-0.2 * law.log_partition, rel=1e-12)
    other = law.grid.normal(0.7, 0.3)
    energy = float(law.grid.integrate(other * DoubleWell()(law.grid.points)))
    entropy = -float(law.grid.integrate(torch.xlogy(other, other)))
    assert law.free_energy(other) == pytest.approx(energy - 0.2 * entropy, rel=1e-12)
    assert law.free_energy(other) > law.free_energy(law.density) + 0.05


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Gibbs(DoubleWell(), 0.0, Grid((-3.0, 3.0))), "temperature=0 is not positive"),
        (lambda: Gibbs(DoubleWell(), 1.0, Grid((-1.5, 1.5))), "of the mass outside"),
        (lambda: Gibbs(Harmonic(-1.0), 1.0, Grid((-1.5, 1.5))), "ends where the law rises"),
        (lambda: Gibbs(DoubleWell(), 1e-4, Grid((-3.0, 3.0))), "too coarse.*Pass at least"),
        (lambda: Gibbs(lambda x: x * x, 1.0, Grid((-3.0, 3.0))), "one value a position"),
        (lambda: Gibbs(lambda x: 1 / (x - x).sum(-1), 1.0, Grid((-3.0, 3.0))), "not finite"),
        (lambda: Gibbs(DoubleWell(), 0.3, Grid((-3.0, 3.0))).sample(0), "below 1"),
    ],
)
def test_what_is_no_law_is_refused_in_one_sentence(make, said):
    with pytest.raises(InadmissibleValue, match=said):
        make()


def test_the_number_of_cells_that_is_asked_for_is_enough():
    with pytest.raises(InadmissibleValue, match="at least") as refusal:
        Gibbs(DoubleWell(), 1e-3, Grid((-3.0, 3.0)))
    needed = int(str(refusal.value).split("at least ")[1].split()[0])
    Gibbs(DoubleWell(), 1e-3, Grid((-3.0, 3.0), needed + 2))
