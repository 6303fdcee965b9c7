"""Stability limits in closed form, bracketed by the spectral radius of the very rule that optimizers run."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thetadot.analysis import adaptive_stability_limit, linearize, spectral_radius, stability_limit
from thetadot.errors import InadmissibleValue, IncompatiblePair
from thetadot.integrators import Euler, EulerMaruyama, ImplicitMidpoint, LookAhead, SemiImplicitEuler
from thetadot.optim import Adam, GradientDescent, HeavyBall, ImplicitHeavyBall, Kramers, Langevin, Nesterov
from thetadot.systems import AdaptiveFlow, DampedNewton, GradientFlow
from thetadot.systems.base import PerStep
from thetadot.translation import to_physical


def radius(rule, x, momentum):
    """Of a rule at lr·h = x."""
    step, friction = to_physical(1.0, momentum)
    return spectral_radius(DampedNewton(friction), rule, step=step, curvature=x)


@pytest.mark.parametrize(
    ("momentum", "lookahead", "limit"),
    [
        (0.9, 0.0, 3.8),
        (0.9, 0.5, 2.0),
        (0.9, 1.0, 1.357143),
        (0.5, 0.0, 3.0),
        (0.5, 0.5, 2.0),
        (0.5, 1.0, 1.5),
        (0.99, 0.0, 3.98),
        (0.99, 0.5, 2.0),
        (0.99, 1.0, 1.33557),
    ],
)
def test_the_limit_is_the_closed_form_and_where_the_radius_crosses_one(momentum, lookahead, limit):
    assert stability_limit(momentum, lookahead) == pytest.approx(limit, abs=5e-7 if limit != 1.33557 else 5e-6)
    exact = stability_limit(momentum, lookahead)
    assert radius(LookAhead(lookahead=lookahead), 0.999 * exact, momentum) < 1
    assert radius(LookAhead(lookahead=lookahead), 1.001 * exact, momentum) > 1


@given(st.floats(0, 0.995), st.floats(0, 1), st.floats(0.01, 0.99))
def test_every_curvature_below_the_limit_is_stable(momentum, lookahead, share):
    exact = stability_limit(momentum, lookahead)
    assert radius(LookAhead(lookahead=lookahead), share * exact, momentum) < 1
    assert radius(LookAhead(lookahead=lookahead), (1.01 + share) * exact, momentum) > 1


@pytest.mark.parametrize(
    ("x", "radii"),
    [(0.5, (0.9487, 0.8216, 0.6708)), (1.0, (0.9487, 0.6708, 0.0)), (1.3, (0.9487, 0.5613, 0.8776))],
)
def test_what_look_ahead_improves_is_the_contraction(x, radii):
    found = [radius(LookAhead(lookahead=c), x, 0.9) for c in (0.0, 0.5, 1.0)]
    assert found == pytest.approx(radii, abs=6e-5)


@pytest.mark.parametrize("x", [0.01, 1.0, 3.8, 10.0, 1e3, 1e6])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99])
def test_the_implicit_scheme_is_stable_at_every_curvature(x, momentum):
    found = radius(ImplicitMidpoint(), x, momentum)
    a, b = x / (1 + x / 2), momentum / (1 + x / 2)
    roots = torch.linalg.eigvals(torch.tensor([[1 - a + b, -b], [1.0, 0.0]], dtype=torch.float64))
    assert found == pytest.approx(float(roots.abs().max()), abs=1e-7)  # a double root costs half the digits
    assert found < 1


def test_the_implicit_radius_at_a_thousand():
    assert radius(ImplicitMidpoint(), 1e3, 0.9) == pytest.approx(0.992401, abs=5e-7)


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9])
def test_friction_never_moves_heavy_balls_limit(momentum):
    """γ√h < 2 whatever λ."""
    step, _ = to_physical(1.0, momentum)
    assert step * math.sqrt(stability_limit(momentum)) == pytest.approx(2.0)


def test_gradient_descent_is_stable_below_two():
    assert spectral_radius(GradientFlow(), Euler(), step=0.999, curvature=2.0) < 1
    assert spectral_radius(GradientFlow(), Euler(), step=1.001, curvature=2.0) > 1


@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.9])
def test_adam_with_frozen_preconditioner_is_stable_up_to_its_limit(beta1):
    flow = AdaptiveFlow(PerStep(1 - beta1), PerStep(0.0), eps=0.0)
    rule = SemiImplicitEuler()

    def frozen_radius(x):
        start = {"position": torch.tensor([1.0, 0.0]).double(), "mean": torch.tensor([0.0, 1.0]).double()}
        start |= {"mean_weight": 1.0, "square": torch.ones(2).double(), "square_weight": 1.0}
        after = rule.advance(rule.prepare(flow, 1.0), start, x * start["position"], draw=None)
        matrix = torch.stack((after["position"], after["mean"]))
        return float(torch.linalg.eigvals(matrix).abs().max())

    limit = adaptive_stability_limit(beta1)
    assert frozen_radius(0.999 * limit) < 1 < frozen_radius(1.001 * limit)
    if beta1 == 0.9:
        assert limit == pytest.approx(38.0)


def test_the_adaptive_flow_has_no_matrix():
    with pytest.raises(IncompatiblePair, match="AdaptiveFlow is not linear"):
        linearize(AdaptiveFlow(1.0, 1.0), SemiImplicitEuler(), step=0.1, curvature=1.0)


@pytest.mark.parametrize(
    ("build", "stable"),
    [
        (lambda p: GradientDescent([p], 0.2), 10.0),
        (lambda p: Langevin([p], 0.2, temperature=0.0), 10.0),
        (lambda p: HeavyBall([p], 0.2, 0.9), 19.0),
        (lambda p: Nesterov([p], 0.2, 0.9), 6.785714),
        (lambda p: Nesterov([p], 0.2, 0.9, lookahead=0.5), 10.0),
        (lambda p: Kramers([p], 0.2, 0.9, temperature=0.0), 19.0),
    ],
)
def test_an_optimizer_reads_out_the_curvature_at_which_it_loses_stability(build, stable):
    probe = build(torch.zeros(1, requires_grad=True))
    limit = probe.reading(probe.param_groups[0]).limit
    assert limit == pytest.approx(stable, abs=1e-6)

    def distance_after(curvature):
        p = torch.ones(1, dtype=torch.float64, requires_grad=True)
        optimizer = build(p)
        for _ in range(3000):
            p.grad = curvature * p.detach()
            optimizer.step()
        return p.abs().item()

    assert distance_after(0.99 * limit) < 0.1
    assert distance_after(1.01 * limit) > 10


def test_limits_that_are_no_number():
    p = torch.ones(1, requires_grad=True)
    implicit = ImplicitHeavyBall([p], 0.1)
    assert implicit.reading(implicit.param_groups[0]).limit == math.inf
    for optimizer in (HeavyBall([p], 0.0), GradientDescent([p], 0.0), Adam([p], 0.0)):
        assert optimizer.reading(optimizer.param_groups[0]).limit == math.inf


@pytest.mark.parametrize("momentum", [-0.1, 1.0, float("nan")])
def test_limits_of_inadmissible_momenta_are_refused(momentum):
    with pytest.raises(InadmissibleValue, match="Pass 0 <= momentum < 1"):
        stability_limit(momentum)
    with pytest.raises(InadmissibleValue, match="Pass 0 <= lookahead <= 1"):
        stability_limit(0.9, lookahead=-1.0)
    with pytest.raises(InadmissibleValue, match="Pass 0 <= beta1 < 1"):
        adaptive_stability_limit(momentum)


def test_euler_maruyama_has_eulers_radius():
    a, b = (spectral_radius(GradientFlow(), rule, step=0.3, curvature=1.7) for rule in (Euler(), EulerMaruyama()))
    assert a == b == pytest.approx(abs(1 - 0.51))
