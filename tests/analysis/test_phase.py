"""Phase space: points and states, fields and steps, and what does not belong together."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thetadot.analysis import field_of, jacobian, linearize, local_spectral_radius, loss_rate, phase_space, step_of
from thetadot.errors import InadmissibleValue, IncompatiblePair
from thetadot.integrators import Euler, ImplicitMidpoint, Leapfrog, LookAhead, SemiImplicitEuler, Splitting
from thetadot.potentials import DoubleWell, Harmonic, UnevenWells
from thetadot.systems import (
    ODE,
    AdaptiveFlow,
    DampedNewton,
    DiracGAN,
    GradientFlow,
    Kramers,
    Langevin,
    NormalizedFlow,
    PolyakFlow,
    Problem,
    SignFlow,
)
from thetadot.systems.base import PerStep

WELLS = UnevenWells()


@given(st.integers(1, 3), st.integers(1, 4))
def test_a_state_is_a_point_and_back(dim, paths):
    space = phase_space(DiracGAN())
    points = torch.randn(paths, 2 * dim)
    assert torch.equal(space.pack(space.unpack(points)), points)


@pytest.mark.parametrize(
    "rule",
    [Leapfrog(), LookAhead(lookahead=0.5), LookAhead(), SemiImplicitEuler(), Splitting("BAOAB")],
)
def test_one_step_of_points_is_the_steps_matrix(rule):
    """As analysis.linear finds it from unit vectors, for every curvature at once."""
    curvatures = (0.5, 2.0)
    ball = Problem(DampedNewton(0.7), Harmonic(curvatures))
    matrix = jacobian(step_of(ball, rule, step=0.3), torch.zeros(1, 4, dtype=torch.float64))[0]
    for index, curvature in enumerate(curvatures):
        block = matrix[index::2, index::2]
        expected = linearize(DampedNewton(0.7), rule, step=0.3, curvature=curvature).matrix
        assert torch.allclose(block, expected, atol=1e-14)


def test_a_step_is_that_of_a_plain_loop():
    problem = Problem(GradientFlow(), WELLS)
    points = torch.tensor([[4.0], [0.0]], dtype=torch.float64)
    assert torch.allclose(step_of(problem, Euler(), step=0.01)(points), points - 0.01 * WELLS.gradient(points))


FLOWS = {
    "gradient": (GradientFlow(), lambda _, g: -(g * g).sum(-1)),
    "sign": (SignFlow(), lambda _, g: -g.abs().sum(-1)),
    "normalized": (NormalizedFlow(), lambda _, g: -g.norm(dim=-1)),
    "Polyak": (PolyakFlow(floor=-0.5), lambda value, _: -(value + 0.5)),
    "clipped": (
        PolyakFlow(floor=-0.5, bound=0.1),
        lambda value, g: -(value + 0.5) * (0.1 * g.norm(dim=-1)).clamp_max(1.0),
    ),
}


@pytest.mark.parametrize("name", FLOWS)
def test_the_loss_falls_at_the_rate_of_each_flow_path_by_path(name):
    system, expected = FLOWS[name]
    points = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    rate = loss_rate(Problem(system, WELLS), points)
    assert torch.allclose(rate, expected(WELLS(points), WELLS.gradient(points)), atol=1e-10)
    assert bool((rate < 0).all())


def test_with_a_velocity_the_loss_may_rise_and_the_energy_may_not():
    """dL/dt = ⟨g, η⟩, dE/dt = -λ|η|²."""
    points = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    ball = Problem(DampedNewton(0.3), WELLS)
    rate = loss_rate(ball, points)
    velocity = points[:, 2:]
    assert torch.allclose(rate, (WELLS.gradient(points[:, :2]) * velocity).sum(-1))
    assert bool((rate > 0).any())
    kinetic = (field_of(ball)(points)[:, 2:] * velocity).sum(-1)
    assert torch.allclose(kinetic + rate, -0.3 * (velocity * velocity).sum(-1), atol=1e-12)


def end_of_polyak(start, **settings):
    advance = step_of(Problem(PolyakFlow(**settings), WELLS), Euler(), step=0.01)
    x = torch.tensor([[start]], dtype=torch.float64)
    for _ in range(2500):
        x = advance(x)
    return x.item()


def test_clipped_polyak_crosses_the_barrier_of_the_uneven_wells():
    """x = 0.4069256 after 2500 steps from 4; on its way it may be anywhere. Gradient descent stays at 3."""
    assert end_of_polyak(4.0, bound=1000.0) == pytest.approx(WELLS.minima[0], abs=1e-5)
    advance = step_of(Problem(GradientFlow(), WELLS), Euler(), step=0.01)
    x = torch.tensor([[4.0]], dtype=torch.float64)
    for _ in range(500):
        x = advance(x)
    assert x.item() == pytest.approx(3.0, abs=1e-9)


@given(st.floats(0.01, 3.9), st.floats(0.1, 10.0))
def test_polyaks_step_on_a_parabola(step, curvature):
    """θ' = (1-Δt/2) θ."""
    problem = Problem(PolyakFlow(), Harmonic(curvature))
    x = torch.tensor([[1.5], [-0.2]], dtype=torch.float64)
    assert torch.allclose(step_of(problem, Euler(), step=step)(x), (1 - step / 2) * x, atol=1e-13)


def test_time_is_a_number_that_a_field_is_asked_for():
    growing = ODE(lambda t, x: t * x)
    points = torch.tensor([[2.0]])
    assert field_of(growing, time=3.0)(points).item() == 6.0
    with pytest.raises(IncompatiblePair, match="ODE depends on time"):
        step_of(growing, Euler(), step=0.1)


def test_a_radius_below_one_is_a_step_that_settles():
    wells = Problem(GradientFlow(), DoubleWell())
    minimum = torch.ones(1, dtype=torch.float64)  # curvature 2
    assert local_spectral_radius(wells, Euler(), minimum, step=0.9) == pytest.approx(0.8)
    assert local_spectral_radius(wells, Euler(), minimum, step=1.1) == pytest.approx(1.2)


def test_a_jacobian_of_what_does_not_move():
    assert jacobian(torch.ones_like, torch.zeros(3, 2)).tolist() == [[[0.0] * 2] * 2] * 3


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: field_of(GradientFlow()), r"GradientFlow moves by a gradient.*Problem\(GradientFlow"),
        (lambda: field_of(Problem(DampedNewton(PerStep(0.1)), DoubleWell())), "DampedNewton has a rate per step"),
        (lambda: step_of(Problem(Langevin(0.1), DoubleWell()), Euler(), step=0.1), "Langevin has noise"),
        (lambda: step_of(DiracGAN(), ImplicitMidpoint(), step=0.1), "ImplicitMidpoint is implicit"),
        (
            lambda: field_of(Problem(AdaptiveFlow(1.0, 1.0), DoubleWell())),
            "carries mean_weight, square_weight, numbers",
        ),
        (lambda: step_of(DiracGAN(), Leapfrog(), step=0.1), "Leapfrog steps a velocity against friction"),
    ],
)
def test_what_does_not_belong_together(build, said):
    with pytest.raises(IncompatiblePair, match=said):
        build()


def test_points_of_another_shape_are_refused():
    with pytest.raises(InadmissibleValue, match=r"points of shape \(2, 3\) do not hold 2 variables"):
        field_of(DiracGAN())(torch.ones(2, 3))


def test_noise_is_left_out_of_a_field():
    points = torch.randn(3, 2, dtype=torch.float64)
    noisy = field_of(Problem(Kramers(0.5, 2.0), DoubleWell()))
    assert torch.equal(noisy(points), field_of(Problem(DampedNewton(0.5), DoubleWell()))(points))
