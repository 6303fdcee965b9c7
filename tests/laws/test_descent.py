"""Other ways down: how fast the loss falls along each flow, what their steps do, and where they stand still."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from thetadot.analysis import linearize, trajectory
from thetadot.errors import InadmissibleValue, IncompatiblePair, MissingClosure
from thetadot.integrators import Euler
from thetadot.optim import GradientDescent, NormalizedDescent, Polyak, SignDescent
from thetadot.systems import GradientFlow, NormalizedFlow, PolyakFlow, SignFlow

# How fast the loss falls.

CURVATURES = np.array([1.0, 3.0, 0.5])
START = np.array([2.0, -1.0, 1.5])


def loss(x):
    return float(0.5 * CURVATURES @ (x * x) + 0.1 * (x**4).sum())


def slope(x):
    return CURVATURES * x + 0.4 * x**3


FLOWS = {
    "gradient": (GradientFlow(), lambda _, g: -(g @ g)),
    "sign": (SignFlow(), lambda _, g: -abs(g).sum()),
    "normalized": (NormalizedFlow(), lambda _, g: -math.sqrt(g @ g)),
    "Polyak": (PolyakFlow(floor=-0.5), lambda value, _: -(value + 0.5)),
    "clipped": (
        PolyakFlow(floor=-0.5, bound=0.1),
        lambda value, g: -(value + 0.5) * min(1.0, 0.1 * math.sqrt(g @ g)),
    ),
}


@pytest.mark.parametrize("name", FLOWS)
def test_the_loss_falls_along_each_flow_at_its_own_rate(name):
    """L(θ(t)) = L₀ + ∫ rate dt, the path being that of the system's own velocity."""
    system, rate = FLOWS[name]

    def motion(_, state):
        x = state[:3]
        g = slope(x)
        known = {"position": torch.tensor(x), "gradient_square": float(g @ g), "loss": loss(x)}
        velocity = system.increment("position", known, torch.tensor(g), 1.0).numpy()
        return np.append(velocity, rate(loss(x), g))

    span = np.linspace(0, 0.8, 9)
    solved = solve_ivp(motion, (0, 0.8), np.append(START, loss(START)), t_eval=span, rtol=1e-12, atol=1e-13)
    values = np.array([loss(x) for x in solved.y[:3].T])
    assert values == pytest.approx(solved.y[3], abs=1e-10)
    assert np.all(np.diff(values) < 0)
    if name == "Polyak":
        assert values + 0.5 == pytest.approx((loss(START) + 0.5) * np.exp(-span), abs=1e-10)


# The article's example: two minima, 0.4069 at f = 5.5e-7 and 3 at f = 1.62276.


def double_minimum(x):
    return x * (x - 1) * (x - 3) ** 2 + 1.62276


def descend(build, steps, x0=4.0):
    p = torch.tensor(x0, dtype=torch.float64, requires_grad=True)
    optimizer = build([p])

    def closure():
        optimizer.zero_grad()
        value = double_minimum(p)
        value.backward()
        return value

    for _ in range(steps):
        optimizer.step(closure)
    return p.item()


def test_clipped_polyak_crosses_the_barrier_and_gradient_descent_does_not():
    """On its way it may be anywhere (the transient is chaotic); where it ends is certain."""
    assert descend(lambda p: Polyak(p, 0.01, bound=1000.0), 2500) == pytest.approx(0.4069256, abs=1e-5)
    assert descend(lambda p: GradientDescent(p, 0.01), 500) == pytest.approx(3.0, abs=1e-9)


# Steps in closed form.


@given(st.floats(0.1, 100), st.floats(0.0, 3.9), st.floats(0.1, 10))
def test_on_a_parabola_polyaks_step_shrinks_by_half_of_lr_whatever_the_curvature(h, lr, x):
    p = torch.tensor([x], dtype=torch.float64, requires_grad=True)
    optimizer = Polyak([p], lr, floor=1.5)
    value = (h * p * p).sum() / 2 + 1.5
    value.backward()
    optimizer.step(loss=value)
    assert p.item() == pytest.approx((1 - lr / 2) * x, rel=1e-9, abs=1e-12)


@given(st.floats(0.0, 1.0), st.integers(0, 100))
def test_a_normalized_step_is_lr_long_and_a_sign_step_lr_in_every_element(lr, seed):
    generator = torch.Generator().manual_seed(seed)
    pair = [torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in ((3, 2), (4,))]
    slopes = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in pair]
    before = [p.detach().clone() for p in pair]

    def moved(build):
        for p, q, g in zip(pair, before, slopes, strict=True):
            p.data.copy_(q)
            p.grad = g.clone()
        build(pair, lr).step()
        return torch.cat([(p.detach() - q).reshape(-1) for p, q in zip(pair, before, strict=True)])

    whole = torch.cat([g.reshape(-1) for g in slopes])
    normalized = moved(NormalizedDescent)
    assert normalized.norm().item() == pytest.approx(lr, abs=1e-14)
    assert torch.allclose(normalized, -lr * whole / whole.norm(), atol=1e-14)
    assert torch.allclose(moved(SignDescent), -lr * whole.sign(), atol=1e-14)


@pytest.mark.parametrize("build", [SignDescent, NormalizedDescent])
def test_what_keeps_its_speed_ends_in_a_cycle_of_half_a_step(build):
    """Or of any other amplitude below lr: of θ and lr-θ."""
    p = torch.tensor([1.03], dtype=torch.float64, requires_grad=True)
    optimizer = build([p], 0.1)
    seen = []
    for _ in range(50):
        p.grad = p.detach().clone()
        optimizer.step()
        seen.append(p.item())
    assert seen[-1] == pytest.approx(seen[-3], abs=1e-14)
    assert abs(seen[-1] - seen[-2]) == pytest.approx(0.1, abs=1e-14)


@pytest.mark.parametrize("lr", [0.5, 2.0, 3.5, 4.5])
def test_polyak_reads_out_the_lr_at_which_it_loses_stability(lr):
    p = torch.tensor([1.0, 1.0, -2.0], dtype=torch.float64, requires_grad=True)
    optimizer = Polyak([p], lr)
    h = torch.tensor([1.0, 1.0, 1.0]).double()  # in one direction; with several curvatures it may converge even above
    for _ in range(200):
        p.grad = h * p.detach()
        optimizer.step(loss=(h * p.detach() ** 2).sum() / 2)
    limit = optimizer.reading(optimizer.param_groups[0]).limit
    assert (p.abs().max() < 1e-6) == (limit == math.inf) == (lr < 4)


# Groups.


def test_norms_run_over_a_group():
    p, q = (torch.tensor([x], dtype=torch.float64, requires_grad=True) for x in (3.0, 4.0))
    for groups, moves in (
        ([p, q], (0.6, 0.8)),
        ([{"params": [p]}, {"params": [q]}], (1.0, 1.0)),
    ):
        p.data.fill_(3.0)
        q.data.fill_(4.0)
        p.grad, q.grad = p.detach().clone(), q.detach().clone()
        NormalizedDescent(groups, lr=1.0).step()
        assert (3.0 - p.item(), 4.0 - q.item()) == pytest.approx(moves)


def test_groups_of_polyak_share_the_loss_and_have_their_own_floors():
    p, q = (torch.ones(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimizer = Polyak([{"params": [p]}, {"params": [q], "floor": 1.0}], 1.0)
    value = (p * p + q * q).sum()  # 2, slopes 2 and 2
    value.backward()
    optimizer.step(loss=value)
    assert (p.item(), q.item()) == pytest.approx((1 - 2 / 2, 1 - 1 / 2))


# Edges.


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("build", [SignDescent, NormalizedDescent, Polyak])
def test_without_a_gradient_nothing_moves(build, dtype):
    p = torch.tensor([1.0, -2.0], dtype=dtype, requires_grad=True)
    p.grad = torch.zeros_like(p)
    build([p], 0.1).step(loss=5.0)
    assert p.tolist() == [1.0, -2.0]


@pytest.mark.parametrize("build", [NormalizedDescent, SignDescent])
def test_gradients_whose_squares_vanish_in_float32_make_no_long_steps(build):
    p = torch.ones(3, requires_grad=True)
    p.grad = torch.full((3,), 1e-30)
    build([p], 0.1).step()
    assert ((1 - p).abs() <= 0.1 + 1e-6).all()


@pytest.mark.parametrize("value", [1.0, 0.5, -3.0])
def test_at_or_below_the_floor_polyak_stands_still(value):
    p = torch.ones(2, requires_grad=True)
    p.grad = torch.ones(2)
    Polyak([p], 1.0, floor=1.0).step(loss=value)
    assert p.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("wrap", [float, torch.tensor])
def test_a_loss_that_is_not_finite_is_refused_before_anything_moves(value, wrap):
    p = torch.ones(2, requires_grad=True)
    optimizer = Polyak([p], 1.0)
    p.grad = torch.ones(2)
    with pytest.raises(InadmissibleValue, match=r"^loss=.* is not finite, .* Nothing has moved"):
        optimizer.step(loss=wrap(value))
    assert p.tolist() == [1.0, 1.0]
    assert optimizer.steps == 0
    optimizer.step(loss=1.0)
    assert p.tolist() == [0.5, 0.5]


def test_polyak_needs_one_loss():
    p = torch.ones(2, requires_grad=True)
    optimizer = Polyak([p])
    p.grad = torch.ones(2)
    with pytest.raises(MissingClosure, match=r"PolyakFlow moves by the loss.*step\(loss=loss\)"):
        optimizer.step()
    with pytest.raises(InadmissibleValue, match=r"loss of shape \(2,\) is not one number"):
        optimizer.step(loss=p * p)
    assert p.tolist() == [1.0, 1.0]


def test_a_closures_loss_and_a_loss_given_are_the_same():
    ends = []
    for by_closure in (True, False):
        p = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
        optimizer = Polyak([p], 0.7)

        def closure():
            optimizer.zero_grad()
            value = (p**4).sum()
            value.backward()
            return value

        for _ in range(5):
            optimizer.step(closure) if by_closure else optimizer.step(loss=closure())
        ends.append(p.detach())
    assert torch.equal(*ends)


def test_to_climb_is_to_descend_on_minus_the_loss():
    ends = []
    for sign in (1, -1):
        p = torch.tensor([0.5, -0.2], dtype=torch.float64, requires_grad=True)
        optimizer = Polyak([p], 0.5, floor=-2.0, maximize=sign == -1)
        for _ in range(4):
            optimizer.zero_grad()
            value = sign * (p**2 - p).sum()
            value.backward()
            optimizer.step(loss=value)
        ends.append(p.detach())
    assert torch.equal(*ends)
    assert not torch.equal(ends[0], torch.tensor([0.5, -0.2]).double())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"floor": math.nan}, "floor=nan is not finite"),
        ({"floor": -math.inf}, "floor=-inf is not finite"),
        ({"bound": 0.0}, "bound=0 is not positive"),
        ({"bound": math.nan}, "bound=nan is not positive"),
    ],
)
def test_settings_of_polyak_out_of_range_are_refused(options, said):
    with pytest.raises(InadmissibleValue, match=said):
        Polyak([torch.ones(1, requires_grad=True)], **options)
    with pytest.raises(InadmissibleValue, match=said):
        PolyakFlow(**options)


def test_what_the_analysis_cannot_do_with_them():
    for system in (NormalizedFlow(), PolyakFlow(), SignFlow()):
        with pytest.raises(IncompatiblePair, match=f"{type(system).__name__} is not linear"):
            linearize(system, Euler(), step=0.1, curvature=1.0)
    with pytest.raises(IncompatiblePair, match="PolyakFlow moves by the loss"):
        trajectory(PolyakFlow(), Euler(), lambda x: x, torch.ones(1), step=0.1, steps=1)
    path = trajectory(NormalizedFlow(), Euler(), lambda x: x, torch.tensor([3.0, 4.0]), step=1.0, steps=5)
    assert path[-1].norm() < 1e-6


@given(st.floats(0.0, 3.0), st.floats(0.1, 10.0))
def test_settings_of_polyak_may_be_tensors(floor, bound):
    ends = []
    for kind in (float, lambda x: torch.tensor(x, dtype=torch.float64)):
        p = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
        p.grad = 2 * p.detach()
        Polyak([p], kind(0.3), floor=kind(floor), bound=kind(bound)).step(loss=5.0)
        ends.append(p.detach())
    assert torch.allclose(*ends, rtol=0, atol=1e-14)
