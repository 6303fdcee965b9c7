"""Cells: integrals, histograms and starts against sums by hand."""

import math

import pytest
import torch

from thetadot.density import Grid
from thetadot.errors import InadmissibleValue


def test_a_smooth_function_is_integrated_to_rounding():
    grid = Grid(((-8.0, 8.0), (-6.0, 6.0)), (64, 48))
    x, y = grid.points.unbind(-1)
    assert float(grid.integrate(torch.exp(-x * x - 2 * y * y))) == pytest.approx(math.pi / math.sqrt(2), rel=1e-14)


def test_a_periodic_function_is_integrated_to_rounding():
    grid = Grid((0.0, 2 * math.pi), 24, periodic=True)
    bessel = float(torch.special.i0(torch.tensor(2.0, dtype=torch.float64)))
    assert float(grid.integrate(torch.exp(2 * grid.axes[0].cos()))) == pytest.approx(2 * math.pi * bessel, rel=1e-13)


def test_a_histogram_counts_what_lies_in_each_cell():
    grid = Grid(((0.0, 2.0), (0.0, 3.0)), (4, 6), periodic=(True, False))
    samples = torch.tensor([[0.1, 0.1], [2.1, 0.1], [-1.9, 0.1], [1.9, 2.9], [1.0, 3.5]])
    found = grid.histogram(samples) * grid.volume * len(samples)
    expected = torch.zeros(4, 6, dtype=torch.float64)
    expected[0, 0], expected[3, 5] = 3, 1  # the first axis wraps; the last sample is outside
    assert torch.equal(found, expected)


def test_starts_have_mass_one_and_their_moments():
    grid = Grid(((-3.0, 3.0), (-2.0, 4.0)), (200, 300))
    density = grid.normal((0.5, 1.0), (0.3, 0.2))
    mean = grid.integrate(density[None] * grid.points.movedim(-1, 0))
    assert float(grid.integrate(density)) == pytest.approx(1, abs=1e-14)
    assert mean.tolist() == pytest.approx([0.5, 1.0], abs=1e-12)
    assert float(grid.integrate(density * (grid.points[..., 1] - 1) ** 2)) == pytest.approx(0.04, rel=1e-10)
    point = grid.delta((0.5, 1.0))
    assert int((point > 0).sum()) == 1
    assert float(grid.integrate(point)) == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Grid((1.0, 1.0)), "no length"),
        (lambda: Grid((0.0, math.inf)), "no length"),
        (lambda: Grid(((0.0, 1.0),) * 4), "1, 2 or 3 sides"),
        (lambda: Grid((0.0, 1.0), 3), "whole number >= 4"),
        (lambda: Grid(((0.0, 1.0),) * 2, (8, 8, 8)), "for 2 sides"),
        (lambda: Grid(((0.0, 1.0),) * 3, 512), "more than 2²⁶"),
        (lambda: Grid((0.0, 1.0)).delta(2.0), "outside the box"),
        (lambda: Grid((0.0, 1.0)).normal(9.0, 0.1), "outside the box"),
        (lambda: Grid((0.0, 1.0), 8).normal(0.5, 0.01), "narrower than a cell"),
        (lambda: Grid((0.0, 1.0)).histogram(torch.zeros(3, 2)), r"Pass \(..., 1\)"),
        (lambda: Grid((0.0, 1.0)).require_density(torch.ones(127)), "grid's"),
        (lambda: Grid((0.0, 1.0)).require_density(torch.full((128,), 2.0)), "not normalised"),
        (lambda: Grid((0.0, 1.0), 4).require_density(torch.tensor([-1.0, 1.0, 2.0, 2.0])), "negative somewhere"),
        (lambda: Grid((0.0, 1.0), 4).require_density(torch.ones(4, dtype=torch.int64)), "not real"),
    ],
)
def test_what_is_no_grid_or_density_is_refused_in_one_sentence(make, said):
    with pytest.raises(InadmissibleValue, match=said):
        make()
