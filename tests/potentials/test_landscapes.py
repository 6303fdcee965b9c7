"""Landscapes: gradients by autograd, critical points by Newton's method."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from thetadot.analysis import describe, find_fixed_points
from thetadot.errors import InadmissibleValue
from thetadot.potentials import Potential, Quartic2d, Ring, UnevenWells, gradient_of
from thetadot.systems import GradientFlow, Problem

LANDSCAPES = [Quartic2d(), Quartic2d(0.3, -0.2), Ring(), Ring(0.3, 0.1), UnevenWells(), UnevenWells(0.0)]
SIDE = torch.linspace(-1.6, 1.6, 9, dtype=torch.float64)
STARTS = torch.cartesian_prod(SIDE, SIDE)


@pytest.mark.parametrize("potential", LANDSCAPES)
def test_its_gradient_is_autograds(potential):
    assert isinstance(potential, Potential)
    points = torch.randn(3, 5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert potential(points).shape == (3, 5)
    expected = gradient_of(potential)(points)
    assert torch.allclose(potential.gradient(points), expected, atol=1e-12)
    assert potential.gradient(points.float()).dtype == torch.float32


def critical(potential, kind):
    found = find_fixed_points(Problem(GradientFlow(), potential), STARTS)
    return torch.stack([one.point for one in found if one.kind == kind])


@settings(max_examples=10)
@given(st.one_of(st.floats(-0.45, 0.45), st.floats(0.55, 0.9), st.floats(-0.9, -0.55), st.floats(1.1, 2.0)))
def test_critical_points_of_coupled_wells_are_the_closed_forms(coupling):
    """On gradient flow a minimum is a stable node, a saddle a saddle."""
    wells = Quartic2d(coupling)
    for points, kind in ((wells.minima, "stable node"), (wells.saddles, "saddle")):
        found = critical(wells, kind)
        assert len(found) == len(points)
        nearest = (points.unsqueeze(1) - found).norm(dim=-1).min(1)
        assert float(nearest.values.max()) < 1e-7
        assert len(set(nearest.indices.tolist())) == len(points)


@given(st.floats(-2.0, 2.0))
def test_critical_points_of_tilted_wells_are_the_closed_forms(tilt):
    assume(abs(abs(tilt) - 2 / (3 * math.sqrt(3))) > 1e-3)
    wells, flow = Quartic2d(tilt=tilt), Problem(GradientFlow(), Quartic2d(tilt=tilt))
    few = abs(tilt) > 2 / (3 * math.sqrt(3))
    assert (len(wells.minima), len(wells.saddles)) == ((2, 1) if few else (4, 4))
    assert all(describe(flow, point).kind == "stable node" for point in wells.minima)
    assert all(describe(flow, point).kind == "saddle" for point in wells.saddles)
    for points in (wells.minima, wells.saddles):
        assert float(wells.gradient(points).abs().max()) < 1e-12


def test_without_coupling_the_wells_are_two_double_wells():
    assert sorted(map(tuple, Quartic2d().minima.round(decimals=12).tolist())) == [(-1, -1), (-1, 1), (1, -1), (1, 1)]
    saddles = Quartic2d().saddles
    assert torch.allclose(Quartic2d()(saddles), torch.full((4,), 0.25, dtype=torch.float64))


@pytest.mark.parametrize("coupling", [-0.5, 0.5, -1.0, 1.0])
def test_where_points_merge_none_are_named_saddles(coupling):
    assert len(Quartic2d(coupling).saddles) == 0
    assert len(Quartic2d(coupling).minima) == 2


def test_with_coupling_and_tilt_there_is_no_closed_form():
    for name in ("minima", "saddles"):
        with pytest.raises(InadmissibleValue, match=r"coupling=0\.1 with tilt=0\.2 has no critical points"):
            getattr(Quartic2d(0.1, 0.2), name)


def test_the_uneven_wells_of_the_article():
    wells = UnevenWells()
    assert wells.minima == pytest.approx((0.40692967, 3.0), abs=5e-9)
    assert wells.saddle == pytest.approx(1.84307, abs=5e-6)
    at = torch.tensor([[wells.minima[0]], [wells.minima[1]]], dtype=torch.float64)
    assert wells(at).tolist() == pytest.approx([5.53e-7, 1.62276], abs=1e-9)
    assert float(wells.gradient(torch.tensor([[wells.saddle], *at.tolist()])).abs().max()) < 1e-5
    points = torch.linspace(-1, 5, 7, dtype=torch.float64).unsqueeze(-1)
    assert torch.allclose(wells.gradient(points), 4 * points**3 - 21 * points**2 + 30 * points - 9, atol=1e-11)


@given(st.floats(0, 2 * math.pi))
def test_the_plain_ring_is_all_minima(angle):
    point = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    assert float(Ring()(point)) == pytest.approx(0.0, abs=1e-15)
    assert float(Ring().gradient(point).norm()) < 1e-15 * 10


def test_what_does_not_lie_in_the_plane_is_refused():
    for wells in (Quartic2d(), Ring()):
        for function in (wells, wells.gradient):
            with pytest.raises(InadmissibleValue, match=r"position of shape \(4, 3\) does not lie in the plane"):
                function(torch.ones(4, 3))
    for build in (Quartic2d, Ring):
        with pytest.raises(InadmissibleValue, match="tilt=nan is not finite"):
            build(tilt=math.nan)
    with pytest.raises(InadmissibleValue, match="offset=inf is not finite"):
        UnevenWells(offset=math.inf)
