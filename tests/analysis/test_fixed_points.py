"""Where fields stand still, and of what kind that is."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thetadot.analysis import classify, describe, find_fixed_points, phase_portrait
from thetadot.errors import InadmissibleValue
from thetadot.potentials import DoubleWell
from thetadot.systems import ODE, DampedNewton, DiracGAN, InvertedPendulum, Problem

PLANE = torch.cartesian_prod(*2 * [torch.linspace(-2.0, 2.0, 9, dtype=torch.float64)])


def linear(matrix, offset=0.0):
    matrix = torch.tensor(matrix, dtype=torch.float64)
    return lambda x: (x - offset) @ matrix.T


@pytest.mark.parametrize(
    ("matrix", "kind"),
    [
        ([[-1, 0], [0, -2]], "stable node"),
        ([[1, 1], [0, 2]], "unstable node"),
        ([[-1, 5], [-5, -1]], "stable focus"),
        ([[1, 5], [-5, 1]], "unstable focus"),
        ([[1, 0], [0, -2]], "saddle"),
        ([[0, 3], [-3, 0]], "centre"),
        ([[0, 1], [0, 0]], "degenerate"),
        ([[-1, 0], [0, 0]], "degenerate"),
        ([[-1, 0, 0], [0, 0, 2], [0, -2, 0]], "degenerate"),
        ([[-1, 0, 0], [0, 1, 2], [0, -2, 1]], "saddle"),
    ],
)
def test_kinds(matrix, kind):
    one = describe(linear(matrix), torch.zeros(len(matrix), dtype=torch.float64))
    assert (one.kind, one.residual) == (kind, 0.0)
    assert one.stable == kind.startswith("stable")
    assert bool((one.eigenvalues.real.diff() <= 0).all())


@given(st.lists(st.floats(-2, 2), min_size=4, max_size=4), st.floats(-1, 1), st.floats(-1, 1))
def test_a_linear_field_has_one_and_it_moves_along(entries, x, y):
    a, b, c, d = entries
    if abs(a * d - b * c) < 0.1:
        return
    offset = torch.tensor([x, y], dtype=torch.float64)
    found = find_fixed_points(linear([[a, b], [c, d]], offset), PLANE)
    assert len(found) == 1
    assert torch.allclose(found[0].point, offset, atol=1e-8)
    assert found[0].kind == classify(torch.linalg.eigvals(torch.tensor([[a, b], [c, d]], dtype=torch.float64)))


@settings(max_examples=20)
@given(st.lists(st.integers(-8, 8), min_size=1, max_size=5, unique=True))
def test_all_roots_of_a_polynomial_are_found(roots):
    def field(x):
        value = torch.ones_like(x)
        for root in roots:
            value = value * (x - root / 4)
        return value

    starts = torch.linspace(-3, 3, 61, dtype=torch.float64).unsqueeze(-1)
    found = [one.point.item() for one in find_fixed_points(field, starts)]
    assert found == pytest.approx([root / 4 for root in sorted(roots)], abs=1e-7)


def test_a_double_root_is_found_once_and_degenerate():
    starts = torch.linspace(-1, 1, 8, dtype=torch.float64).unsqueeze(-1)
    found = find_fixed_points(lambda x: x * x, starts, separation=1e-3)
    assert [one.kind for one in found] == ["degenerate"]
    assert abs(found[0].point.item()) < 1e-4


def test_the_ball_in_the_double_well():
    """Foci at the minima, a saddle between; without friction centres."""
    expected = [(-1.0, "stable focus"), (0.0, "saddle"), (1.0, "stable focus")]
    found = find_fixed_points(Problem(DampedNewton(0.5), DoubleWell()), PLANE)
    assert [(round(one.point[0].item(), 9) + 0.0, one.kind) for one in found] == expected
    found = find_fixed_points(Problem(DampedNewton(0.0), DoubleWell()), PLANE)
    assert [one.kind for one in found] == ["centre", "saddle", "centre"]
    assert found[0].eigenvalues.imag.abs().tolist() == pytest.approx([math.sqrt(2)] * 2)


def test_of_a_game_and_of_a_field_at_a_time():
    (origin,) = find_fixed_points(DiracGAN("linear", penalty="gp", weight=0.1), torch.randn(5, 4).double())
    assert origin.kind == "stable focus"
    assert float(origin.point.norm()) < 1e-8
    pendulum = InvertedPendulum(frequency=1.0, height=0.0, gravity=1.0)
    kinds = [one.kind for one in find_fixed_points(pendulum, torch.tensor([[0.1, 0.0], [3.0, 0.0]]).double())]
    assert kinds == ["saddle", "centre"]


def test_where_there_is_none_none_is_found():
    assert find_fixed_points(lambda x: x * x + 1.0, torch.linspace(-2, 2, 9).double().unsqueeze(-1)) == ()


def test_starts_that_run_off_do_not_hide_the_others():
    """√ is not a number below zero: those starts end nowhere."""
    starts = torch.tensor([[-1.0], [0.5], [3.0]], dtype=torch.float64)
    (found,) = find_fixed_points(lambda x: x.sqrt() - 1.0, starts)
    assert found.point.item() == pytest.approx(1.0, abs=1e-9)


def test_starts_of_another_shape_are_refused():
    for starts in (torch.zeros(3), torch.zeros(0, 2)):
        with pytest.raises(InadmissibleValue, match=r"are not \(m, n\) with m >= 1"):
            find_fixed_points(lambda x: x, starts)


def test_lorenz_fixed_points_are_found_in_either_dtype():
    """0 and (±√72, ±√72, 27)."""

    def lorenz(x):
        a, b, c = x.unbind(-1)
        return torch.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c], -1)

    starts = torch.cartesian_prod(*3 * [torch.linspace(-15.0, 15.0, 4, dtype=torch.float64)])
    root = math.sqrt(72)
    wanted = torch.tensor([[-root, -root, 27.0], [0.0, 0.0, 0.0], [root, root, 27.0]], dtype=torch.float64)
    for dtype, error in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
        found = find_fixed_points(lorenz, starts.to(dtype))
        assert len(found) == 3
        points = torch.stack([each.point for each in found])
        points = points[points[:, 0].argsort()]
        assert torch.allclose(points, wanted.to(dtype), atol=error, rtol=0)


@pytest.mark.parametrize("power", [2, 3, 5])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_root_of_any_order_is_found_once(power, dtype):
    starts = torch.linspace(-2.0, 2.0, 81, dtype=dtype).unsqueeze(-1)
    (found,) = find_fixed_points(lambda x: -(x**power), starts)
    assert found.kind == "degenerate"
    assert abs(found.point.item()) < {2: 2e-3, 3: 3e-2, 5: 2e-1}[power]


def test_a_multiple_root_beside_a_simple_direction_and_simple_roots_beside_it():
    """(x³(x - 1)(x + ½), -y): a threefold root between two saddles."""
    field = lambda x: torch.stack([x[:, 0] ** 3 * (x[:, 0] - 1) * (x[:, 0] + 0.5), -x[:, 1]], -1)
    found = find_fixed_points(field, PLANE)
    assert [round(one.point[0].item(), 2) + 0.0 for one in found] == [-0.5, 0.0, 1.0]
    assert [one.kind for one in found] == ["saddle", "degenerate", "saddle"]  # slopes 3/16, 0, 3/2


@pytest.mark.parametrize("gap", [1e-2, 1e-3, 1e-4, 5e-5])
def test_simple_roots_however_near_stay_apart(gap):
    starts = torch.linspace(-1.0, 1.0, 81, dtype=torch.float64).unsqueeze(-1)
    found = find_fixed_points(lambda x: x * (x - gap), starts, tolerance=1e-14)
    assert [one.point.item() for one in found] == pytest.approx([0.0, gap], abs=1e-9)
    assert [one.kind for one in found] == ["stable node", "unstable node"]


def affine(dtype):
    """f(x) = (x₁ - ½, -2(x₂ + ¼)) as a module: a saddle at (½, -¼), numbers that every dtype has."""
    module = torch.nn.Linear(2, 2).to(dtype)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, -2.0]]))
        module.bias.copy_(torch.tensor([-0.5, -0.5]))
    return module


@pytest.mark.parametrize("inner", [torch.float32, torch.float64])
@pytest.mark.parametrize("outer", [torch.float32, torch.float64])
@pytest.mark.parametrize("wrap", [lambda m: m, ODE, lambda m: lambda x: x @ m.weight.T + m.bias])
def test_a_field_that_holds_tensors_is_asked_in_their_dtype(inner, outer, wrap):
    field = wrap(affine(inner))
    (found,) = find_fixed_points(field, PLANE.to(outer))
    assert found.point.tolist() == pytest.approx([0.5, -0.25], abs=1e-6)
    assert (found.kind, found.point.dtype) == ("saddle", inner)
    assert describe(field, PLANE[0].to(outer)).kind == "saddle"
    portrait = phase_portrait(field, (-1.0, 1.0), (-1.0, 1.0), points=11)
    assert portrait.field.dtype == portrait.x.dtype == inner
    assert [one.kind for one in portrait.fixed_points] == ["saddle"]
    assert all(bool((line[:, 0] - 0.5).abs().max() < 1e-4) for line in portrait.separatrices)


def test_a_field_that_answers_in_float32_is_known_to_no_more():
    module = affine(torch.float32)
    (found,) = find_fixed_points(lambda x: module(x.float()), PLANE)
    assert found.point.dtype == torch.float32
