"""Two species: fixed points, eigenvalues, who lives on, and where the plane is divided."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from shared.motion import end, solve

from thetadot.analysis import basins, describe, field_of, find_fixed_points, phase_portrait, step_of
from thetadot.errors import InadmissibleValue
from thetadot.integrators import Euler
from thetadot.systems import Competition

RIVALS = Competition(growth=(1.0, 1.5), capacity=(1.0, 1.2), harm=(2.0, 2.5))
positive = st.floats(0.2, 3.0)


def test_fixed_points_and_eigenvalues_of_the_example():
    species = Competition()
    assert species.fixed_points.tolist() == [
        pytest.approx(point, abs=1e-9) for point in ((0, 0), (500, 0), (0, 1000 / 3), (375, 250))
    ]
    assert species.eigenvalues.tolist() == [
        pytest.approx(pair, abs=5e-8) for pair in ((0.1, 0.3), (-0.1, 0.2), (-0.3, 0.0666667), (-0.2366025, -0.0633975))
    ]


def test_newton_finds_the_same_and_names_them():
    side = torch.linspace(-50.0, 600.0, 7, dtype=torch.float64)
    found = find_fixed_points(Competition(), torch.cartesian_prod(side, side))
    species = Competition()
    order = [0, 2, 3, 1]
    assert torch.allclose(torch.stack([one.point for one in found]), species.fixed_points[order], atol=1e-8)
    for one, values in zip(found, species.eigenvalues[order], strict=True):
        assert torch.allclose(one.eigenvalues.real.sort().values, values, atol=1e-10)
    assert [one.kind for one in found] == ["unstable node", "saddle", "stable node", "saddle"]


@given(*(st.tuples(positive, positive) for _ in range(3)))
def test_eigenvalues_are_the_jacobians_for_any_two_species(growth, capacity, harm):
    species = Competition(growth, capacity, harm)
    for point, values in zip(species.fixed_points, species.eigenvalues, strict=True):
        one = describe(species, point)
        assert one.residual < 1e-9 * max(*capacity, *growth, *harm) ** 2 + 1e-9
        assert torch.allclose(one.eigenvalues.real.sort().values, values, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
@settings(max_examples=15)
@given(*(st.tuples(positive, positive) for _ in range(3)))
def test_both_live_on_exactly_where_the_criterion_says(growth, capacity, harm):
    species = Competition(growth, capacity, harm)
    margins = [growth[1] - capacity[0] * harm[1], growth[0] - capacity[1] * harm[0]]
    assume(min(abs(margin) for margin in margins) > 0.1)
    last = end(species, (0.4 * capacity[0], 0.3 * capacity[1]), 300.0, rtol=1e-8)
    assert bool((last > 1e-6).all()) == species.coexist
    if species.coexist:
        assert last == pytest.approx(species.coexistence, rel=1e-5)


def test_the_second_species_overshoots():
    """It is at 289.656 at t = 14.87, its peak 289.658 comes at 14.977, and both end at (375, 250)."""
    solved = solve(Competition(), (100.0, 150.0), 1000.0, dense_output=True)
    assert solved.sol(14.87)[1] == pytest.approx(289.656, abs=5e-4)
    assert solved.sol(14.97687)[1] == pytest.approx(289.658379, abs=1e-5)
    peak = torch.from_numpy(solved.sol(14.97687135)).unsqueeze(0)
    assert float(field_of(Competition())(peak)[0, 1]) == pytest.approx(0.0, abs=1e-6)
    assert solved.y[:, -1] == pytest.approx([375.0, 250.0], abs=1e-6)


def test_the_portrait_of_rivals():
    portrait = phase_portrait(RIVALS, (-0.1, 1.4), (-0.1, 1.4), points=61, names=("x₁", "x₂"))
    assert [one.kind for one in portrait.fixed_points] == ["unstable node", "stable node", "saddle", "stable node"]
    field = field_of(RIVALS)
    for index, line in enumerate(portrait.nullclines):
        distance = (line[:, index].abs() * 0 + _line(line, index)).abs().minimum(line[:, index].abs())
        assert float(distance.max()) < 1e-3  # x_i = 0, or the straight line
        assert float(field(line)[:, index].abs().max()) < 1e-2
    assert len(portrait.separatrices) == 2
    saddle = torch.tensor(RIVALS.coexistence, dtype=torch.float64)
    for line in portrait.separatrices:
        assert torch.allclose(line[0], saddle, atol=1e-9)
        # on its two sides different species live on
        middle = line[len(line) // 2]
        tangent = line[len(line) // 2 + 1] - middle
        normal = 0.02 * torch.stack((-tangent[1], tangent[0])) / tangent.norm()
        sides = torch.stack((middle + normal, middle - normal))
        labels = basins(step_of(RIVALS, Euler(), step=0.1), sides, RIVALS.fixed_points, steps=2000, radius=0.05)
        assert sorted(labels.tolist()) == [1, 2]


def _line(points, index):
    """How far 1 - x_i/N_i - a_i x_j/r_i is from zero."""
    other = points[:, 1 - index]
    return 1 - points[:, index] / RIVALS.capacity[index] - RIVALS.harm[index] * other / RIVALS.growth[index]


def test_a_portrait_can_be_drawn():
    pytest.importorskip("matplotlib")
    ax = phase_portrait(RIVALS, (-0.1, 1.4), (-0.1, 1.4), points=31, names=("first", "second")).plot()
    assert ax.get_xlabel() == "first"
    assert len(ax.lines) == 4 + 2
    assert ax.get_xlim() == pytest.approx((-0.1, 1.4))


def test_symmetric_rivals_are_divided_by_the_diagonal():
    rivals = Competition((1.0, 1.0), (1.0, 1.0), (2.0, 2.0))
    side = torch.linspace(0.05, 1.0, 8, dtype=torch.float64)
    starts = torch.stack(torch.meshgrid(side, side, indexing="ij"), -1)
    labels = basins(step_of(rivals, Euler(), step=0.05), starts, rivals.fixed_points, steps=4000, radius=0.05)
    above = starts[..., 1] > starts[..., 0]
    on = starts[..., 1] == starts[..., 0]
    assert bool((labels[above] == 2).all())
    assert bool((labels[~above & ~on] == 1).all())
    assert bool((labels[on] == 3).all())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"growth": (0.1, -0.3)}, "growth=-0.3 is not positive"),
        ({"capacity": (0.0, 1.0)}, "capacity=0 is not positive"),
        ({"harm": (math.inf, 1.0)}, "harm=inf is not"),
        ({"harm": (1.0, 1.0, 1.0)}, "harm has 3 numbers"),
    ],
)
def test_settings_out_of_range_are_refused(options, said):
    with pytest.raises(InadmissibleValue, match=said):
        Competition(**options)
    with pytest.raises(InadmissibleValue, match=r"position of shape \(1, 3\) is not of two species"):
        Competition().drift("position", {"position": torch.ones(1, 3)})
