"""Backward error analysis: the flows that steps follow, to the order that is claimed."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from shared.motion import end

from thetadot.analysis import (
    ModifiedLoss,
    field_of,
    gradient_penalty,
    iterated_field,
    jacobian,
    modified_field,
    modified_generator,
    slowest_rate,
    step_of,
)
from thetadot.analysis.modified import EULER
from thetadot.errors import InadmissibleValue, IncompatiblePair
from thetadot.integrators import Euler, Leapfrog, RungeKutta, SemiImplicitEuler
from thetadot.integrators.tableaus import HEUN, KUTTA3, MIDPOINT, RALSTON
from thetadot.potentials import DoubleWell, Harmonic, Ring
from thetadot.systems import AdaptiveFlow, DampedNewton, DiracGAN, GradientFlow, Problem
from thetadot.translation import to_physical

RING = Ring(coupling=0.3, tilt=0.1)
DESCENT = Problem(GradientFlow(), RING)
START = (1.2, 0.9)


def iterate(advance, start, count):
    x = torch.tensor([start], dtype=torch.float64)
    for _ in range(count):
        x = advance(x)
    return x[0].numpy()


def orders(errors):
    return [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]


@pytest.mark.slow
def test_gradient_descent_follows_each_modified_field_at_its_order():
    """On the warped ring: 1.068e-2 ... 1.304e-3, 1.168e-3 ... 1.921e-5, 1.900e-4 ... 3.951e-7."""
    expected = {1: (1.068e-2, 1.304e-3), 2: (1.168e-3, 1.921e-5), 3: (1.900e-4, 3.951e-7)}
    for order, (first, last) in expected.items():
        errors = []
        for count in (20, 80, 160):
            reached = iterate(step_of(DESCENT, Euler(), step=1 / count), START, count)
            follow = modified_field(DESCENT, step=1 / count, order=order)
            errors.append(float(np.linalg.norm(end(follow, START, 1.0) - reached)))
        assert (errors[0], errors[-1]) == pytest.approx((first, last), rel=6e-4)
        assert orders(errors)[-1] == pytest.approx(order, abs=0.02)


def test_the_modified_loss_is_the_second_order_field():
    step = 0.05
    points = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    flow = Problem(GradientFlow(), ModifiedLoss(RING, lr=step))
    assert torch.allclose(field_of(flow)(points), modified_field(DESCENT, step=step, order=2)(points), atol=1e-12)


def test_the_third_term_is_the_gradient_of_nothing():
    """Its Jacobian is symmetric on quadratics and nowhere else: no loss is descended to third order."""
    point = torch.tensor([[0.7, -0.4]], dtype=torch.float64)

    def skew(potential):
        flow = Problem(GradientFlow(), potential)
        second, third = (modified_field(flow, step=1.0, order=order) for order in (2, 3))
        matrices = (jacobian(second, point)[0], jacobian(lambda x: third(x) - second(x), point)[0])
        return [float((matrix - matrix.T).abs().max()) for matrix in matrices]

    assert skew(RING)[0] < 1e-12
    assert skew(RING)[1] > 1e-3
    assert max(skew(Harmonic((1.0, 3.0)))) < 1e-12


@given(st.floats(0.01, 0.9), st.floats(-1.0, 1.0))
def test_on_a_parabola_the_series_is_the_logarithms(step, x):
    """-ln(1-γh)/γ = h + γh²/2 + γ²h³/3 + ..."""
    point = torch.tensor([x], dtype=torch.float64)
    flow = Problem(GradientFlow(), Harmonic())
    for order, rate in ((1, 1.0), (2, 1 + step / 2), (3, 1 + step / 2 + step**2 / 3)):
        assert float(modified_field(flow, step=step, order=order)(point)) == pytest.approx(-rate * x, abs=1e-12)
    exact = modified_generator(GradientFlow(), Euler(), step=step, curvature=1.0)
    assert float(exact) == pytest.approx(math.log(1 - step) / step)


def test_a_step_of_a_tenth_sees_a_curvature_of_1_0536():
    exact = -float(modified_generator(GradientFlow(), Euler(), step=0.1, curvature=1.0))
    assert exact == pytest.approx(1.0536052, abs=5e-8)
    assert 1.0 + 2 * gradient_penalty(0.1) == pytest.approx(1.05)


@pytest.mark.parametrize(("lr", "ratio"), [(1e-4, 1.0194), (1e-5, 1.0019)])
def test_heavy_balls_coefficient(lr, ratio):
    """β = 0.9: what its dominant root adds to the curvature, over 2·α(1+β)/(4(1-β)²)·h²; time α/(1-β) a step."""
    step, friction = to_physical(lr, 0.9)
    per_step = slowest_rate(DampedNewton(friction), Leapfrog(), step=step, curvature=1.0) * step
    added = per_step * (1 - 0.9) / lr - 1.0
    assert added / (2 * gradient_penalty(lr, 0.9)) == pytest.approx(ratio, abs=5e-5)


@pytest.mark.slow
@pytest.mark.parametrize("tableau", [EULER, MIDPOINT, HEUN, RALSTON, KUTTA3], ids=repr)
def test_any_explicit_tableau_follows_its_modified_field_to_third_order(tableau):
    """On a game, whose field is no gradient."""
    game, start = DiracGAN(), (0.8, -0.5, 0.6, 0.9)
    plain, third = [], []
    for count in (20, 40, 80):
        reached = iterate(step_of(game, RungeKutta(tableau), step=2 / count), start, count)
        plain.append(np.linalg.norm(end(game, start, 2.0) - reached))
        follow = modified_field(game, step=2 / count, order=3, tableau=tableau)
        third.append(np.linalg.norm(end(follow, start, 2.0) - reached))
    assert orders(plain)[-1] == pytest.approx(tableau.order, abs=0.1)
    assert orders(third)[-1] == pytest.approx(3.0, abs=0.15)


@pytest.mark.parametrize("terms", [1, 2, 3, 4])
def test_the_field_read_from_iterates_is_that_of_the_formula(terms):
    """Error O(γ^K), measured against the third-order formula and, on a linear game, against ln(A)/γ."""
    point = torch.tensor([[0.9, 0.4]], dtype=torch.float64)
    game = DiracGAN("linear")
    errors = []
    for step in (0.02, 0.01):
        advance = step_of(game, SemiImplicitEuler(), step=step)
        matrix = jacobian(advance, torch.zeros(1, 2, dtype=torch.float64))[0]
        values, vectors = torch.linalg.eig(matrix)
        exact = (vectors @ torch.diag(values.log()) @ torch.linalg.inv(vectors)).real / step
        errors.append(float((iterated_field(advance, step=step, terms=terms)(point) - point @ exact.T).norm()))
    assert orders(errors)[0] == pytest.approx(terms, abs=0.1)
    if terms <= 3:
        errors = []
        for step in (0.02, 0.01):
            read = iterated_field(step_of(DESCENT, Euler(), step=step), step=step, terms=terms)
            errors.append(float((read(point) - modified_field(DESCENT, step=step, order=3)(point)).norm()))
        assert orders(errors)[0] == pytest.approx(terms, abs=0.15)


@settings(max_examples=20)
@given(st.floats(0.05, 0.5), st.floats(0.1, 3.0))
def test_the_generator_of_leapfrog_carries_exactly_from_step_to_step(step, friction):
    from thetadot.analysis import linearize

    system = DampedNewton(friction)
    generator = modified_generator(system, Leapfrog(), step=step, curvature=2.0)
    matrix = linearize(system, Leapfrog(), step=step, curvature=2.0).matrix
    assert torch.allclose(torch.from_numpy(expm(step * generator.numpy())), matrix, atol=1e-10)


def test_what_lies_on_no_flow_is_refused():
    with pytest.raises(InadmissibleValue, match=r"step=1.5 at curvature=1 multiplies a mode by -0.5, which no flow"):
        modified_generator(GradientFlow(), Euler(), step=1.5, curvature=1.0)
    with pytest.raises(IncompatiblePair, match="AdaptiveFlow is not linear"):
        modified_generator(AdaptiveFlow(1.0, 1.0), Euler(), step=0.1, curvature=1.0)
    with pytest.raises(InadmissibleValue, match="order=4 is not derived here"):
        modified_field(DESCENT, step=0.1, order=4)
    with pytest.raises(InadmissibleValue, match="terms=0 is below 1"):
        iterated_field(lambda x: x, step=0.1, terms=0)
    with pytest.raises(InadmissibleValue, match=r"momentum=1 is outside \[0, 1\)"):
        ModifiedLoss(RING, lr=0.1, momentum=1.0)


def test_a_field_without_slope_is_its_own():
    """A constant field, and one that is linear: their higher terms are zero or known."""
    constant = modified_field(torch.ones_like, step=0.1, order=3)
    assert constant(torch.zeros(2, 3)).tolist() == [[1.0] * 3] * 2
    tracked = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    value = modified_field(Problem(GradientFlow(), DoubleWell()), step=0.1, order=3)(tracked)
    (slope,) = torch.autograd.grad(value.sum(), tracked)
    assert bool(slope.isfinite().all())
