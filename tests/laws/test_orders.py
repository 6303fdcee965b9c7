"""A tableau's order: by the order conditions, exactly, and by the error of its steps."""

import math
from fractions import Fraction
from functools import cache
from itertools import combinations_with_replacement

import pytest
import torch
from shared.ball import FRICTION, START, double_well, place

from thetadot.analysis import linearize, measured_order, spectral_radius, trajectory
from thetadot.errors import InadmissibleValue, IncompatiblePair
from thetadot.integrators import RungeKutta
from thetadot.integrators.tableaus import (
    BOGACKI_SHAMPINE,
    DORMAND_PRINCE,
    HEUN,
    KUTTA3,
    MIDPOINT,
    RALSTON,
    RK4,
    TABLEAUS,
    Tableau,
)
from thetadot.optim import Flow
from thetadot.systems import ODE, DampedNewton, GradientFlow, Kramers
from thetadot.systems.base import PerStep

METHODS = [RungeKutta(tableau) for tableau in TABLEAUS]
by_name = pytest.mark.parametrize("rule", METHODS, ids=lambda rule: rule.tableau.name)


# Rooted trees: a tree is the sorted tuple of its root's branches.


@cache
def trees(order):
    """All rooted trees of ``order`` nodes."""
    if order == 1:
        return ((),)
    found = set()
    for parts in partitions(order - 1):
        for branches in forests(parts):
            found.add(tuple(sorted(branches, key=repr)))
    return tuple(sorted(found, key=repr))


def partitions(total, most=None):
    most = total if most is None else most
    if total == 0:
        yield ()
    for part in range(min(total, most), 0, -1):
        for rest in partitions(total - part, part):
            yield (part, *rest)


def forests(parts):
    if not parts:
        yield ()
        return
    size, count = parts[0], parts.count(parts[0])
    for chosen in combinations_with_replacement(trees(size), count):
        for rest in forests(parts[count:]):
            yield (*chosen, *rest)


def nodes(tree):
    return 1 + sum(map(nodes, tree))


def density(tree):
    """γ of a tree: its nodes times the densities of its branches."""
    return nodes(tree) * math.prod(map(density, tree))


def elementary(tableau, tree):
    """Φ_i of a tree at every stage."""
    inner = [elementary(tableau, branch) for branch in tree]
    values = []
    for row in range(len(tableau.weights)):
        factors = [
            sum((a * v for a, v in zip(tableau.matrix[row], branch, strict=False)), Fraction(0)) for branch in inner
        ]
        values.append(math.prod(factors, start=Fraction(1)))
    return values


def satisfied(tableau, weights, tree):
    """Σ b_i Φ_i = 1/γ."""
    found = sum((b * phi for b, phi in zip(weights, elementary(tableau, tree), strict=True)), Fraction(0))
    return found == Fraction(1, density(tree))


def order_by_conditions(tableau, weights):
    order = 0
    while all(satisfied(tableau, weights, tree) for tree in trees(order + 1)):
        order += 1
    return order


def test_there_are_1_1_2_4_9_20_rooted_trees():
    assert [len(trees(order)) for order in range(1, 7)] == [1, 1, 2, 4, 9, 20]


@pytest.mark.parametrize("tableau", TABLEAUS, ids=repr)
def test_the_order_conditions_hold_exactly_up_to_the_declared_order_and_no_further(tableau):
    assert order_by_conditions(tableau, tableau.weights) == tableau.order
    if tableau.embedded is None:
        assert tableau.embedded_order == 0
    else:
        assert order_by_conditions(tableau, tableau.embedded) == tableau.embedded_order


TIME = 1.0


@pytest.fixture(scope="module")
def reference():
    return place(TIME)


@by_name
def test_the_declared_order_is_the_measured_one(rule, reference):
    counts = (100, 200) if rule.order > 3 else (800, 1600)
    orders = measured_order(
        DampedNewton(FRICTION), rule, double_well, START, time=TIME, steps=counts, reference=reference
    )
    assert abs(orders[-1] - rule.order) < 0.15


@by_name
def test_time_is_stepped_with_the_rest(rule):
    """ẋ = -2t x² from 1 is 1/(1+t²)."""
    field = ODE(lambda t, x: -2.0 * t * x * x)
    errors = []
    for count in (64, 128):
        scales = rule.prepare(field, 1.0 / count)
        state = {"position": torch.ones(1, 1, dtype=torch.float64), "time": 0.0}
        for _ in range(count):
            for stage in range(rule.stages):
                state = rule.advance(scales, state, state["position"], None, stage)
        assert state.keys() == {"position", "time"}
        assert state["time"] == pytest.approx(1.0, abs=1e-14)
        errors.append(abs(float(state["position"]) - 0.5))
    assert abs(math.log2(errors[0] / errors[1]) - rule.order) < 0.3


@by_name
def test_every_path_may_have_a_step_of_its_own_and_zero_is_one(rule):
    steps = torch.tensor([[0.0], [0.1], [0.2]], dtype=torch.float64)
    start = torch.tensor([[2.0, -0.5]], dtype=torch.float64)
    state = {"position": start.expand(3, 2), "velocity": torch.ones(3, 2, dtype=torch.float64)}
    system = DampedNewton(FRICTION)

    def step(scales, state):
        for stage in range(rule.stages):
            state = rule.advance(scales, state, double_well(state["position"]), None, stage)
        return state

    together = step(rule.prepare(system, steps), state)
    assert torch.equal(together["position"][0], start[0])
    assert together.keys() == state.keys()
    for path in range(3):
        alone = step(
            rule.prepare(system, float(steps[path])), {name: value[path : path + 1] for name, value in state.items()}
        )
        for name, value in alone.items():
            assert torch.allclose(together[name][path], value[0], rtol=0, atol=1e-15)


def test_a_stage_stands_at_the_next_place_and_leaves_what_it_was_given():
    rule = RungeKutta(RK4)
    scales = rule.prepare(GradientFlow(), 1.0)
    state = {"position": torch.ones(1)}
    new = rule.advance(scales, state, torch.ones(1), None, 0)
    assert new["position"].item() == 0.5
    assert set(new) - {"position"} == {"slope0_position"} < set(rule.between(GradientFlow()))
    assert state == {"position": torch.ones(1)}


@pytest.mark.parametrize(
    ("tableau", "limit"),
    [(MIDPOINT, 2.0), (HEUN, 2.0), (RALSTON, 2.0), (KUTTA3, 2.5127453266183286), (RK4, 2.785293563405282)],
    ids=repr,
)
def test_the_real_limit_of_stability_is_that_of_the_truncated_exponential(tableau, limit):
    polynomial = sum((-limit) ** k / math.factorial(k) for k in range(tableau.order + 1))
    assert abs(polynomial) == pytest.approx(1.0, abs=1e-12)
    inside, outside = (
        spectral_radius(GradientFlow(), RungeKutta(tableau), step=limit * (1.0 + s), curvature=1.0)
        for s in (-1e-7, 1e-7)
    )
    assert inside < 1.0 < outside


def test_on_the_imaginary_axis_rk4_ends_at_two_root_two_and_heun_at_once():
    limit = 2.0 * math.sqrt(2.0)
    inside, outside = (
        spectral_radius(DampedNewton(0.0), RungeKutta(RK4), step=limit * (1.0 + s), curvature=1.0)
        for s in (-1e-6, 1e-6)
    )
    assert inside < 1.0 < outside
    assert spectral_radius(DampedNewton(0.0), RungeKutta(HEUN), step=0.1, curvature=1.0) == pytest.approx(
        math.sqrt(1.0 + 0.1**4 / 4.0), abs=1e-15
    )


@by_name
def test_the_step_matrix_is_the_stability_polynomial_of_the_oscillators_matrix(rule):
    """R(Z) = 1 + bᵀ Z (1 - AZ)⁻¹ 1, summed as its finite series, of Z = γJ."""
    step, curvature = 0.3, 2.0
    Z = step * torch.tensor([[0.0, 1.0], [-curvature, -FRICTION]], dtype=torch.float64)
    expected, power = torch.eye(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    phi = [Fraction(1)] * len(rule.tableau.weights)
    for _ in range(len(phi)):
        power = power @ Z
        expected = expected + float(sum(b * p for b, p in zip(rule.tableau.weights, phi, strict=True))) * power
        phi = [sum((a * p for a, p in zip(row, phi, strict=False)), Fraction(0)) for row in rule.tableau.matrix]
    found = linearize(DampedNewton(FRICTION), rule, step=step, curvature=curvature).matrix
    assert torch.allclose(found, expected, rtol=0, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("system", [DampedNewton(FRICTION), GradientFlow()], ids=repr)
@pytest.mark.parametrize("compiled", [False, True, "inductor"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what dynamo imports
def test_an_optimizer_of_several_stages_walks_the_trajectory(system, compiled):
    rule = RungeKutta(RK4)
    p = START.clone().requires_grad_()
    flow = Flow([p], system, rule, 0.1, compile=compiled)

    def closure():
        flow.zero_grad()
        loss = ((p * p - 1) ** 2 / 4).sum()
        loss.backward()
        return loss

    for spot in trajectory(system, rule, double_well, START, step=0.1, steps=20)[1:]:
        flow.step(closure)
        assert torch.allclose(p, spot, rtol=0, atol=1e-13)


def test_a_friction_per_step_is_stepped_too_at_step_zero():
    """The velocity decays by the truncated exponential, and nothing moves."""
    rule = RungeKutta(RK4)
    scales = rule.prepare(DampedNewton(PerStep(0.5)), 0.0)
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    state = {"position": zero, "velocity": one}
    for stage in range(rule.stages):
        state = rule.advance(scales, state, one, None, stage)
    assert state["position"].item() == 0.0
    assert state["velocity"].item() == pytest.approx(sum((-0.5) ** k / math.factorial(k) for k in range(5)), abs=1e-15)


def test_noise_is_refused():
    with pytest.raises(IncompatiblePair, match=r"RungeKutta draws no noise, and Kramers has a temperature. Use "):
        RungeKutta(RK4).prepare(Kramers(0.5, 1.0), 0.1)


def test_what_is_no_explicit_tableau_is_refused():
    with pytest.raises(InadmissibleValue, match=r"matrix has rows of \[1\] numbers"):
        Tableau("implicit", ((1.0,),), (1.0,), order=1)
    with pytest.raises(InadmissibleValue, match=r"weights are 2 numbers of sum 0.75. Pass 2 of sum 1."):
        Tableau("short", ((), (0.5,)), (0.25, 0.5), order=2)


def test_only_pairs_that_hand_over_their_last_slope_say_so():
    assert [tableau.name for tableau in TABLEAUS if tableau.hands_over] == ["BOGACKI_SHAMPINE", "DORMAND_PRINCE"]
    assert (BOGACKI_SHAMPINE.stages, DORMAND_PRINCE.stages) == (3, 6)
