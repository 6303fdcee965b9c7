"""Steps that follow the error: closed forms, a suite of standard problems, and paths that do not disturb each other."""

import math

import pytest
import torch
from scipy.integrate import solve_ivp

from thetadot.errors import Diverged, InadmissibleValue, IncompatiblePair, NotConverged
from thetadot.integrators import BogackiShampine, Controller, DormandPrince, RungeKutta, controlled, initial_state
from thetadot.integrators.adaptive import Embedded
from thetadot.integrators.tableaus import DORMAND_PRINCE, HEUN
from thetadot.optim import Flow
from thetadot.systems import (
    ODE,
    SDE,
    AdaptiveFlow,
    DampedNewton,
    GradientFlow,
    Kramers,
    NormalizedFlow,
)
from thetadot.systems.base import PerStep

DOUBLE = torch.float64


def column(*numbers, dtype=DOUBLE):
    return torch.tensor(numbers, dtype=dtype)[:, None]


def solve(field, start, times, rule, begin=0.0, **variables):
    return controlled(rule, ODE(field), None, {"position": start} | variables, begin, times)


# Closed forms.


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (DOUBLE, 1e-9)])
@pytest.mark.parametrize("backwards", [False, True])
def test_the_quintic_follows_its_line_both_ways(dtype, tolerance, backwards):
    """y' = a + (y - (at+b))⁵ keeps to at + b."""
    a, b = 0.2, 3.0
    start, end = (8.0, 1.0) if backwards else (1.0, 8.0)
    run = solve(
        lambda t, y: a + (y - (a * t + b)) ** 5,
        column(a * start + b, dtype=dtype),
        [end],
        DormandPrince(tolerance, tolerance),
        begin=start,
        time=start,
    )
    assert run.states[0]["position"].dtype == dtype
    assert run.states[0]["position"].item() == pytest.approx(a * end + b, abs=10 * tolerance)


def test_a_rotation_of_ten_dimensions_is_the_exponential_of_its_matrix():
    generator = torch.Generator().manual_seed(1)
    A = torch.randn(10, 10, generator=generator, dtype=DOUBLE)
    A = A - A.T
    start = torch.randn(3, 10, generator=generator, dtype=DOUBLE)
    times = [0.5, 1.0, 2.0]
    run = solve(lambda y: y @ A.T, start, times, DormandPrince(1e-10, 1e-10))
    for time, state in zip(times, run.states, strict=True):
        expected = start @ torch.matrix_exp(time * A).T
        assert torch.allclose(state["position"], expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("rule", [DormandPrince(1e-8, 1e-8), BogackiShampine(1e-6, 1e-6)], ids=repr)
def test_each_path_takes_the_steps_that_it_needs(rule):
    """Relaxations of rates 1, 30, 200: alone or together the same steps; the slow one is not slowed."""
    rates, start = column(1.0, 30.0, 200.0), column(2.0, 3.0, 0.5)
    times = [0.5, 1.0, 2.0]
    together = solve(lambda x: -rates * (x - 1), start, times, rule)
    for time, state in zip(times, together.states, strict=True):
        assert torch.allclose(
            state["position"], 1 + (start - 1) * torch.exp(-rates * time), rtol=0, atol=20 * rule.rtol
        )
    for path in range(3):
        alone = solve(lambda x, k=rates[path]: -k * (x - 1), start[path : path + 1], times, rule)
        assert together.accepted[path].item() == alone.accepted.item()
        assert together.rejected[path].item() == alone.rejected.item()
        assert torch.allclose(alone.states[-1]["position"], together.states[-1]["position"][path], rtol=0, atol=1e-14)
    slow, _, fast = together.accepted.flatten().tolist()
    assert 4 * slow < fast


def test_every_time_is_met_exactly_also_one_asked_for_twice():
    times = [0.0, 0.1, 0.1, 1.0 / 3.0, 7.0]
    run = solve(lambda t, x: 0 * x + 2 * t, column(0.0, 5.0), times, DormandPrince(), time=0.0)
    for time, state in zip(times, run.states, strict=True):
        assert torch.allclose(state["time"], torch.full((2, 1), time, dtype=DOUBLE), rtol=1e-14, atol=0)
        assert torch.allclose(state["position"], column(time**2, 5 + time**2), rtol=1e-12, atol=1e-14)


def test_late_times_are_met_in_float32_too():
    """ẋ = cos t - (x - sin t)/10 from 0 keeps to sin t."""
    start = torch.zeros(1, 1)
    run = solve(
        lambda t, x: torch.cos(t) - (x - torch.sin(t)) / 10, start, [1000.0], DormandPrince(1e-5, 1e-5), time=0.0
    )
    assert run.states[0]["position"].dtype == torch.float32
    assert run.states[0]["position"].item() == pytest.approx(math.sin(1000.0), abs=5e-3)


def test_times_between_do_not_shorten_the_steps_that_follow():
    sparse = solve(lambda x: -x, column(1.0), [10.0], DormandPrince())
    dense = solve(lambda x: -x, column(1.0), [5.0, 5.0 + 1e-9, 10.0], DormandPrince())
    assert dense.accepted.item() <= sparse.accepted.item() + 3


def test_systems_that_move_by_a_gradient_and_all_of_their_variables():
    """The damped oscillator of curvature 1, friction 1/2, from rest."""
    start = column(1.0, -2.0)
    system = DampedNewton(0.5)
    rule = DormandPrince(1e-10, 1e-12)
    run = controlled(rule, system, lambda x: x, {"position": start, "velocity": 0 * start}, 0.0, [3.0])
    frequency = math.sqrt(1.0 - 1 / 16)
    decay, phase = math.exp(-0.75), 3.0 * frequency
    place = decay * (math.cos(phase) + math.sin(phase) / (4 * frequency))
    speed = -decay * math.sin(phase) / frequency
    assert torch.allclose(run.states[0]["position"], place * start, rtol=0, atol=1e-8)
    assert torch.allclose(run.states[0]["velocity"], speed * start, rtol=0, atol=1e-8)


def test_six_evaluations_a_step_and_two_to_begin():
    run = solve(lambda x: -x, column(1.0), [5.0], DormandPrince())
    assert run.evaluations == 2 + 6 * int(run.accepted + run.rejected)


def test_a_pair_that_hands_no_slope_over_takes_its_own():
    class HeunEuler(Embedded):
        tableau = HEUN

    run = solve(lambda x: -x, column(1.0, 3.0), [1.0], HeunEuler(1e-6, 1e-6))
    assert torch.allclose(run.states[0]["position"], column(1.0, 3.0) / math.e, rtol=0, atol=1e-4)


# DETEST: problems of every class; scipy's RK45 is the same pair with another controller.


def kepler(e):
    def field(y):
        x, v = y[:, :2], y[:, 2:]
        return torch.cat([v, -x / (x * x).sum(-1, keepdim=True) ** 1.5], dim=-1)

    return field, [1 - e, 0.0, 0.0, math.sqrt((1 + e) / (1 - e))]


def rigid_body(y):
    a, b, c = y.unbind(-1)
    return torch.stack([b * c, -a * c, -0.51 * a * b], dim=-1)


def populations(y):
    a, b = y.unbind(-1)
    return torch.stack([2 * (a - a * b), -(b - a * b)], dim=-1)


def chain(y):
    """Ten species, each decaying into the next (C1)."""
    gain = torch.cat([0 * y[:, :1], y[:, :-1]], dim=-1)
    return gain - torch.cat([y[:, :-1], 0 * y[:, :1]], dim=-1)


def van_der_pol(y):
    a, b = y.unbind(-1)
    return torch.stack([b, (1 - a * a) * b - a], dim=-1)


DETEST = {
    "A1": (lambda y: -y, [1.0]),
    "A2": (lambda y: -(y**3) / 2, [1.0]),
    "A4": (lambda y: y / 4 * (1 - y / 20), [1.0]),
    "B1": (populations, [1.0, 3.0]),
    "B5": (rigid_body, [0.0, 1.0, 1.0]),
    "C1": (chain, [1.0] + [0.0] * 9),
    "D1": kepler(0.1),
    "D3": kepler(0.5),
    "D5": kepler(0.9),
    "E2": (van_der_pol, [2.0, 0.0]),
}
CLOSED = {"A1": math.exp(-20), "A2": 1 / math.sqrt(21), "A4": 20 / (1 + 19 * math.exp(-5))}


@pytest.mark.slow
@pytest.mark.parametrize("name", DETEST)
def test_detest_errors_and_costs_are_those_of_scipy(name):
    field, start = DETEST[name]
    begin = torch.tensor([start], dtype=DOUBLE)

    def motion(_, y):
        return field(torch.tensor(y[None], dtype=DOUBLE))[0].numpy()

    if name in CLOSED:
        exact = torch.tensor([[CLOSED[name]]], dtype=DOUBLE)
    else:
        solution = solve_ivp(motion, (0, 20), start, method="DOP853", rtol=1e-13, atol=1e-13)
        exact = torch.tensor(solution.y[:, -1][None], dtype=DOUBLE)
    for tolerance in (1e-4, 1e-6, 1e-8):
        run = solve(field, begin, [20.0], DormandPrince(tolerance, tolerance))
        peer = solve_ivp(motion, (0, 20), start, method="RK45", rtol=tolerance, atol=tolerance)
        error, their = (
            float((y - exact).abs().max()) for y in (run.states[0]["position"], torch.tensor(peer.y[:, -1]))
        )
        assert error < max(3 * their, 3 * tolerance)
        assert run.evaluations < 1.2 * peer.nfev + 12


# What cannot be.


def test_a_path_that_ends_says_where_and_keeps_the_last_good_state():
    """ẋ = x² from 2 ends at time 1/2, whatever the other paths do."""
    with pytest.raises(Diverged, match=r"path 1 gets no further than time 0.5") as raised:
        solve(lambda x: x * x, column(0.1, 2.0), [3.0], DormandPrince())
    assert raised.value.state["position"].isfinite().all()
    assert raised.value.times[1].item() == pytest.approx(0.5, abs=1e-6)


def test_a_field_that_is_not_finite_beyond_a_wall_is_walked_up_to():
    with pytest.raises(Diverged, match="path 0 gets no further than time 1"):
        solve(lambda x: torch.where(x < 1, 1.0, torch.nan), column(0.0), [3.0], DormandPrince())


@pytest.mark.slow
def test_the_bound_of_steps_is_ones_own():
    assert solve(lambda x: -1.3e4 * x, column(1.0), [1.0], BogackiShampine()).accepted.item() > 4096
    with pytest.raises(NotConverged, match="path 0 has tried most_steps=5 steps and is at time") as raised:
        solve(lambda x: -x, column(1.0), [100.0], DormandPrince(most_steps=5))
    assert raised.value.times.item() < 100


def test_what_has_no_steps_of_any_length_is_refused():
    position = column(1.0)
    state = {"position": position, "velocity": position}
    for system in (Kramers(0.5, 1.0), SDE(lambda x: x, 1.0)):
        with pytest.raises(IncompatiblePair, match="DormandPrince draws no noise"):
            controlled(DormandPrince(), system, lambda x: x, state, 0.0, [1.0])
    for system, said in ((DampedNewton(PerStep(0.1)), "friction"), (NormalizedFlow(), "gradient square")):
        with pytest.raises(IncompatiblePair, match=f"has {said}, counted by steps. Use "):
            controlled(DormandPrince(), system, lambda x: x, state, 0.0, [1.0])
    flow = AdaptiveFlow(2.0, 0.5)
    with pytest.raises(InadmissibleValue, match="drift of AdaptiveFlow is not finite on path 0 at the start"):
        controlled(DormandPrince(), flow, lambda x: x, initial_state(flow, RungeKutta(), position), 0.0, [1.0])
    with pytest.raises(InadmissibleValue, match="state is not finite on path 1"):
        solve(lambda x: -x, column(1.0, math.nan), [1.0], DormandPrince())
    with pytest.raises(InadmissibleValue, match=r"are not in order. Pass them increasing"):
        solve(lambda x: -x, position, [2.0, 1.0, 3.0], DormandPrince())


def test_an_optimizer_gives_steps_and_is_refused():
    with pytest.raises(IncompatiblePair, match=r"DormandPrince chooses the steps of GradientFlow itself"):
        Flow([torch.ones(1, requires_grad=True)], GradientFlow(), DormandPrince(), 0.1)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: DormandPrince(rtol=-1.0), "rtol=-1 is negative"),
        (lambda: DormandPrince(atol=0.0), "atol=0 is not positive"),
        (lambda: DormandPrince(first_step=0.0), "first_step=0 is not positive"),
        (lambda: DormandPrince(most_steps=0), "most_steps=0 allows no step"),
        (lambda: Controller(integral=0.0), "integral=0 is not positive"),
        (lambda: Controller(proportional=-1.0), "proportional=-1 is negative"),
        (lambda: Controller(safety=1.5), "safety=1.5 is outside"),
        (lambda: Controller(least=1.0), "least=1 is outside"),
        (lambda: Controller(most=1.0), "most=1 is not above 1"),
    ],
)
def test_numbers_out_of_range_are_refused(build, said):
    with pytest.raises(InadmissibleValue, match=said):
        build()


def test_the_textbook_controller_is_the_root_of_the_error_within_its_bounds():
    rule = Controller(proportional=0.0, integral=1.0, safety=1.0)
    one = torch.ones(4, 1, dtype=DOUBLE)
    errors = column(32.0, 1.0, 1e-9, math.inf)
    assert torch.allclose(rule.factor((errors, one, one), 5), column(0.5, 1.0, 10.0 ** (4 / 5), 0.2))
    assert DormandPrince().tableau is DORMAND_PRINCE
