"""Linear motion: closed forms, the Lyapunov equation, quadrature."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad_vec
from scipy.linalg import expm

from thetadot.density import OrnsteinUhlenbeck
from thetadot.errors import InadmissibleValue, IncompatiblePair
from thetadot.potentials import DoubleWell, Harmonic
from thetadot.systems import DampedNewton, Kramers, Langevin, PerStep, Problem


def matrix(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_one_dimension_from_a_gaussian():
    process = OrnsteinUhlenbeck(matrix([-1.0]), matrix([0.8]))
    assert float(process.mean(1.0, matrix([2.0]))) == pytest.approx(0.7357589, abs=5e-8)
    assert float(process.covariance(1.0, matrix([0.1]))) == pytest.approx(0.2902262, abs=5e-8)
    assert float(process.stationary()) == pytest.approx(0.32, rel=1e-14)


@pytest.mark.parametrize("time", [1e-9, 0.3, 2.0, 30.0])
def test_the_covariance_is_its_integral(time):
    a, b = matrix([0.0, 1.0], [-2.0, -0.5]), matrix([0.0], [0.7])
    found = OrnsteinUhlenbeck(a, b).covariance(time).numpy()
    noise = (b @ b.T).numpy()
    exact, _ = quad_vec(lambda s: expm(a.numpy() * s) @ noise @ expm(a.numpy() * s).T, 0, time, epsrel=1e-10)
    assert found == pytest.approx(exact, rel=1e-9, abs=1e-10 * float(found.max()))


def test_an_unstable_process_has_a_covariance_and_no_stationary_law():
    process = OrnsteinUhlenbeck(matrix([0.5]), matrix([1.0]))
    assert float(process.covariance(8.0)) == pytest.approx(math.expm1(8.0), rel=1e-13)
    with pytest.raises(InadmissibleValue, match=r"eigenvalue 0\.5 has no stationary law"):
        process.stationary()


def test_kramers_in_a_harmonic_well_settles_to_gibbs():
    process = OrnsteinUhlenbeck.of(Problem(Kramers(0.5, 0.3), Harmonic((2.0, 5.0))), dim=2)
    exact = torch.diag(matrix(0.15, 0.06, 0.3, 0.3))
    assert process.stationary().numpy() == pytest.approx(exact.numpy(), abs=1e-14)
    assert process.covariance(200.0).numpy() == pytest.approx(exact.numpy(), abs=1e-13)
    drift = process.matrix @ exact + exact @ process.matrix.T + process.noise @ process.noise.T
    assert drift.abs().max() < 1e-14


def test_samples_have_mean_and_covariance():
    process = OrnsteinUhlenbeck.of(Problem(Kramers(0.5, 0.3), Harmonic(2.0)))
    start = matrix([1.0, -0.5]).expand(100_000, 2)
    found = process.sample(0.7, start, key=5)
    error = 4 * process.covariance(0.7).diagonal().sqrt() / math.sqrt(len(found))
    assert bool(((found.mean(0) - process.mean(0.7, start[0])).abs() < error).all())
    assert np.cov(found.numpy().T) == pytest.approx(process.covariance(0.7).numpy(), rel=0.03)


def test_langevin_is_one_dimension_each():
    process = OrnsteinUhlenbeck.of(Problem(Langevin(0.3), Harmonic((1.0, 4.0))), dim=2)
    exact = [0.3 * -math.expm1(-2 * 0.4), 0.3 / 4 * -math.expm1(-8 * 0.4)]
    assert process.covariance(0.4).diagonal().tolist() == pytest.approx(exact, rel=1e-13)


def test_there_are_as_many_dimensions_as_curvatures():
    found = OrnsteinUhlenbeck.of(Problem(Langevin(0.4), Harmonic((2.0, 0.5)))).stationary()
    assert torch.allclose(found, torch.diag(torch.tensor([0.2, 0.8], dtype=torch.float64)), atol=1e-14)


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: OrnsteinUhlenbeck(torch.zeros(2, 3), torch.zeros(2, 1)), InadmissibleValue, r"A \(d, d\)"),
        (lambda: OrnsteinUhlenbeck(matrix([math.nan]), matrix([1.0])), InadmissibleValue, "not finite"),
        (lambda: OrnsteinUhlenbeck(matrix([-1.0]), matrix([1.0])).covariance(-1.0), InadmissibleValue, "negative"),
        (lambda: OrnsteinUhlenbeck.of(Problem(Langevin(1.0), DoubleWell())), IncompatiblePair, "not linear"),
        (lambda: OrnsteinUhlenbeck.of(Problem(DampedNewton(1.0), Harmonic())), IncompatiblePair, "not linear"),
        (
            lambda: OrnsteinUhlenbeck.of(Problem(Langevin(1.0), Harmonic((1.0, 2.0))), 3),
            InadmissibleValue,
            "dim=3 with 2 curvatures",
        ),
        (lambda: OrnsteinUhlenbeck.of(Problem(Kramers(PerStep(0.1), 1.0), Harmonic())), IncompatiblePair, "per step"),
    ],
)
def test_what_is_not_linear_is_refused_in_one_sentence(make, error, said):
    with pytest.raises(error, match=said):
        make()
