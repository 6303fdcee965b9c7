"""Log-densities along flows: det exp = exp tr, Gaussians carried, volumes of the steps of heavy ball."""

import math

import pytest
import torch

from thetadot.analysis import divergence, linearize
from thetadot.density import carry, log_volume
from thetadot.errors import InadmissibleValue, NotConverged
from thetadot.integrators import Leapfrog, LookAhead
from thetadot.potentials import DoubleWell
from thetadot.systems import DampedNewton, PerStep


@pytest.mark.parametrize(
    "matrix", [torch.randn(5, 5, generator=torch.Generator().manual_seed(0)).double(), [[0, 1], [0, 0]]]
)
def test_the_determinant_of_an_exponential_is_the_exponential_of_the_trace(matrix):
    a = torch.as_tensor(matrix, dtype=torch.float64)
    exact = float(torch.linalg.det(torch.linalg.matrix_exp(a)))
    found = log_volume(lambda x: x @ a.T, torch.ones(1, len(a), dtype=torch.float64), 1.0)
    assert math.exp(float(found)) == pytest.approx(exact, rel=1e-12)
    assert exact == pytest.approx(math.exp(float(a.trace())), rel=1e-12)


def test_the_divergence_is_that_of_differences():
    def field(x):
        return torch.stack((x[..., 0] ** 2 * x[..., 1], torch.sin(x[..., 0] * x[..., 1])), -1)

    x = torch.tensor([[0.3, -1.2], [1.0, 2.0]], dtype=torch.float64)
    h = 1e-6
    shifts = h * torch.eye(2, dtype=torch.float64)
    numeric = sum((field(x + shifts[i]) - field(x - shifts[i]))[..., i] / (2 * h) for i in range(2))
    assert divergence(field, x).tolist() == pytest.approx(numeric.tolist(), abs=1e-8)


def test_a_gaussian_stays_one_under_a_linear_flow():
    a = torch.tensor([[-0.5, 1.0], [-2.0, -0.2]], dtype=torch.float64)
    x = torch.tensor([[0.3, -1.2], [1.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
    start = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), torch.eye(2).double())
    there, found = carry(lambda y: y @ a.T, x, start.log_prob(x), 1.3)
    grown = torch.linalg.matrix_exp(1.3 * a)
    exact = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), grown @ grown.T)
    assert there.numpy() == pytest.approx((x @ grown.T).numpy(), abs=1e-9)
    assert found.tolist() == pytest.approx(exact.log_prob(there).tolist(), abs=1e-9)


def test_mass_is_conserved_by_a_flow_that_is_not_linear():
    """∫ p(x(t), t) dx(t) = 1, the volume element by differences of neighbouring paths."""
    x = torch.linspace(-6, 6, 4001, dtype=torch.float64)[:, None]
    log_p = -0.5 * x[:, 0] ** 2 - 0.5 * math.log(2 * math.pi)
    there, found = carry(lambda y: -DoubleWell().gradient(y), x, log_p, 0.5)
    assert float(torch.trapezoid(found.exp(), there[:, 0])) == pytest.approx(1, abs=1e-4)


def test_there_and_back_is_where_it_began():
    x = torch.tensor([[0.3, -1.2]])
    there, log_p = carry(torch.sin, x, torch.zeros(1), 2.0)
    back, zero = carry(torch.sin, there.double(), log_p.double(), -2.0)
    assert there.dtype == torch.float32
    assert back.tolist()[0] == pytest.approx(x.tolist()[0], abs=1e-6)
    assert float(zero) == pytest.approx(0, abs=1e-6)


def test_damped_newton_contracts_volume_at_the_friction_and_its_leapfrog_by_beta_a_step():
    friction, curvature = 0.7, 2.0
    motion = torch.tensor([[0.0, 1.0], [-curvature, -friction]], dtype=torch.float64)
    start = torch.ones(1, 2, dtype=torch.float64)
    assert float(log_volume(lambda x: x @ motion.T, start, 3.0)) == pytest.approx(-3.0 * friction, abs=1e-9)
    step = linearize(DampedNewton(friction), Leapfrog(), step=0.3, curvature=curvature)
    momentum = (1 - friction * 0.15) / (1 + friction * 0.15)
    assert momentum == pytest.approx(0.8099547511, abs=5e-11)
    assert float(torch.linalg.det(step.matrix)) == pytest.approx(momentum, rel=1e-12)


@pytest.mark.parametrize("c", [0.5, 1.0])
def test_a_look_ahead_contracts_by_more_where_it_is_curved(c):
    """det = β(1 - c x), x = αh: Nesterov's volume depends on the curvature, heavy ball's does not."""
    step, damping, curvature = 0.3, 0.1, 2.0
    rule = LookAhead(lookahead=c)
    found = linearize(DampedNewton(PerStep(damping)), rule, step=step, curvature=curvature)
    beta = rule.momentum(damping)
    lr = step**2 * rule.gain(beta)
    assert float(torch.linalg.det(found.matrix)) == pytest.approx(beta * (1 - c * lr * curvature), rel=1e-12)


def test_the_probability_flow_of_a_gaussian_scales_it():
    """ẋ = t x/(s² + t²), time one more coordinate: x(T) = x(0) √(1 + T²/s²), p the wider Gaussian."""
    x, s, time = 0.7, 0.5, 3.0

    def field(state):
        y, t = state.unbind(-1)
        return torch.stack((t * y / (s * s + t * t), torch.ones_like(t)), -1)

    begun = -0.5 * (x / s) ** 2 - math.log(s)
    start = torch.tensor([[x, 0.0]], dtype=torch.float64)
    there, log_p = carry(field, start, torch.tensor([begun], dtype=torch.float64), time)
    assert float(there[0, 0]) == pytest.approx(4.2579337712, abs=1e-8)
    wide = math.hypot(s, time)
    assert float(log_p) == pytest.approx(-0.5 * (float(there[0, 0]) / wide) ** 2 - math.log(wide), abs=1e-8)


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: carry(torch.sin, torch.ones(2), torch.ones(2), 1.0), InadmissibleValue, r"\(n, d\) and \(n,\)"),
        (lambda: carry(torch.sin, torch.ones(2, 1), torch.ones(2), math.inf), InadmissibleValue, "not finite"),
        (lambda: carry(torch.sin, torch.ones(2, 1), torch.ones(2), 1.0, 0.0), InadmissibleValue, "tolerance=0"),
        (lambda: carry(lambda x: x**2, torch.ones(1, 1), torch.ones(1), 2.0, 1e-3), NotConverged, "shorter time"),
    ],
)
def test_what_cannot_be_carried_is_refused_in_one_sentence(make, error, said):
    with pytest.raises(error, match=said):
        make()
