"""RMSprop and Adam follow their differential equations; scipy, at tight tolerance, is the oracle."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.fx
from scipy.integrate import solve_ivp

from thetadot.analysis import measured_order
from thetadot.errors import InadmissibleValue
from thetadot.integrators import SemiImplicitEuler
from thetadot.optim import Adam, RMSprop
from thetadot.systems import ErrorControlledFlow
from thetadot.systems.base import PerStep

START = np.array([1.5, -1.2])
TIME, MEAN_RATE, SQUARE_RATE = 1.0, 3.0, 2.0
COUNTS = (50, 100, 200, 400)
EXACT = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-14}


def loss(x):
    """Smooth, coupled, and no quadratic."""
    return torch.log(torch.cosh(x[0] - 0.3)) + (x[1] - x[0] ** 2 / 2) ** 2 / 2 + 0.1 * x[1] ** 2


def gradient(x):
    a, b = x
    excess = b - a * a / 2
    return np.array([math.tanh(a - 0.3) - excess * a, excess + 0.2 * b])


def run(build, count, begin=None):
    p = torch.tensor(START, requires_grad=True)
    optimizer = build([p], TIME / count)
    if begin is not None:
        optimizer.init_state()
        optimizer.state[p]["square"] = begin.clone() if isinstance(begin, torch.Tensor) else begin
    for _ in range(count):
        optimizer.zero_grad()
        loss(p).backward()
        optimizer.step()
    return p, optimizer


def orders(errors):
    return [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]


def distance(p, reference):
    return float(np.linalg.norm(p.detach().numpy() - reference))


def test_the_gradient_in_closed_form_is_that_of_the_loss():
    p = torch.tensor(START, requires_grad=True)
    loss(p).backward()
    assert p.grad.numpy() == pytest.approx(gradient(START), rel=1e-14)


def rmsprop(norm, eps):
    return lambda params, lr: RMSprop(params, lr, 1 - SQUARE_RATE * lr, eps, norm=norm, clock=True)


@pytest.mark.parametrize("norm", ["coordinate", "global"])
def test_rmsprop_follows_its_flow_and_its_clock_at_order_one(norm):
    eps = 0.1
    size = 2 if norm == "coordinate" else 1

    def square(g):
        return g * g if norm == "coordinate" else np.array([g @ g])

    def motion(_, state):
        g, memory = gradient(state[:2]), state[2 : 2 + size]
        scale = np.sqrt(memory) + eps
        return np.concatenate((-g / scale, SQUARE_RATE * (square(g) - memory), 1 / scale))

    begin = square(gradient(START))
    exact = solve_ivp(motion, (0, TIME), np.concatenate((START, begin, np.zeros(size))), **EXACT).y[:, -1]
    begin = torch.tensor(begin) if norm == "coordinate" else float(begin[0])
    positions, clocks = [], []
    for count in COUNTS:
        p, optimizer = run(rmsprop(norm, eps), count, begin)
        positions.append(distance(p, exact[:2]))
        clocks.append(float(np.abs(np.asarray(optimizer.clock()[p]) - exact[-size:]).max()))
    assert orders(positions) == pytest.approx([1.0] * 3, abs=0.02)
    assert orders(clocks) == pytest.approx([1.0] * 3, abs=0.02)


def test_from_an_empty_memory_rmsprop_follows_its_flow_at_order_one_half():
    """θ begins like √t: the flow is solved in s = √t and R = G/t, where it is smooth."""

    def motion(s, state):
        g, ratio = gradient(state[:2]), state[2:]
        return np.concatenate((-2 * g / np.sqrt(ratio), 2 * (SQUARE_RATE * (g * g - s * s * ratio) - ratio) / s))

    g = gradient(START)
    s = 1e-6
    begin = np.concatenate((START - 2 * s * np.sign(g) / math.sqrt(SQUARE_RATE), SQUARE_RATE * g * g))
    exact = solve_ivp(motion, (s, math.sqrt(TIME)), begin, method="LSODA", rtol=1e-10, atol=1e-11).y[:2, -1]
    errors = [distance(run(rmsprop("coordinate", 0.0), count)[0], exact) for count in (200, 400, 800)]
    assert orders(errors) == pytest.approx([0.5] * 2, abs=0.05)


@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_adam_follows_its_flow_at_order_one_from_its_first_step_on(eps):
    def motion(t, state):
        g, mean, square = gradient(state[:2]), state[2:4], state[4:]
        weights = -math.expm1(-MEAN_RATE * t), -math.expm1(-SQUARE_RATE * t)
        velocity = -(mean / weights[0]) / (np.sqrt(square / weights[1]) + eps)
        return np.concatenate((velocity, MEAN_RATE * (g - mean), SQUARE_RATE * (g * g - square)))

    g = gradient(START)
    t = 1e-6  # at t = 0 both memories are empty: m̂ -> ∇L, v̂ -> ∇L²; what that leaves out is of second order in t
    begin = (START - t * g / (abs(g) + eps), -math.expm1(-MEAN_RATE * t) * g, -math.expm1(-SQUARE_RATE * t) * g * g)
    exact = solve_ivp(motion, (t, TIME), np.concatenate(begin), **EXACT).y[:2, -1]

    def adam(params, lr):
        return Adam.from_physical(params, step=lr, mean_rate=MEAN_RATE, square_rate=SQUARE_RATE, eps=eps)

    errors = [distance(run(adam, count)[0], exact) for count in COUNTS]
    assert orders(errors) == pytest.approx([1.0] * 3, abs=0.02)


def test_on_its_own_clock_global_rmsprop_is_gradient_flow():
    """dθ/dt = -∇L whatever the memory does: the distance to gradient flow at the clock's time falls like lr."""
    errors = []
    for count in COUNTS:
        p, optimizer = run(rmsprop("global", 1e-8), count, float(gradient(START) @ gradient(START)))
        end = solve_ivp(lambda _, x: -gradient(x), (0, optimizer.clock()[p]), START, **EXACT).y[:, -1]
        errors.append(distance(p, end))
    assert orders(errors) == pytest.approx([1.0] * 3, abs=0.05)


def test_the_analysis_measures_the_same_order():
    """From G = 0 with a large ε, where the start is smooth."""
    flow = ErrorControlledFlow(SQUARE_RATE, eps=1.0, norm="global")

    def motion(_, state):
        x, memory = state
        return -x / (math.sqrt(max(memory, 0.0)) + 1.0), SQUARE_RATE * (x * x - memory)

    exact = torch.tensor([solve_ivp(motion, (0, 1.0), (1.0, 0.0), **EXACT).y[0, -1]])
    found = measured_order(
        flow,
        SemiImplicitEuler(),
        lambda x: x,
        torch.ones(1).double(),
        time=1.0,
        steps=(400, 800, 1600),
        reference=exact,
    )
    assert found == pytest.approx([1.0] * 2, abs=0.1)


@pytest.mark.parametrize("norm", ["coordinate", "global"])
def test_on_a_quadratic_rmsprop_ends_in_a_cycle_of_half_a_step(norm):
    p = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = RMSprop([p], 0.01, 0.9, 0.0, norm=norm)
    seen = []
    for _ in range(3000):
        p.grad = 2.0 * p.detach()
        optimizer.step()
        seen.append(p.item())
    assert abs(seen[-1]) == pytest.approx(0.005, abs=1e-12)
    assert seen[-1] == pytest.approx(-seen[-2], abs=1e-12)
    reading = optimizer.reading(optimizer.param_groups[0])
    assert 2.0 / float(reading.preconditioner[p]) == pytest.approx(reading.limit, rel=1e-9)  # the stability edge


def test_the_clock_is_the_sum_of_the_steps_of_gradient_descent():
    """Each step moves θ by -Δt ∇L; the clock adds up those Δt."""
    p = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64, requires_grad=True)
    optimizer = RMSprop([p], 0.01, clock=True)
    elapsed = torch.zeros(3, dtype=torch.float64)
    for _ in range(20):
        before = p.detach().clone()
        p.grad = before**3
        optimizer.step()
        elapsed -= (p.detach() - before) / p.grad
    assert torch.allclose(optimizer.clock()[p], elapsed, rtol=1e-10)


def test_a_clock_that_is_not_kept_is_one_clear_error():
    p, q = (torch.ones(2, requires_grad=True) for _ in range(2))
    with pytest.raises(InadmissibleValue, match=r"clock=False: .* Build with clock=True, or norm='global'"):
        RMSprop([p]).clock()
    mixed = RMSprop([{"params": [p]}, {"params": [q], "norm": "global"}], 0.5)
    assert mixed.clock() == {}  # nothing has moved
    p.grad, q.grad = torch.ones(2), torch.ones(2)
    mixed.step()
    assert mixed.clock()[q] == pytest.approx(0.5 / math.sqrt(0.01 * 2))
    assert p not in mixed.clock()


def test_the_plain_rule_takes_one_root_and_one_division_an_element():
    flow, rule = ErrorControlledFlow(PerStep(0.01)), SemiImplicitEuler()

    def step(position, square, gradient):
        state = rule.advance(rule.prepare(flow, 0.1), {"position": position, "square": square}, gradient, None)
        return state["position"], state["square"]

    names = [node.name.split("_")[0] for node in torch.fx.symbolic_trace(step).graph.nodes]
    assert (names.count("sqrt"), names.count("truediv")) == (1, 1)


def test_the_plain_rule_keeps_one_tensor_and_the_global_one_none():
    for options, names in (({}, {"square"}), ({"clock": True}, {"square", "clock"}), ({"norm": "global"}, set())):
        p = torch.ones(3, requires_grad=True)
        optimizer = RMSprop([p], **options)
        p.grad = torch.ones(3)
        optimizer.step()
        assert {name for name, value in optimizer.state[p].items() if isinstance(value, torch.Tensor)} == names


def test_a_state_of_another_norm_becomes_that_norm():
    """norm and clock are settings of the group, which a state dict brings along."""
    p, q = (torch.ones(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    one, other = RMSprop([p], 0.1, norm="global"), RMSprop([q], 0.1, clock=True)
    for x, optimizer in ((p, one), (q, other)):
        x.grad = torch.tensor([1.0, 2.0, 3.0]).double()
        optimizer.step()
    with torch.no_grad():
        q.copy_(p)
    other.load_state_dict(one.state_dict())
    one.step()
    other.step()
    assert torch.equal(p, q)
    assert one.clock()[p] == other.clock()[q]


@pytest.mark.parametrize("eps", [0.0, 1e-8])
@pytest.mark.parametrize("build", [RMSprop, Adam, lambda p, **o: RMSprop(p, norm="global", **o)])
def test_where_no_gradient_has_been_felt_nothing_moves(build, eps):
    p = torch.tensor([1.0, 2.0], requires_grad=True)
    optimizer = build([p], lr=0.1, eps=eps)
    for _ in range(3):
        p.grad = torch.zeros(2)
        optimizer.step()
    assert p.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"decay": 1.0}, r"decay=1 is outside \[0, 1\)"),
        ({"decay": float("nan")}, "decay=nan"),
        ({"eps": -1.0}, "eps=-1 is negative"),
        ({"norm": "euclidean"}, "norm='euclidean' is unknown. Pass 'coordinate' or 'global'"),
    ],
)
def test_settings_of_rmsprop_out_of_range_are_refused(options, said):
    with pytest.raises(InadmissibleValue, match=said):
        RMSprop([torch.ones(1, requires_grad=True)], **options)


def test_rates_in_time_read_back():
    p = torch.ones(1, requires_grad=True)
    optimizer = RMSprop.from_physical([p], step=0.1, square_rate=0.5)
    assert optimizer.param_groups[0]["decay"] == pytest.approx(0.95)
    assert optimizer.reading(optimizer.param_groups[0]).limit == pytest.approx(20.0)


def test_amsgrad_reads_the_preconditioner_that_it_uses():
    p = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = Adam([p], 0.1, (0.0, 0.0), 0.0, amsgrad=True)
    for slope in (3.0, 1.0):
        p.grad = torch.full_like(p, slope)
        optimizer.step()
    reading = optimizer.reading(optimizer.param_groups[0])
    assert reading.preconditioner[p].item() == pytest.approx(3.0)
    assert p.item() == pytest.approx(1.0 - 0.1 - 0.1 / 3)
