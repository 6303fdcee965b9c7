"""Fluctuation-dissipation against the discrete Lyapunov equation of the rule itself (T2), and along simulated runs."""

import itertools

import pytest
import torch

from thetadot.analysis.linear import linearize
from thetadot.errors import InadmissibleValue
from thetadot.integrators import Leapfrog
from thetadot.probes import fluctuation, heavy_ball_fluctuation
from thetadot.systems import DampedNewton
from thetadot.translation import to_physical


def lyapunov(h, rate, beta, noise):
    """Second moments of (θ, buf) of torch's heavy ball on hθ²/2, the force's noise of variance ``noise``."""
    step = torch.tensor([[1.0 - rate * h, -rate * beta], [h, beta]], dtype=torch.float64)
    kick = torch.tensor([-rate, 1.0], dtype=torch.float64)
    operator = torch.eye(4, dtype=torch.float64) - torch.kron(step, step)
    return torch.linalg.solve(operator, noise * torch.outer(kick, kick).reshape(-1)).reshape(2, 2)


@pytest.mark.parametrize(
    ("h", "rate", "noise", "variance", "square"), [(1.0, 0.1, 1.0, 0.513514, 5.405405), (4.0, 0.9, 1.3, 27.7875, 130.0)]
)
def test_both_sides_are_the_known_figures(h, rate, noise, variance, square):
    beta = 0.9
    moments = lyapunov(h, rate, beta, noise)
    assert float(moments[0, 0]) == pytest.approx(variance, rel=1e-5)
    assert float(moments[1, 1]) == pytest.approx(square, rel=1e-5)
    virial = h * float(moments[0, 0])  # E[θ g] at θ before the step: the noise is independent of θ
    kinetic = (1 + beta) / (2 * rate) * rate**2 * float(moments[1, 1])
    assert virial == pytest.approx(kinetic, rel=1e-9)
    assert float(moments[0, 1]) == pytest.approx(-rate / 2 * float(moments[1, 1]), rel=1e-9)
    if h == 1.0:
        assert float(moments[0, 1]) == pytest.approx(-0.270270, rel=1e-5)


def test_the_known_variance_is_that_of_our_own_rule():
    form = to_physical(0.1, 0.9)
    linear = linearize(DampedNewton(friction=form.friction), Leapfrog(), step=form.step, curvature=1.0)
    assert float(linear.stationary_covariance(1.0)[0, 0]) == pytest.approx(0.513514, rel=1e-5)


def moments(make, steps=4000, copies=400, warm=400, curvatures=(0.3, 1.0, 3.0), nonlinear=0.0, coupled=0.0):
    """Run torch's own optimizer on noisy copies; both readings of every step, averaged."""
    generator = torch.Generator().manual_seed(0)
    h = torch.tensor(curvatures, dtype=torch.float64)
    p = torch.nn.Parameter(torch.zeros(copies, len(curvatures), dtype=torch.float64))
    optimizer, read = make([p])
    sums = []
    for step in range(steps // copies * 10 + warm):
        before = p.detach().clone()
        noise = torch.randn(p.shape, generator=generator, dtype=torch.float64)
        p.grad = h * before + nonlinear * before**3 + 0.4 + noise
        gradient = p.grad + coupled * before
        optimizer.step()
        if step >= warm:
            sums.append([float(x) for reading in read(before, gradient, p.detach() - before) for x in reading])
    return torch.tensor(sums, dtype=torch.float64)


def both(rate, beta, origin=None, preconditioner=None):
    def read(position, gradient, displacement):
        start = None if origin is None else [torch.full_like(position, origin)]
        diagonal = None if preconditioner is None else [torch.full_like(position, preconditioner)]
        ball = heavy_ball_fluctuation(
            [position], [gradient], [displacement], rate=rate, momentum=beta, preconditioner=diagonal, origin=start
        )
        other = fluctuation([position], [displacement], origin=start)
        return (ball.virial, ball.kinetic), (other.virial, other.kinetic)

    return read


@pytest.mark.parametrize("origin", [None, -0.3, 5.0])
@pytest.mark.parametrize("nonlinear", [0.0, 0.5])
@pytest.mark.parametrize("beta", [0.0, 0.8])
def test_both_identities_hold_along_a_stationary_run_whatever_the_origin_and_the_loss(beta, nonlinear, origin):
    found = moments(
        lambda ps: (torch.optim.SGD(ps, 0.1, beta, weight_decay=0.2), both(0.1, beta, origin)),
        nonlinear=nonlinear,
        coupled=0.2,
        warm=200,
    )
    virial, kinetic, other, half = found.mean(0).tolist()
    assert virial == pytest.approx(kinetic, rel=0.08)
    assert other == pytest.approx(half, rel=0.08)


def test_a_far_origin_costs_precision():
    spreads = [
        float(moments(lambda ps, o=o: (torch.optim.SGD(ps, 0.1, 0.8), both(0.1, 0.8, o)))[:, 0].std())
        for o in (-0.4, 50.0)
    ]
    assert spreads[1] > 5.0 * spreads[0]


def test_away_from_stationarity_they_differ():
    found = moments(lambda ps: (torch.optim.SGD(ps, 0.002, 0.8), both(0.002, 0.8, origin=5.0)), warm=0)
    virial, kinetic = found.mean(0)[:2].tolist()
    assert abs(virial / kinetic) > 2.0


def test_nesterov_is_only_of_the_second_form():
    found = moments(lambda ps: (torch.optim.SGD(ps, 0.3, 0.8, nesterov=True), both(0.3, 0.8)))
    virial, kinetic, other, half = found.mean(0).tolist()
    assert other == pytest.approx(half, rel=0.08)
    assert abs(virial / kinetic - 1.0) > 0.15


def test_decoupled_decay_is_only_of_the_second_form():
    def make(ps):
        return torch.optim.AdamW(ps, 0.05, betas=(0.8, 0.999), weight_decay=2.0), both(0.05 * 0.2, 0.8)

    virial, kinetic, other, half = moments(make, warm=600).mean(0).tolist()
    assert other == pytest.approx(half, rel=0.08)
    assert abs(virial / kinetic - 1.0) > 0.1


def test_adam_with_its_preconditioner_frozen_is_heavy_ball():
    class Frozen(torch.optim.Optimizer):
        def __init__(self, ps, lr, beta, diagonal):
            super().__init__(ps, {})
            self.lr, self.beta, self.diagonal, self.mean = lr, beta, diagonal, 0.0

        def step(self):
            p = self.param_groups[0]["params"][0]
            self.mean = self.beta * self.mean + (1 - self.beta) * p.grad
            p.data.sub_(self.lr * self.mean / self.diagonal)

    lr, beta, diagonal = 1.5, 0.8, 2.5
    found = moments(lambda ps: (Frozen(ps, lr, beta, diagonal), both(lr * (1 - beta), beta, preconditioner=diagonal)))
    virial, kinetic, other, half = found.mean(0).tolist()
    assert virial == pytest.approx(kinetic, rel=0.05)
    assert other == pytest.approx(half, rel=0.05)


def test_the_second_identity_fails_by_what_the_radius_changed():
    """Σ(virial - kinetic) = ½(|θ₀|² - |θₙ|²), whatever moves."""
    path = torch.randn(50, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    readings = [fluctuation([a], [b - a]) for a, b in itertools.pairwise(path)]
    total = sum(float(r.virial - r.kinetic) for r in readings)
    assert total == pytest.approx(0.5 * float(path[0] @ path[0] - path[-1] @ path[-1]))


def test_groups_add_up_and_their_units_must_agree():
    one, g, step = [torch.ones(2)], [torch.full((2,), 3.0)], [torch.full((2,), -1.0)]
    a = heavy_ball_fluctuation(one, g, step, rate=0.5, momentum=0.0)
    b = heavy_ball_fluctuation(one, g, step, rate=0.25, momentum=0.0)
    assert (float((a + b).virial), float((a + b).kinetic), (a + b).degrees) == (12.0, 6.0, 4)
    with pytest.raises(InadmissibleValue, match="has another unit"):
        a + fluctuation(one, step)
    with pytest.raises(InadmissibleValue, match="rate=0"):
        heavy_ball_fluctuation(one, g, step, rate=0.0, momentum=0.0)


@pytest.mark.parametrize("x", [0.01, 0.2, 0.8])
def test_at_critical_damping_the_two_roots_are_one(x):
    """β = (1-√x)², x = αh (T7): the discriminant of heavy ball's step is zero there, and only there."""

    def discriminant(beta):
        form = to_physical(x, beta)
        matrix = linearize(DampedNewton(friction=form.friction), Leapfrog(), step=form.step, curvature=1.0).matrix
        return float(torch.trace(matrix) ** 2 - 4.0 * torch.linalg.det(matrix))

    beta = (1.0 - x**0.5) ** 2
    assert discriminant(beta) == pytest.approx(0.0, abs=1e-12)
    assert discriminant(beta - 1e-3) > 1e-6 > -1e-6 > discriminant(beta + 1e-3)
