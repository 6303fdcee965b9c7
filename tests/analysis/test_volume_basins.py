"""Volumes that contract at a known rate, and basins with known borders."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thetadot.analysis import basins, divergence, exponential_average, log_volume, step_of
from thetadot.errors import InadmissibleValue
from thetadot.integrators import Euler, Leapfrog, LookAhead, RungeKutta, Splitting
from thetadot.integrators.tableaus import RK4
from thetadot.potentials import DoubleWell, Harmonic, Quartic2d, Ring
from thetadot.systems import DampedNewton, DiracGAN, GradientFlow, Problem
from thetadot.translation import cayley, to_physical

CURVATURES = (0.5, 2.0, 3.0)


def points(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# Liouville.


def test_divergences_in_closed_form():
    x = points(6, 4)
    hessian_trace = (3 * x[:, :2] ** 2 - 1).sum(-1)
    assert torch.allclose(divergence(Problem(GradientFlow(), DoubleWell()), x[:, :2]), -hessian_trace)
    for potential in (DoubleWell(), Ring(0.3, 0.1)):
        assert torch.allclose(divergence(Problem(DampedNewton(0.7), potential), x), torch.tensor(-1.4).double())
    assert torch.allclose(divergence(DiracGAN("linear"), x), torch.zeros(6).double(), atol=1e-14)
    assert torch.allclose(divergence(DiracGAN("linear", penalty="gp", weight=0.3), x), torch.tensor(-1.2).double())


def test_gradient_flow_contracts_by_the_trace_of_the_hessian():
    """-T tr H; Euler Σ ln|1-γh| a step."""
    flow, start = Problem(GradientFlow(), Harmonic(CURVATURES)), points(2, 3)
    fine = log_volume(flow, RungeKutta(RK4), start, step=0.01, steps=50)
    assert fine.tolist() == pytest.approx([-0.5 * sum(CURVATURES)] * 2, abs=1e-7)
    coarse = log_volume(flow, Euler(), start, step=0.4, steps=7)
    assert coarse.tolist() == pytest.approx([7 * sum(math.log(abs(1 - 0.4 * h)) for h in CURVATURES)] * 2)


@settings(max_examples=20)
@given(st.floats(0.01, 0.3), st.floats(0.01, 0.99), st.integers(0, 100))
def test_heavy_ball_contracts_by_the_momentum_whatever_the_loss(lr, momentum, seed):
    """Det of a step = β^dim, also on what is not quadratic."""
    step, friction = to_physical(lr, momentum)
    ball = Problem(DampedNewton(friction), Ring(0.3, 0.1))
    volume = log_volume(ball, Leapfrog(), 0.5 * points(1, 4, seed=seed), step=step, steps=3)
    assert volume.item() == pytest.approx(3 * 2 * math.log(momentum), rel=1e-6)


@settings(max_examples=20)
@given(st.floats(0.01, 0.2), st.floats(0.1, 0.95), st.floats(0.0, 1.0))
def test_look_ahead_contracts_by_more_where_it_is_curved(lr, momentum, lookahead):
    """Π β(1 - c αh)."""
    step, friction = to_physical(lr, momentum)
    ball = Problem(DampedNewton(friction), Harmonic(CURVATURES))
    volume = log_volume(ball, LookAhead(lookahead=lookahead), points(1, 6), step=step, steps=2)
    expected = sum(math.log(momentum * (1 - lookahead * lr * h)) for h in CURVATURES)
    assert volume.item() == pytest.approx(2 * expected, rel=1e-8)


@pytest.mark.parametrize("word", ["BAOAB", "ABOBA", "OBABO"])
def test_words_contract_as_the_equation_does(word):
    """e^(-λγ) a step and dimension, exactly."""
    ball = Problem(DampedNewton(0.8), DoubleWell())
    assert log_volume(ball, Splitting(word), points(1, 4), step=0.3, steps=4).item() == pytest.approx(
        -0.8 * 0.3 * 4 * 2, rel=1e-12
    )
    assert cayley(0.24) == pytest.approx(math.exp(-0.24), abs=2e-3)  # leapfrog's map is another


def test_det_exp_is_exp_tr_also_without_eigenvectors():
    """exp [[0,1],[0,0]] has determinant 1; random 5×5 to rounding."""
    nilpotent = torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    field = lambda x: x @ nilpotent.T
    assert divergence(field, points(1, 2)).item() == 0.0
    assert torch.linalg.det(torch.linalg.matrix_exp(nilpotent)).item() == 1.0
    matrix = points(5, 5)
    error = torch.linalg.det(torch.linalg.matrix_exp(matrix)) / matrix.trace().exp() - 1
    assert abs(error.item()) < 1e-12


# Basins.


def grid(count=9, reach=1.7):
    side = torch.linspace(-reach, reach, count, dtype=torch.float64)
    return torch.stack(torch.meshgrid(side, side, indexing="ij"), -1)


def test_without_coupling_the_basins_of_four_wells_are_the_quadrants():
    wells = Quartic2d()
    starts = grid(10)  # none on an axis
    labels = basins(
        step_of(Problem(GradientFlow(), wells), RungeKutta(RK4), step=0.1), starts, wells.minima, steps=2000, radius=0.1
    )
    assert labels.shape == (10, 10)
    assert torch.equal(wells.minima[labels].sign(), starts.sign())


@settings(max_examples=10)
@given(st.floats(-0.4, 0.4))
def test_basins_have_the_symmetries_of_the_wells(coupling):
    wells = Quartic2d(coupling)
    starts = grid(8)
    labels = basins(
        step_of(Problem(GradientFlow(), wells), Euler(), step=0.2), starts, wells.minima, steps=400, radius=0.1
    )
    generic = (starts[..., 0].abs() - starts[..., 1].abs()).abs() > 1e-9
    ends = wells.minima[labels]
    assert bool((labels[generic] >= 0).all())
    assert torch.allclose(ends.flip(0, 1)[generic], -ends[generic])
    assert torch.allclose(ends.transpose(0, 1).flip(-1)[generic], ends[generic])


def test_what_stays_on_a_saddle_or_flies_off_ends_nowhere():
    starts = torch.tensor([[0.0], [0.4], [90.0]], dtype=torch.float64)
    descend = step_of(Problem(GradientFlow(), DoubleWell()), Euler(), step=0.1)
    assert basins(descend, starts, torch.tensor([[-1.0], [1.0]]), steps=100, radius=0.1).tolist() == [-1, 1, -1]


def test_to_pass_by_is_not_to_arrive():
    """A rotation is there after five steps and elsewhere after seven."""
    turn = 2 * math.pi / 7 * torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    matrix = torch.linalg.matrix_exp(turn)
    starts = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    target = starts @ torch.linalg.matrix_power(matrix, 5)
    for steps, label in ((5, 0), (7, -1)):
        end = basins(lambda x: x @ matrix, starts, target, steps=steps, radius=0.2)
        assert end.tolist() == [label]


def test_shapes_and_numbers_out_of_range_are_refused():
    with pytest.raises(InadmissibleValue, match=r"starts of shape \(3, 2\) and attractors of shape \(1, 1\)"):
        basins(lambda x: x, torch.zeros(3, 2), torch.zeros(1, 1), steps=1, radius=1.0)
    with pytest.raises(InadmissibleValue, match="radius=0 is not positive"):
        basins(lambda x: x, torch.zeros(3, 1), torch.zeros(1, 1), steps=1, radius=0.0)
    with pytest.raises(InadmissibleValue, match="steps=-1 is negative"):
        log_volume(DiracGAN(), Euler(), torch.zeros(1, 2), step=0.1, steps=-1)


# Averages.


@given(st.floats(0.0, 0.99), st.integers(1, 30), st.integers(1, 3))
def test_the_average_is_the_weighted_mean_of_what_was(decay, count, dim):
    states = points(count, dim)
    weights = decay ** torch.arange(count - 1, -1, -1, dtype=torch.float64)
    expected = (weights.unsqueeze(-1) * states).sum(0) / weights.sum()
    assert torch.allclose(exponential_average(states, decay)[-1], expected, atol=1e-12)
    assert torch.allclose(exponential_average(states + 2.5, decay), exponential_average(states, decay) + 2.5)


def test_a_decay_out_of_range_is_refused():
    with pytest.raises(InadmissibleValue, match=r"decay=1 is outside \[0, 1\)"):
        exponential_average(torch.zeros(2, 1), 1.0)
