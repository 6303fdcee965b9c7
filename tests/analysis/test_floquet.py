"""One period of a linear motion: against exponentials, a solver, and Magnus's own order."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from thetadot.analysis import floquet, stability_chart
from thetadot.analysis.floquet import _exponential, _ordered_product
from thetadot.errors import InadmissibleValue, NotConverged

HALF = torch.tensor([[0.0, 1.0], [-2.0, -0.3]], dtype=torch.float64)
TURN = torch.tensor([[0.2, -1.0], [0.4, 0.1]], dtype=torch.float64)


def wavering(time):
    return HALF + torch.cos(2 * math.pi * time) * TURN + torch.sin(4 * math.pi * time) * TURN.T


@settings(max_examples=20)
@given(st.lists(st.floats(-1, 1), min_size=9, max_size=9), st.floats(0.1, 2.0))
def test_of_a_constant_matrix_it_is_the_exponential(entries, period):
    matrix = torch.tensor(entries, dtype=torch.float64).reshape(3, 3)
    once = floquet(lambda _: matrix, period)
    assert np.allclose(once.monodromy.numpy(), expm(period * matrix.numpy()), rtol=0, atol=1e-12)


@given(st.floats(-2.0, 2.0), st.floats(-1.0, 1.0))
def test_in_one_dimension_the_multiplier_is_the_exponential_of_the_mean(mean, wave):
    once = floquet(lambda t: (mean + wave * torch.cos(t)).reshape(1, 1), 2 * math.pi)
    assert float(once.trace) == pytest.approx(math.exp(2 * math.pi * mean), rel=1e-9)
    assert float(once.exponents.real) == pytest.approx(mean, abs=1e-9)
    if abs(mean) > 1e-6:
        assert bool(once.stable) == (mean < 0)


def test_it_is_a_solvers_to_its_own_error():
    once = floquet(wavering, 1.0)

    def slope(time, y):
        return wavering(torch.tensor(time, dtype=torch.float64)).numpy() @ y

    for column in (0, 1):
        start = [float(column == 0), float(column == 1)]
        solved = solve_ivp(slope, (0, 1), start, method="DOP853", rtol=3e-14, atol=1e-15).y[:, -1]
        assert solved == pytest.approx(once.monodromy[:, column].tolist(), abs=3 * once.error)
    assert 1e-13 < once.error < 1e-11


def test_the_product_of_exponentials_is_of_order_6():
    fine = _ordered_product(wavering, 1.0, 512)
    errors = [float((_ordered_product(wavering, 1.0, steps) - fine).norm()) for steps in (8, 16, 32)]
    assert [math.log2(a / b) for a, b in itertools.pairwise(errors)] == pytest.approx([6, 6], abs=0.4)


def test_the_determinant_is_the_exponential_of_the_trace():
    """Liouville: ∫ tr A = -0.3 over a period, for the waves cancel."""
    determinant = torch.linalg.det(floquet(wavering, 1.0).monodromy)
    assert float(determinant) == pytest.approx(math.exp(-0.3), rel=1e-12)


@pytest.mark.parametrize("size", [1e-6, 1e-2, 0.3, 1.0, 5.0])
def test_its_exponential_is_scipys(size):
    matrices = size * torch.randn(20, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = np.stack([expm(matrix) for matrix in matrices.numpy()])
    alone = torch.stack([_exponential(matrix) for matrix in matrices])
    for ours in (_exponential(matrices), alone):
        assert np.allclose(ours.numpy(), expected, rtol=1e-12, atol=1e-13 * np.abs(expected).max())


def test_multipliers_do_not_depend_on_where_the_period_begins():
    first = floquet(wavering, 1.0).multipliers
    later = floquet(lambda t: wavering(t + 0.37), 1.0).multipliers
    assert torch.allclose(first.abs().sort().values, later.abs().sort().values, atol=1e-10)


def test_a_batch_is_its_members():
    shifts = torch.linspace(0, 1, 5, dtype=torch.float64)
    together = floquet(lambda t: HALF + torch.cos(t) * shifts.reshape(5, 1, 1) * TURN, 2 * math.pi)
    assert together.stable.shape == (5,)
    for index, shift in enumerate(shifts):
        alone = floquet(lambda t: HALF + torch.cos(t) * shift * TURN, 2 * math.pi)
        assert torch.allclose(together.monodromy[index], alone.monodromy, atol=1e-10)


def test_what_has_no_period_is_refused():
    with pytest.raises(InadmissibleValue, match="period=0 is not positive"):
        floquet(wavering, 0.0)
    with pytest.raises(InadmissibleValue, match=r"coefficients of shape \(2, 3\) are no square matrix"):
        floquet(lambda _: torch.zeros(2, 3), 1.0)
    with pytest.raises(InadmissibleValue, match="a coefficient at time 0 is not finite"):
        floquet(lambda _: torch.full((1, 1), math.inf), 1.0)
    with pytest.raises(InadmissibleValue, match=r"x of shape \(\) and y of \(2,\) are not rows"):
        stability_chart(lambda t, x, y: x, 1.0, torch.tensor(1.0), torch.ones(2))


def test_coefficients_that_blow_up_are_said_not_to_be_resolved():
    with pytest.raises(NotConverged, match="was not resolved to 1e-11"):
        floquet(lambda t: (1.0 / (t - 0.4321)).abs().reshape(1, 1) ** 3, 1.0)
