"""Noise that a matrix mixes: dx_i = f_i dt + Σ_j g_ij(x) dW_j, with fewer, as many or more sources than components."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from shared.brownian import Brownian, slope

from thetadot.density import OrnsteinUhlenbeck
from thetadot.errors import InadmissibleValue, IncompatiblePair
from thetadot.integrators import SRA1, EulerMaruyama, Heun, Milstein
from thetadot.simulation import Save, simulate
from thetadot.systems import SDE

PATHS, COUNTS, FINE = 400, (16, 32, 64, 128), 1024
SPEED = 1.3


def turning(x):
    """One source turns the plane: g = (-x₁, x₀)."""
    return SPEED * torch.stack([-x[:, 1:], x[:, :1]], 1)


def lifting(x):
    """Heisenberg's group: x₂ gathers the area that two Brownian motions sweep."""
    one, zero = torch.ones_like(x[:, 0]), torch.zeros_like(x[:, 0])
    rows = [[one, zero], [zero, one], [-x[:, 1], x[:, 0]]]
    return torch.stack([torch.stack(row, -1) for row in rows], 1)


TURN = SDE(lambda x: 0 * x, turning, "stratonovich", sources=1)
LIFT = SDE(lambda x: 0 * x, lifting, sources=2)


def rms(x):
    return float(x.square().sum(-1).mean().sqrt())


@pytest.fixture(scope="module")
def path():
    return Brownian(torch.ones(PATHS, 1, dtype=torch.float64), 1.0, FINE, key=5)


@pytest.mark.parametrize(("rule", "order"), [(EulerMaruyama(), 0.5), (Heun(), 1.0)], ids=repr)
def test_one_source_turns_the_plane_by_w(rule, order, path):
    """x = R(sW) x(0): a single source commutes with itself, so that Heun has order 1."""
    start = torch.tensor([[1.0, 0.5]], dtype=torch.float64).repeat(PATHS, 1)
    angle = SPEED * path.end
    exact = torch.cat([angle.cos() - 0.5 * angle.sin(), angle.sin() + 0.5 * angle.cos()], -1)
    system = TURN if rule == Heun() else TURN.in_ito()
    errors = [rms(path.walk(rule, system, {"position": start}, count)["position"] - exact) for count in COUNTS]
    assert errors[-1] < 0.2
    assert abs(slope([1 / count for count in COUNTS], errors) - order) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("rule", [EulerMaruyama(), Heun()], ids=repr)
def test_sources_that_do_not_commute_leave_the_declared_half_order(rule):
    """The area is unknown to the increments, whoever steps: half an order. Both calculi agree on it."""
    two = Brownian(torch.ones(PATHS, 2, dtype=torch.float64), 1.0, FINE, key=7)
    start = {"position": torch.zeros(PATHS, 3, dtype=torch.float64)}
    system = LIFT if rule == EulerMaruyama() else LIFT.in_stratonovich()
    exact = two.walk(EulerMaruyama(), LIFT, start, FINE)["position"]
    errors = [rms(two.walk(rule, system, start, count)["position"] - exact) for count in (8, 16, 32, 64)]
    assert abs(slope([1 / count for count in (8, 16, 32, 64)], errors) - rule.general_order.strong) < 0.1


def test_levys_area_has_its_variance():
    """x₂ = ∫ x₀dW₁ - x₁dW₀: E x₂² = t², with n steps t²(1-1/n); E x₂⁴ = 5t⁴."""
    found = simulate(LIFT, EulerMaruyama(), torch.zeros(3), paths=100_000, time=1.0, step=1 / 64, key=2)
    area = found.final[:, 2].double()
    for power, expected in ((2, 1 - 1 / 64), (4, 5.0)):
        sample = area**power
        spread = 5 * float(sample.std()) / math.sqrt(len(sample))
        assert abs(float(sample.mean()) - expected) < spread + (0.2 if power == 4 else 0)


def test_the_calculi_differ_by_how_each_source_changes_along_itself():
    """½ Σ_jk g_kj ∂_k g_ij: for the turn -s²x/2; for the area nothing, as x₂ moves neither source."""
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(TURN.in_ito().f(x), -0.5 * SPEED**2 * x, atol=1e-14)
    assert torch.allclose(TURN.in_ito().in_stratonovich().f(x), 0 * x, atol=1e-14)
    y = torch.cat([x, x[:, :1]], -1)
    assert torch.allclose(LIFT.in_stratonovich().f(y), 0 * y, atol=1e-14)


def test_diagonal_noise_that_depends_on_another_component_changes_along_its_own_alone():
    """dx = v dW₁, dv = kv dW₂ (Heston's): ½ g_i ∂_i g_i is (0, k²v/2), although ∂_v of the first is 1."""
    system = SDE(lambda x: 0 * x, lambda x: torch.stack([x[:, 1], 0.3 * x[:, 1]], -1))
    assert torch.allclose(system.in_stratonovich().f(torch.tensor([[1.0, 2.0]])), torch.tensor([[0.0, -0.09]]))


@given(data=some.data(), dim=some.integers(1, 3), sources=some.integers(1, 4))
def test_the_change_of_calculus_is_that_of_the_definition(data, dim, sources):
    numbers = some.floats(-1, 1, width=32)
    weight = torch.tensor(data.draw(some.lists(numbers, min_size=dim * sources * dim, max_size=dim * sources * dim)))
    weight = weight.double().view(dim, sources, dim)
    x = torch.tensor([data.draw(some.lists(numbers, min_size=dim, max_size=dim))], dtype=torch.float64)

    def g(x):
        return torch.sin(torch.einsum("ijk,pk->pij", weight, x))

    slope_of = torch.autograd.functional.jacobian(lambda x: g(x[None])[0], x[0])  # (dim, sources, dim)
    expected = 0.5 * torch.einsum("kj,ijk->i", g(x)[0], slope_of)
    found = SDE(lambda x: 0 * x, g, "stratonovich", sources=sources).in_ito().f(x)
    assert torch.allclose(found[0], expected, atol=1e-12)


@pytest.mark.parametrize("columns", [1, 2, 4])
@pytest.mark.parametrize("compiled", [True, False])
def test_correlated_noise_has_the_ornstein_uhlenbeck_law(columns, compiled):
    """dx = -Ax dt + G dW: covariance of Lyapunov's equation with GGᵀ, the same for any number of columns of G."""
    matrix = torch.tensor([[1.0, 0.4], [-0.2, 0.7]], dtype=torch.float64)
    mixing = torch.randn(2, columns, generator=torch.Generator().manual_seed(columns), dtype=torch.float64)
    law = OrnsteinUhlenbeck(-matrix, mixing)
    start = torch.zeros(2, dtype=torch.float64)
    found = simulate(
        SDE(lambda x: -x @ matrix.T, mixing), SRA1(), start, paths=40_000, time=1.0, step=0.05, key=4, compile=compiled
    ).final
    covariance = found.T @ found / len(found)
    expected = law.covariance(1.0)
    spread = torch.sqrt((expected.diag()[:, None] * expected.diag() + expected**2) / len(found))
    assert bool(((covariance - expected).abs() < 4.5 * spread + 1e-3 * expected.diag().max()).all())


def test_a_vector_of_factors_shakes_each_component_by_its_own():
    found = simulate(
        SDE(lambda x: 0 * x, torch.tensor([0.5, 2.0])), Milstein(), torch.zeros(2), paths=50_000, time=1.0, step=0.5
    ).final.double()
    assert torch.allclose(found.var(0), torch.tensor([0.25, 4.0], dtype=torch.float64), rtol=0.03)
    assert abs(float(torch.corrcoef(found.T)[0, 1])) < 0.02


def test_the_noise_of_a_path_does_not_depend_on_the_paths_beside():
    def last(paths):
        run = {"time": 1.0, "step": 0.1, "compile": True, "key": 1}
        return simulate(LIFT, EulerMaruyama(), torch.zeros(3), paths=paths, **run).final

    assert torch.equal(last(100), last(1000)[:100])


@pytest.mark.parametrize("rule", [EulerMaruyama(), Heun()], ids=repr)
def test_the_declared_weak_order_is_that_of_the_second_moment(rule):
    """Turning keeps |x|², a step multiplies its mean by 1 + O(γ²): one step, over the nodes of Gauss and Hermite."""
    nodes, weights = (torch.from_numpy(each) for each in np.polynomial.hermite_e.hermegauss(8))
    start = torch.tensor([[1.0, 0.0]], dtype=torch.float64).repeat(len(nodes), 1)
    system = TURN if rule == Heun() else TURN.in_ito()
    counts, errors = (64, 128, 256, 512), []
    for count in counts:
        scales, state = rule.prepare(system, 1.0 / count), {"position": start}
        for stage in range(rule.stages):
            state = rule.advance(scales, state, start, lambda: nodes[:, None], stage)
        factor = float((weights * state["position"].square().sum(-1)).sum() / weights.sum())
        errors.append(abs(factor**count - 1.0))
    assert errors[0] > 1e-3
    assert abs(slope([1 / count for count in counts], errors) - rule.general_order.weak) < 0.02


def test_energy_is_kept_by_a_noise_across_it():
    """Turning leaves |x| alone in Stratonovich's sense; Heun to (1 + z⁴/4) a step, z = s√γξ."""
    count, step = 1000, 1e-3
    found = simulate(
        TURN, Heun(), torch.tensor([1.0, 0.0], dtype=torch.float64), paths=2000, time=1.0, step=step,
        save=Save(lambda _, v: v["position"].square().sum(-1).mean(), count=1),
    ).final  # fmt: skip
    expected = (1.0 + 3.0 * SPEED**4 * step**2 / 4.0) ** count
    assert abs(float(found) - expected) < 2e-4


@pytest.mark.parametrize(("rule", "why"), [(Milstein(), "diagonal"), (SRA1(), "additive")], ids=repr)
def test_rules_for_less_refuse(rule, why):
    with pytest.raises(
        IncompatiblePair, match=f"is for {why} noise, .* mixes several sources .* EulerMaruyama or Heun"
    ):
        rule.prepare(LIFT, 0.1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SDE(lambda x: x, 1.0, sources=2), "sources=2 does not go with this g, which has none"),
        (lambda: SDE(lambda x: x, torch.ones(2, 3), sources=2), "which has 3"),
        (lambda: SDE(lambda x: x, torch.ones(2, 3, 4)), r"shape \(2, 3, 4\)"),
        (lambda: SDE(lambda x: x, torch.ones(2, 3, dtype=torch.int64)), "int64"),
        (lambda: SDE(lambda x: x, lifting, sources=0), "sources=0 is not a count"),
        (lambda: SDE(lambda x: x, lifting, sources=True), "sources=True is not a count"),
        (
            lambda: simulate(
                SDE(lambda x: x, lambda x: x[..., None], sources=2), EulerMaruyama(), torch.ones(3), time=1.0, step=0.1
            ),
            r"gave shape \(1, 3, 1\) .* and not \(1, 3, 2\)",
        ),
        (lambda: SDE(lambda x: x, "1.0"), "is not a number"),
        (lambda: SDE(lambda x: x, math.nan), "is not a number"),
        (
            lambda: simulate(SDE(lambda x: x, lifting, sources=3), EulerMaruyama(), torch.zeros(3), time=1.0, step=0.1),
            r"noise on position of SDE gave shape \(1, 3, 2\) .* and not \(1, 3, 3\)",
        ),
        (
            lambda: simulate(SDE(lambda x: x, lambda x: x, sources=3), EulerMaruyama(), torch.zeros(4), time=1, step=1),
            r"and not \(1, 4, 3\)",
        ),
        (
            lambda: simulate(SDE(lambda x: x, lifting), EulerMaruyama(), torch.zeros(3), time=1.0, step=0.1),
            "does not broadcast",
        ),
    ],
)
def test_what_does_not_fit_is_said(make, said):
    with pytest.raises(InadmissibleValue, match=said):
        make()
